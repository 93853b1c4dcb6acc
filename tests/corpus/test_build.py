"""The corpus file and its report, when a corpus is reused or replaced, and the command that prints it."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tinyedge import __version__
from tinyedge.cli.corpus import corpus
from tinyedge.core.errors import CorpusError, TinyEdgeError, UsageError
from tinyedge.core.files import TEMPORARY_SUFFIX
from tinyedge.core.folder_lock import exclusive_lock
from tinyedge.corpus import build, corpus_file, gutenberg, phrasebook
from tinyedge.corpus.build import (
    CorpusRequest,
    build_corpus,
    load_report,
    prepare_corpus,
)
from tinyedge.corpus.corpus_file import read_corpus_documents
from tinyedge.corpus.document import Document
from tinyedge.corpus.read_notes import ReadLog
from tinyedge.corpus.read_settings import ReadSettings

ONE = Document(("The first.", "The second."), "en", "phrasebook")
TWO = Document(("¿Qué?", "Así es."), "es", "gutenberg:2000")
REQUEST = CorpusRequest(("phrasebook",))


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Replace both sources by one document each; return the arguments that they were called with."""
    calls: list[object] = []

    def generate(seed: int = 0) -> Iterator[Document]:
        calls.append(seed)
        yield Document((f"Seed {seed}.",), "en", "phrasebook")

    def download(cache: Path, report: Callable[[str], None], log: ReadLog) -> Iterator[Document]:
        calls.append(cache)
        report("downloading")
        yield TWO

    monkeypatch.setattr(phrasebook, "generate_documents", generate)
    monkeypatch.setattr(gutenberg, "fetch_documents", download)
    return calls


def test_the_file_and_its_report_have_the_documented_content(tmp_path: Path) -> None:
    output = tmp_path / "corpus_bilingual.txt"
    copy = Document(ONE.sentences, "en", "elsewhere")
    report = build_corpus([ONE, TWO, copy, Document((), "en", "phrasebook")], output, request=REQUEST)
    text = "The first.\nThe second.\n\n¿Qué?\nAsí es.\n"
    assert output.read_text("utf-8") == text
    found = json.loads((tmp_path / "corpus.json").read_text("utf-8"))
    created = found.pop("created")
    assert created.endswith("+00:00")
    assert found == {
        "schema": "tinyedge.corpus/1",
        "tinyedge": __version__,
        "corpus": {
            "file": "corpus_bilingual.txt",
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "bytes": len(text.encode()),
            "sentences": 4,
            "documents": 2,
            "duplicates": 1,
        },
        "request": {"sources": ["phrasebook"], "inputs": [], "seed": 0, "files": {}},
        "sources": [
            {
                "name": "phrasebook",
                "licence": "Apache-2.0",
                "language": "en",
                "documents": 1,
                "sentences": 2,
                "bytes": 23,
            },
            {
                "name": "gutenberg:2000",
                "licence": "public domain in the USA (Project Gutenberg)",
                "language": "es",
                "documents": 1,
                "sentences": 2,
                "bytes": 17,
            },
        ],
        "languages": {
            "en": {"documents": 1, "sentences": 2, "bytes": 23},
            "es": {"documents": 1, "sentences": 2, "bytes": 17},
        },
        "reading": {"files": [], "skipped": [], "other_files": {}, "own_files": 0},
    }
    assert load_report(tmp_path / "corpus.json") == report


def test_a_corpus_file_is_read_back_as_documents(tmp_path: Path) -> None:
    output = tmp_path / "corpus_bilingual.txt"
    build_corpus([ONE, TWO], output, request=REQUEST)
    assert list(read_corpus_documents(output)) == [list(ONE.sentences), list(TWO.sentences)]


def test_a_corpus_of_the_user_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(b"\r\n \r\nOne.\r\n  Two.\r\n\r\n\r\nThree.")
    assert list(read_corpus_documents(path)) == [["One.", "Two."], ["Three."]]
    monkeypatch.setattr(corpus_file, "MAX_DOCUMENT_CHARS", 4)
    assert list(read_corpus_documents(path)) == [["One."], ["Two."], ["Three."]]
    path.write_bytes(b"One.\n\xff")
    with pytest.raises(CorpusError, match="byte 5"):
        list(read_corpus_documents(path))


def test_the_same_request_gives_the_same_bytes(tmp_path: Path) -> None:
    reports = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        report = build_corpus([ONE, TWO], tmp_path / name / "corpus_bilingual.txt", request=REQUEST)
        reports.append(report.to_json() | {"created": ""})
    assert reports[0] == reports[1]


def test_an_empty_corpus_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="would be empty"):
        build_corpus([Document((), "en", "phrasebook")], tmp_path / "corpus_bilingual.txt", request=REQUEST)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_corpus(tmp_path: Path) -> None:
    output = tmp_path / "corpus_bilingual.txt"
    build_corpus([ONE], output, request=REQUEST)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fill_disk() -> Iterator[Document]:
        yield TWO
        raise OSError(errno.ENOSPC, "No space left on device")  # as a write would

    with pytest.raises(CorpusError, match="No space left on device") as caught:
        build_corpus(fill_disk(), output, request=REQUEST)
    assert "--output-dir" in caught.value.hint
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_corpus_and_report_are_written_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(json, "dumps", fail)
    with pytest.raises(CorpusError, match="No space left on device"):
        build_corpus([ONE], tmp_path / "corpus_bilingual.txt", request=REQUEST)
    assert not list(tmp_path.iterdir())


def test_a_failing_source_leaves_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "in.txt"
    bad.write_bytes(b"Good.\n" * 10 + bytes(100) + b"x")
    with pytest.raises(CorpusError, match="byte 60"):
        prepare_corpus(CorpusRequest((), (bad,)), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_sources_are_read_in_order_with_their_settings(tmp_path: Path, sources: list[object]) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("My own words.\n", "utf-8")
    lines: list[str] = []
    out = tmp_path / "new" / "data"
    report = prepare_corpus(CorpusRequest(("phrasebook", "gutenberg"), (text,), 3), out, lines.append)
    assert [entry["name"] for entry in report.sources] == ["phrasebook", "gutenberg:2000", str(text)]
    assert report.sources[2]["licence"] == "unknown (user's own text)"
    assert report.sources[2]["sha256"] == hashlib.sha256(text.read_bytes()).hexdigest()
    assert sources == [3, out / "gutenberg"]
    assert lines[0] == "downloading"


def test_a_matching_corpus_is_reused(tmp_path: Path, sources: list[object]) -> None:
    first = prepare_corpus(REQUEST, tmp_path)
    lines: list[str] = []
    assert prepare_corpus(REQUEST, tmp_path, lines.append) == first
    assert sources == [0]
    assert "reused" in lines[0]


def test_another_request_or_a_changed_input_builds_it_again(tmp_path: Path, sources: list[object]) -> None:
    prepare_corpus(REQUEST, tmp_path)
    prepare_corpus(CorpusRequest(("phrasebook",), seed=5), tmp_path)
    assert sources == [0, 5]
    text = tmp_path / "mine.txt"
    request = CorpusRequest((), (text,))
    for words in ("Old words.\n", "New words.\n"):
        text.write_text(words, "utf-8")
        prepare_corpus(request, tmp_path)
    assert (tmp_path / "corpus_bilingual.txt").read_text("utf-8") == "New words.\n"


@pytest.mark.parametrize("change", ["no report", "foreign report", "edited"])
def test_a_corpus_that_tinyedge_did_not_write_is_not_replaced(
    tmp_path: Path, sources: list[object], change: str
) -> None:
    output, report = tmp_path / "corpus_bilingual.txt", tmp_path / "corpus.json"
    prepare_corpus(REQUEST, tmp_path)
    if change == "no report":
        report.unlink()
    elif change == "foreign report":
        report.write_text('{"schema": "tinyedge.corpus/1"}', "utf-8")
    else:
        output.write_text("Mine.\n", "utf-8")
    before = output.read_bytes()
    with pytest.raises(CorpusError) as caught:
        prepare_corpus(CorpusRequest(("phrasebook",), seed=1), tmp_path)
    assert "--skip-corpus" in caught.value.hint
    assert "--output-dir" in caught.value.hint
    assert output.read_bytes() == before


def test_the_report_holds_what_was_read_changed_dropped_and_skipped(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_bytes("“Hé,” she said.\n***\nMore\x0bof it.\x1a".encode("cp1252"))
    (texts / "b.txt").write_bytes(bytes(100) + b"x")
    (texts / "photo.JPG").write_bytes(b"x")
    lines: list[str] = []
    report = prepare_corpus(CorpusRequest((), (texts,)), tmp_path / "out", lines.append)
    assert load_report(tmp_path / "out" / "corpus.json").reading == report.reading
    assert report.reading == {
        "files": [
            {
                "name": str(texts / "a.txt"),
                "encoding": "windows-1252",
                "lines_kept": 2,
                "control_characters": 2,
                "sentences_without_words": 1,
            }
        ],
        "skipped": [
            {
                "name": str(texts / "b.txt"),
                "reason": f"{texts / 'b.txt'} is not a text file: 99% of its bytes are control characters,"
                " the first at byte 0 (exclude binary files)",
            }
        ],
        "other_files": {".jpg": 1},
        "own_files": 0,
    }
    assert lines == [
        "read 1 file (1 windows-1252)",
        f"  {texts / 'a.txt'}: read as windows-1252",
        "  2 lines kept apart",
        "  2 control characters removed",
        "  1 line without a letter or a digit dropped",
        "skipped 1 file:",
        f"  {report.reading['skipped'][0]['reason']}",
        "not read, because no supported format has the extension: 1 .jpg",
    ]


def test_the_settings_for_reading_belong_to_the_request(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("It ends\nhere. It goes\non.\n", "utf-8")
    sentences = {}
    for lines in ("keep", "join"):
        request = CorpusRequest((), (text,), reading=ReadSettings(lines))
        assert prepare_corpus(request, tmp_path / "out").request["lines"] == lines
        sentences[lines] = (tmp_path / "out" / "corpus_bilingual.txt").read_text("utf-8").split("\n")
    assert sentences == {
        "keep": ["It ends", "here.", "It goes", "on.", ""],
        "join": ["It ends here.", "It goes on.", ""],
    }
    with pytest.raises(UsageError, match="own files only"):
        CorpusRequest(("phrasebook",), reading=ReadSettings("keep"))
    with pytest.raises(UsageError, match="lines wrap is unknown"):
        ReadSettings("wrap")


def test_a_skipped_file_is_an_error_if_strict_and_tried_again_once_it_can_be_read(tmp_path: Path) -> None:
    texts, out = tmp_path / "texts", tmp_path / "out"
    texts.mkdir()
    (texts / "a.txt").write_text("Good.\n", "utf-8")
    (texts / "b.jsonl").write_text("{", "utf-8")
    prepare_corpus(CorpusRequest((), (texts,)), out)
    with pytest.raises(CorpusError, match="is not JSON"):
        prepare_corpus(CorpusRequest((), (texts,), reading=ReadSettings(strict=True)), out)
    (texts / "b.jsonl").write_text('{"text": "Better."}', "utf-8")
    prepare_corpus(CorpusRequest((), (texts,)), out)
    assert (out / "corpus_bilingual.txt").read_text("utf-8") == "Good.\n\nBetter.\n"


def test_file_names_that_are_not_utf_8_are_read_and_reported(tmp_path: Path) -> None:
    name = os.fsdecode(b"se\xf1or.txt")
    (tmp_path / name).write_text("Good.\n", "utf-8")
    (tmp_path / os.fsdecode(b"ma\xf1ana.txt")).write_bytes(b"")
    lines: list[str] = []
    request = CorpusRequest((), (tmp_path,))
    prepare_corpus(request, tmp_path / "out", lines.append)
    text = (tmp_path / "out" / "corpus.json").read_bytes().decode("utf-8")
    assert load_report(tmp_path / "out" / "corpus.json").matches(request)
    assert json.loads(text)["reading"]["files"][0]["name"] == str(tmp_path / name)


def test_a_corpus_is_not_built_from_itself(tmp_path: Path, sources: list[object]) -> None:
    prepare_corpus(REQUEST, tmp_path)
    with pytest.raises(CorpusError, match="both input and output"):
        prepare_corpus(CorpusRequest((), (tmp_path / "corpus_bilingual.txt",)), tmp_path)
    with pytest.raises(CorpusError, match="no file in a supported format besides what tinyedge wrote"):
        prepare_corpus(CorpusRequest((), (tmp_path,)), tmp_path)


@pytest.mark.parametrize("names", [(), ("wikipedia",)])
def test_invalid_requests_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        CorpusRequest(names)


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(corpus)
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_command_prints_a_table(tmp_path: Path, sources: list[object]) -> None:
    out = tmp_path / "data"
    lines = run("--source", "gutenberg", "--source", "phrasebook", "--output-dir", str(out)).splitlines()
    assert lines[0].split() == ["source", "language", "documents", "sentences", "bytes"]
    assert lines[1].split() == ["phrasebook", "en", "1", "1", "8"]
    assert lines[3].split() == ["all", "en", "1", "1", "8"]
    assert len({len(line) for line in lines[:5]}) == 1
    assert lines[5].startswith(f"{out / 'corpus_bilingual.txt'}: sha256 ")


def test_the_table_has_one_row_for_all_files_of_a_language(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"This is the text of the file {name}.\n", "utf-8")
    lines = run("--input", str(tmp_path), "--output-dir", str(tmp_path / "data")).splitlines()
    assert lines[1].split() == ["input", "en", "2", "2", "64"]


def test_the_command_accepts_only_inputs_and_prints_json(tmp_path: Path, sources: list[object]) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("My own words.\n", "utf-8")
    out = tmp_path / "data"
    printed = json.loads(run("--input", str(text), "--output-dir", str(out), "--json", "-"))
    assert printed == json.loads((out / "corpus.json").read_text("utf-8"))
    assert [entry["name"] for entry in printed["sources"]] == [str(text)]
    assert sources == []


def test_the_phrasebook_is_the_default(tmp_path: Path, sources: list[object]) -> None:
    run("--output-dir", str(tmp_path), "--seed", "9")
    assert sources == [9]


def test_the_command_is_light_to_import() -> None:
    heavy = "[name for name in sys.modules if name.startswith(('numpy', 'tinyedge.corpus.'))]"
    code = f"import sys, tinyedge.cli.corpus; print({heavy})"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    settings = ["commands", "commands.settings", "read_settings"]
    assert done.stdout.strip() == str([f"tinyedge.corpus.{name}" for name in settings])


def test_no_temporary_file_remains(tmp_path: Path) -> None:
    build_corpus([ONE], tmp_path / "corpus_bilingual.txt", request=REQUEST)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(TEMPORARY_SUFFIX)]


def test_a_foreign_report_is_not_replaced(tmp_path: Path, sources: list[object]) -> None:
    """Other programs have a corpus.json too."""
    path = tmp_path / "corpus.json"
    for content in ('{"documents": 3}', "[]", "not JSON", ""):
        path.write_text(content)
        with pytest.raises(CorpusError, match=r"corpus\.json was not written by tinyedge corpus") as caught:
            prepare_corpus(REQUEST, tmp_path)
        assert "--output-dir" in caught.value.hint
        assert path.read_text() == content
        assert [entry.name for entry in tmp_path.iterdir()] == ["corpus.json"]


@pytest.mark.parametrize("name", [build.PENDING_NAME, ".corpus.json.tmp"])
def test_a_build_that_was_killed_before_its_report_had_its_name_is_finished(
    tmp_path: Path, sources: list[object], name: str
) -> None:
    """The second name is that of version 0.1.0, whose folders were locked for good."""
    first = prepare_corpus(REQUEST, tmp_path)
    (tmp_path / "corpus.json").rename(tmp_path / name)
    assert prepare_corpus(REQUEST, tmp_path) == first
    assert sources == [0]
    assert {entry.name for entry in tmp_path.iterdir()} == {"corpus_bilingual.txt", "corpus.json"}


def test_a_pending_report_of_another_corpus_is_removed(tmp_path: Path, sources: list[object]) -> None:
    prepare_corpus(CorpusRequest(("phrasebook",), seed=7), tmp_path)
    (tmp_path / "corpus.json").rename(tmp_path / build.PENDING_NAME)
    (tmp_path / "corpus_bilingual.txt").unlink()
    prepare_corpus(REQUEST, tmp_path)
    pending = (tmp_path / "corpus.json").read_bytes().replace(b'"sha256": "', b'"sha256": "0', 1)
    (tmp_path / build.PENDING_NAME).write_bytes(pending)
    assert prepare_corpus(REQUEST, tmp_path) == load_report(tmp_path / "corpus.json")
    assert {entry.name for entry in tmp_path.iterdir()} == {"corpus_bilingual.txt", "corpus.json"}


@pytest.mark.parametrize("content", [b"mine", b'{"schema": "other/1"}'])
def test_a_pending_report_of_another_program_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / build.PENDING_NAME).write_bytes(content)
    with pytest.raises(CorpusError, match="was not written by tinyedge") as caught:
        prepare_corpus(REQUEST, tmp_path)
    assert build.PENDING_NAME in caught.value.message
    assert (tmp_path / build.PENDING_NAME).read_bytes() == content


def test_two_commands_do_not_write_to_one_folder_at_once(tmp_path: Path, sources: list[object]) -> None:
    with (
        exclusive_lock(tmp_path),
        pytest.raises(TinyEdgeError, match="another tinyedge command is writing to"),
    ):
        run("--output-dir", str(tmp_path))
    assert not list(tmp_path.iterdir())
    run("--output-dir", str(tmp_path))
