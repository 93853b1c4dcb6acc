"""The guide's notebook, made from a page, so that the site, GitHub and Jupyter show the same text.

    python -m bench.guide.notebook               write the notebook from its page
    python -m bench.guide.notebook --run FOLDER  also run it in FOLDER; TINYEDGE_GUIDE_EPOCHS=0 shortens it

In: `docs/guide/notebook.md`. Out: `docs/guide/tinyedge.ipynb`, without outputs: they differ on every machine.
"""

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

from bench.guide.chapters import GUIDE

PAGE = GUIDE / "notebook.md"
NOTEBOOK = GUIDE / "tinyedge.ipynb"
SITE = "https://tinyedge-lm.github.io/tinyedge/"
CODE = re.compile(r"^```python\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
CELL_TIMEOUT_S = 3600


def main() -> None:
    """Write the notebook, and run it if a folder is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="run the notebook in this folder")
    options = parser.parse_args()
    NOTEBOOK.write_text(make_notebook(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {NOTEBOOK}")
    if options.run:
        print(f"ran it in {run_notebook(options.run):.1f} minutes")


def make_notebook(page: str) -> str:
    """Return a page as a notebook in JSON: a cell for each block of Python and for the text between them."""
    parts = CODE.split(page)  # text, code, text, code, ..., text
    cells = [
        _make_cell(number, "code" if number % 2 else "markdown", part.strip("\n"))
        for number, part in enumerate(parts)
        if part.strip()
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _make_cell(number: int, kind: str, text: str) -> dict[str, Any]:
    if kind == "markdown":  # a notebook is also read without its neighbours, in Colab for example
        text = text.replace("](README.md)", f"]({SITE}guide/)")
        text = re.sub(r"\]\((\d\d-[\w-]+)\.md\)", rf"]({SITE}guide/\1/)", text)
        text = re.sub(r"\]\(\.\./([\w-]+)\.md\)", rf"]({SITE}\1/)", text)
    cell = {
        "cell_type": kind,
        "id": f"cell-{number}",
        "metadata": {},
        "source": text.splitlines(keepends=True),
    }
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def run_notebook(folder: Path) -> float:
    """Run the notebook in a folder, write it there with its outputs, and return the minutes that it took.

    Raises:
        CellExecutionError: A cell failed.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT_S, resources=resources)
    started = time.monotonic()
    client.execute()
    minutes = (time.monotonic() - started) / 60
    nbformat.write(notebook, folder / NOTEBOOK.name)
    return minutes


if __name__ == "__main__":
    main()
