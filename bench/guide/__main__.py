"""Write what the guide's pages quote.

python -m bench.guide outputs FOLDER    run the chapters in FOLDER, write their output
"""

import argparse
from pathlib import Path

from bench.guide.chapters import list_chapters, run_chapter, write_outputs


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    outputs = commands.add_parser("outputs", help="run the chapters and write their output blocks")
    outputs.add_argument(
        "folder", type=Path, help="folder with data/ and bundle/, as the overview makes them"
    )
    options = parser.parse_args()
    for page in list_chapters():
        write_outputs(page, run_chapter(page, options.folder))
        print(page.name)


if __name__ == "__main__":
    main()
