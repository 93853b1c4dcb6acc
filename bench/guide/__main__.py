"""Write what the guide's pages quote.

python -m bench.guide record DATA       record a finished run on the phrasebook, as `make demo` leaves it
python -m bench.guide pages             write the recorded tables and the pictures that need no run
python -m bench.guide outputs FOLDER    run the chapters in FOLDER, write their output
"""

import argparse
from pathlib import Path

from bench.guide.chapters import GUIDE, list_chapters, run_chapter, write_outputs
from bench.guide.drawings import draw_all
from bench.guide.pictures import draw_attention, draw_loss, draw_schedules
from bench.guide.report import REPORT, load_report, make_tables, record
from bench.quoted_blocks import update_documents
from tinyedge.core import files
from tinyedge.text.tokenizer import Tokenizer


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="record a finished run, and write all that is quoted")
    recording.add_argument("folder", type=Path, help="folder of the run")
    commands.add_parser("pages", help="write the recorded tables to the pages")
    outputs = commands.add_parser("outputs", help="run the chapters and write their output blocks")
    outputs.add_argument(
        "folder", type=Path, help="folder with data/ and bundle/, as the overview makes them"
    )
    options = parser.parse_args()
    if options.command == "outputs":
        for page in list_chapters():
            write_outputs(page, run_chapter(page, options.folder))
            print(page.name)
        return
    if options.command == "record":
        files.write_json(REPORT, record(options.folder))
        draw_loss(options.folder, GUIDE / "loss.png")
        draw_all(GUIDE, Tokenizer.load(options.folder / "bilingual_8k.model"))
    report = load_report()
    draw_schedules(GUIDE / "schedule.png")
    draw_attention(report, GUIDE / "attention.png")
    update_documents(sorted(GUIDE.glob("*.md")), make_tables(report))


if __name__ == "__main__":
    main()
