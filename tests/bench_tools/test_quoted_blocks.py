"""Parts of documents that quote reports: filled between their marks, and equal to the reports."""

from pathlib import Path

import pytest

from bench import demo_report
from bench.quoted_blocks import fill_blocks, update_documents


def test_parts_are_written_between_their_marks_and_others_stay() -> None:
    text = "a\n<!-- one -->\n{}<!-- end -->\nb\n<!-- two:x -->\n{}<!-- end -->\n<!-- x -->\nc\n<!-- end -->"
    filled = text.format("1\n", "2\n")
    assert fill_blocks(text.format("old\n", ""), {"one": "1", "two:x": "2"}) == filled
    assert fill_blocks(filled, {"one": "1", "two:x": "2"}) == filled


def test_only_documents_that_change_are_written(tmp_path: Path) -> None:
    pages = [tmp_path / name for name in ("a.md", "b.md")]
    pages[0].write_text("<!-- one -->\n1\n<!-- end -->\n")
    pages[1].write_text("<!-- one -->\n0\n<!-- end -->\n")
    assert update_documents(pages, {"one": "1"}) == [pages[1]]
    assert pages[1].read_text() == pages[0].read_text()


@pytest.mark.parametrize("path", demo_report.DOCUMENTS, ids=lambda path: path.name)
def test_the_documents_quote_the_recorded_demo(path: Path) -> None:
    text, parts = path.read_text(encoding="utf-8"), demo_report.make_parts(demo_report.load_report())
    assert fill_blocks(text, dict.fromkeys(parts, "")) != text, "quotes nothing"
    assert fill_blocks(text, parts) == text, "run: python -m bench.demo --record"
