"""`python -m bench.schema_tables`: write the tables of a page of docs/ from a JSON Schema.

In: docs/schemas/NAME.schema.json. Out: the page, with the text between its marks replaced. A test compares
them.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {"bench-json.md": "bench.schema.json"}
START, END = "<!-- tables: python -m bench.schema_tables -->\n", "<!-- end of tables -->\n"


def main() -> None:
    """Write the tables of all pages."""
    for name, schema in PAGES.items():
        page = DOCS / name
        page.write_text(replace_tables(page.read_text(), read_schema(schema)))


def read_schema(name: str) -> dict[str, Any]:
    """Read a schema of docs/schemas/."""
    schema: dict[str, Any] = json.loads((DOCS / "schemas" / name).read_text())
    return schema


def replace_tables(page: str, schema: Mapping[str, Any]) -> str:
    """Return the page with the tables of the schema between its marks."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{render_tables(schema)}\n{END}{after}"


def render_tables(schema: Mapping[str, Any]) -> str:
    """Return one table for the report, and one for each object that occurs in several places."""
    tables = [_render_table(schema)]
    for name, part in schema["$defs"].items():
        tables.append(f"### {name}\n\n{part['description']}\n\n{_render_table(part)}")
    return "\n".join(tables)


def _render_table(part: Mapping[str, Any]) -> str:
    rows = (f"| `{path}` | {kind} | {meaning} |" for path, kind, meaning in list_fields(part))
    return "\n".join(["| field | type | meaning |", "|---|---|---|", *rows]) + "\n"


def list_fields(part: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """List the fields of an object, and those of the objects inside it.

    Yields:
        Path of the field, its type and its description.
    """
    for name, field in part.get("properties", {}).items():
        path = prefix + name
        yield path, describe_type(field), str(field["description"])
        yield from list_fields(field, f"{path}.")
        yield from list_fields(field.get("items", {}), f"{path}[].")


def describe_type(field: Mapping[str, Any]) -> str:
    """Return the type of a field in a short form."""
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "$ref" in field:
        name = str(field["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name})"
    if "anyOf" in field:
        return " or ".join(map(describe_type, field["anyOf"]))
    kinds = [field["type"]] if isinstance(field["type"], str) else list(field["type"])
    if "array" in kinds:
        return f"list of {describe_type(field['items'])}"
    return " or ".join(kinds)


if __name__ == "__main__":
    main()
