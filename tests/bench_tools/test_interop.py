"""The table of other engines in docs/portable.md is the recorded report."""

import json
from pathlib import Path

from bench.interop.run_engines import NODE_PACKAGES, PYTHON_ENGINES, REPORT

DOCUMENT = Path(__file__).parents[2] / "docs" / "portable.md"


def test_the_table_of_engines_is_the_report() -> None:
    rows = json.loads(REPORT.read_text())["engines"]
    names = [name for engines in PYTHON_ENGINES.values() for name in engines] + list(NODE_PACKAGES)
    assert [row["engine"] for row in rows] == names
    lines = DOCUMENT.read_text().splitlines()
    for row in rows:
        if "texts" in row:
            cells = ["", "", f"{row['texts_equal']:,} of {row['texts']:,}"]
        else:
            equal = f"{row['greedy_equal']} of {row['greedy_tokens']}"
            cells = [f"{row['max_difference']:.1e}", equal, ""]
        wanted = ["", row["engine"], row["version"], *cells, ""]
        assert any([cell.strip() for cell in line.split("|")] == wanted for line in lines), wanted
