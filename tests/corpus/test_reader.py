"""The reader with valid, unusual and invalid files."""

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tinyedge.core.errors import CorpusError
from tinyedge.corpus import encoding, reader
from tinyedge.corpus.encoding import read_lines
from tinyedge.corpus.find_files import find_files
from tinyedge.corpus.formats import jsonl
from tinyedge.corpus.read_notes import ReadLog, ReadNotes
from tinyedge.corpus.read_settings import ReadSettings
from tinyedge.corpus.reader import read_documents

PROSE = "The old man went down to the sea. He had not been there for a year, and it was cold."
PROSA = "El viejo bajó hasta el mar. No había estado allí en todo el año, y hacía mucho frío."


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes | str], Path]:
    def write(name: str, data: bytes | str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = data.encode() if isinstance(data, str) else data
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


Write = Callable[[str, bytes | str], Path]


def read_sentences(*paths: Path) -> list[str]:
    return [sentence for document in read_documents(paths) for sentence in document.sentences]


def read_notes(path: Path) -> ReadNotes:
    log = ReadLog()
    list(read_documents([path], log=log))
    return log.files[0]


def read_and_fail(*paths: Path) -> CorpusError:
    with pytest.raises(CorpusError) as caught:
        list(read_documents(paths))
    assert caught.value.hint
    return caught.value


def test_a_document_has_its_language_and_source(write: Write) -> None:
    english, spanish = write("a.txt", PROSE), write("b.txt.gz", PROSA)
    documents = list(read_documents([english, spanish]))
    assert [(document.language, document.source) for document in documents] == [
        ("en", str(english)),
        ("es", str(spanish)),
    ]
    assert documents[0].sentences == tuple(re.split(r"(?<=\.) ", PROSE))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_all_line_breaks_are_accepted(write: Write, end: str) -> None:
    assert read_sentences(write("a.txt", f"One.{end}Two.{end}{end}Three.{end}")) == ["One.", "Two.", "Three."]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.jsonl", "a.txt.gz"])
def test_byte_order_marks_are_removed(write: Write, encoding: str, name: str) -> None:
    text = json.dumps({"text": "Año nuevo."}) if "json" in name else "Año nuevo."
    assert read_sentences(write(name, text.encode(encoding))) == ["Año nuevo."]


def test_big_endian_utf_16_is_read(write: Write) -> None:
    assert read_sentences(write("a.txt", b"\xfe\xff" + "Año.\nSí.".encode("utf-16-be"))) == ["Año.", "Sí."]


def test_invisible_characters_are_removed(write: Write) -> None:
    assert read_sentences(write("a.txt", "So\u00adft\u200b and\ufeff plain.\n\u200b\n***\n- 12 -\n")) == [
        "Soft and plain.",
        "- 12 -",
    ]


@pytest.mark.parametrize("before", [0, 10, 2 * encoding.CHUNK_BYTES + 7])
def test_a_binary_file_is_refused_with_the_first_control_character(write: Write, before: int) -> None:
    path = write("a.txt", b"a" * before + bytes(range(256)) * 1_000)
    message = read_and_fail(path).message
    assert message.startswith(f"{path} is not a text file: ")
    assert message.endswith(f"control characters, the first at byte {before}")


def test_offsets_in_gzip_refer_to_the_text(write: Write) -> None:
    error = read_and_fail(write("a.txt.gz", b"abc" + bytes(30)[:-1] + b"x"))
    assert error.message.endswith("byte 3 of the decompressed text")


def test_an_incomplete_character_at_the_end_of_utf_16_is_refused(write: Write) -> None:
    assert "UTF-16" in read_and_fail(write("b.txt", "ab".encode("utf-16")[:-1])).message


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: data[:12] + b"\xff" * 40, lambda data: b"no"]
)
def test_damaged_gzip_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(damage(gzip.compress(PROSE.encode() * 20)))
    error = read_and_fail(path)
    assert "damaged gzip" in error.message
    assert str(path) in error.message


def test_jsonl_records_are_documents(write: Write) -> None:
    lines = [json.dumps({"text": text, "id": 1}, ensure_ascii=False) for text in (PROSE, PROSA)]
    documents = list(read_documents([write("a.jsonl", lines[0] + "\r\n\n" + lines[1])]))
    assert [document.language for document in documents] == ["en", "es"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "x"', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"txt": "x"}', "no string field"),
        ('{"text": 3}', "no string field"),
        ('["text"]', "no string field"),
    ],
)
def test_invalid_jsonl_is_refused(write: Write, line: str, reason: str) -> None:
    path = write("a.jsonl", '{"text": "Año."}\n' + line + "\n")
    error = read_and_fail(path)
    assert f"{path}, line 2 (byte 18)" in error.message
    assert reason in error.message


def test_offsets_include_the_byte_order_mark(write: Write) -> None:
    assert "line 2 (byte 6)" in read_and_fail(write("a.jsonl", b"\xef\xbb\xbf  \n?")).message
    assert (
        "line 2 (byte 6)" in read_and_fail(write("b.jsonl", b"\xff\xfe" + " \n?".encode("utf-16-le"))).message
    )


def test_half_a_character_in_json_is_dropped_and_counted(write: Write) -> None:
    path = write("a.jsonl", r'{"text": "Half \ud83d of it."}')
    assert read_sentences(path) == ["Half of it."]
    assert read_notes(path).counts == {"half_characters": 1}


def test_the_size_of_a_record_is_limited(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_RECORD_CHARS", 1_000)
    assert "over 1000 characters" in read_and_fail(write("a.jsonl", '{"text": "' + "x" * 2_000)).message


def test_folders_are_read_sorted_without_hidden_and_other_files(write: Write, tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.md", "a/.hidden.txt", ".git/x.txt", "c.png", "c.jsonl.gz", "data.TXT"):
        write(name, PROSE)
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.txt").symlink_to(tmp_path / "self.txt")
    found = [str(file.path.relative_to(tmp_path)) for file in find_files([tmp_path])]
    assert found == ["b.txt", "c.jsonl.gz", "data.TXT", "a/z.md"]


def test_what_is_no_regular_file_is_skipped_and_listed_or_an_error(write: Write, tmp_path: Path) -> None:
    write("a.txt", PROSE)
    (tmp_path / "b.txt").symlink_to(tmp_path / "gone.txt")
    log = ReadLog()
    assert len(list(read_documents([tmp_path], log=log))) == 1
    assert log.skipped == [
        {"name": str(tmp_path / "b.txt"), "reason": f"{tmp_path / 'b.txt'} is not a regular file"}
    ]
    with pytest.raises(CorpusError, match="is not a regular file"):
        list(read_documents([tmp_path], settings=ReadSettings(strict=True)))


def test_unusable_paths_are_refused(write: Write, tmp_path: Path) -> None:
    write("only/picture.png", "x")
    assert "contains no file" in read_and_fail(tmp_path / "only").message
    assert ".txt, .text, .md" in read_and_fail(write("a.png", "x")).hint
    assert "does not exist" in read_and_fail(tmp_path / "none.txt").message
    assert "is empty" in read_and_fail(write("empty.txt", "")).message
    assert "contains no text" in read_and_fail(write("blank.txt", " \n\n")).message


def test_an_empty_file_in_a_folder_is_skipped_and_reported(write: Write, tmp_path: Path) -> None:
    write("a.txt", "")
    write("b.txt.gz", "\n")
    write("c.txt", PROSE)
    reported: list[str] = []
    assert len(list(read_documents([tmp_path], reported.append))) == 1
    assert reported == [
        "read 1 file (1 utf-8)",
        "skipped 2 files:",
        f"  {tmp_path / 'a.txt'} is empty (give a file with sentences in it)",
        f"  {tmp_path / 'b.txt.gz'} contains no text (give a file with sentences in it)",
    ]


def test_a_file_without_read_permission_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a.txt", PROSE)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(encoding, "open_file", refuse)  # the tests may run as root, who can read every file
    assert read_and_fail(path).message == f"{path} cannot be read: Permission denied"


def test_hard_wrapped_prose_is_joined(write: Write) -> None:
    wrapped = "It was a long way down to the sea, and the old man was tired when\nhe came there. "
    text = "\n\n".join(
        wrapped + "But he did not rest, for the boats had to be brought in before\nnight." for _ in range(5)
    )
    assert read_sentences(write("a.txt", text))[:2] == [
        "It was a long way down to the sea, and the old man was tired when he came there.",
        "But he did not rest, for the boats had to be brought in before night.",
    ]


def test_one_sentence_per_line_is_not_joined(write: Write) -> None:
    lines = ["no full stop here", "Nor here", "It ends here."] * 3
    assert read_sentences(write("a.txt", "\n".join(lines))) == lines


def test_few_files_are_split_at_blank_lines_and_many_are_not(write: Write, tmp_path: Path) -> None:
    paragraph = f"{PROSE}\n" * 30 + "\n"  # about 2,500 characters
    write("0.txt", paragraph * 5)
    documents = list(read_documents([tmp_path]))
    assert [len(document.sentences) for document in documents] == [
        120,
        180,
    ]  # the fifth paragraph joined the second
    for number in range(1, reader.MANY_FILES):
        write(f"{number}.txt", PROSE)
    assert len(list(read_documents([tmp_path]))) == reader.MANY_FILES


def test_long_lines_are_cut_at_white_space(write: Write) -> None:
    path = write("a.txt", "palabra " * 100_000 + "\n" + "x" * 600_000 + "\nfin")
    lines = list(read_lines(path, ReadNotes(path)))
    assert max(map(len, lines)) <= encoding.MAX_LINE_CHARS
    assert "".join(lines) == "palabra " * 100_000 + "x" * 600_000 + "fin"
    assert all(line.startswith("palabra") and line.endswith("palabra ") for line in lines[:4])


MEASURE_MEMORY = """
import resource, sys
from pathlib import Path
from tinyedge.corpus.read_settings import ReadSettings
from tinyedge.corpus.reader import read_documents
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sentences = sum(len(document.sentences) for document in read_documents([Path(sys.argv[1])]))
print(sentences, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
def test_one_huge_line_needs_little_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("w", encoding="utf-8") as file:
        for _ in range(6):  # 6 MB; with its sentences it would exceed the limit on growth
            file.write("El año que viene será mejor. " * 35_000)
    command = [sys.executable, "-c", MEASURE_MEMORY, str(path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, timeout=60)
    count, growth = map(int, done.stdout.split())
    assert count >= 6 * 35_000
    assert growth < 15
