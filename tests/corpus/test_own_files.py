"""A folder of texts can hold a run too: what tinyedge wrote there is never read as text."""

import json
from pathlib import Path

import pytest

from tinyedge.corpus.build import CorpusRequest, prepare_corpus
from tinyedge.corpus.find_files import find_files
from tinyedge.corpus.read_notes import ReadLog

SENTENCE = "This is the text that the user wrote.\n"


def write_tree(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def schema(kind: str) -> str:
    return json.dumps({"schema": f"tinyedge.{kind}/1"})


def find_names(folder: Path) -> tuple[list[str], int]:
    """Return the files that are read, and the number of those that were left out as tinyedge's own."""
    log = ReadLog()
    found = find_files([folder], log)
    return [str(file.path.relative_to(folder)) for file in found], log.own_files


@pytest.mark.parametrize(
    "files",
    [
        {"data/corpus.json": schema("corpus"), "data/corpus_bilingual.txt": SENTENCE},
        {"data/.corpus.json.next": schema("corpus"), "data/corpus_bilingual.txt": SENTENCE},
        {"corpus.json": schema("corpus"), "corpus_bilingual.txt": SENTENCE},
        {"data/gutenberg/.tinyedge-cache": "", "data/gutenberg/pg1342.txt": SENTENCE},
        {
            "run/training_metrics.json": schema("training"),
            "run/previous/20261128-215305-123456/checkpoint_last.pt": "",
            "run/previous/20261128-215305-123456/corpus_bilingual.txt": SENTENCE,
        },
        {
            "sweep/sweep.json": schema("sweep"),
            "sweep/trial-0000/checkpoint_last.pt": "",
            "sweep/trial-0000/corpus_bilingual.txt": SENTENCE,
        },
        {"bundle/manifest.json": schema("bundle"), "bundle/README.md": SENTENCE},
        {"kit/kit.json": schema("kit"), "kit/install.sh": "x"},
        {
            "portable/README.md": "---\nlicense: other\n---\n# A tinyedge model\n",
            "portable/config.json": "{}",
            "portable/genai_config.json": "{}",
            "portable/tokenizer.json": "{}",
        },
        {"bench.json": schema("bench"), "bench.csv": "a,b\n1,2\n", "bench.html": "<p>p95</p>"},
    ],
)
def test_own_files_are_left_out_and_counted(tmp_path: Path, files: dict[str, str]) -> None:
    write_tree(tmp_path, {"mine.txt": SENTENCE, "data/notes.txt": SENTENCE} | files)
    names, own = find_names(tmp_path)
    assert sorted(names) == ["data/notes.txt", "mine.txt"]
    assert own == sum(not Path(name).name.startswith(".") for name in files)


@pytest.mark.parametrize(
    "files",
    [
        {"manifest.json": '{"name": "a web page"}', "README.md": SENTENCE},
        {"corpus.json": "{}", "corpus_bilingual.txt": SENTENCE, "gutenberg/pg1.txt": SENTENCE},
        {"README.md": SENTENCE, "previous/old.txt": SENTENCE, "shards/a.txt": SENTENCE},
        {"README.md": "# A tinyedge model\n", "notes.txt": SENTENCE, "more/a.txt": SENTENCE},
        {"manifest.md": '{"schema": "tinyedge.bundle/1"}', "manifest.txt": "x"},
    ],
)
def test_files_of_others_with_the_same_names_are_read(tmp_path: Path, files: dict[str, str]) -> None:
    write_tree(tmp_path, files)
    names, own = find_names(tmp_path)
    assert sorted(names) == sorted(files)
    assert own == 0


@pytest.mark.parametrize(
    "files",
    [
        {"corpus.json": schema("corpus"), "gutenberg/pg1.txt": SENTENCE, "previous/old.txt": SENTENCE},
        {
            "gutenberg/.tinyedge-cache": "",
            "gutenberg/notes.txt": SENTENCE,
            "gutenberg/more/pg1.txt": SENTENCE,
        },
        {
            "training_metrics.json": schema("training"),
            "previous/20261128-215305-123456/corpus_bilingual.txt": SENTENCE,
            "shards/a.txt": SENTENCE,
            "tensorboard/a.txt": SENTENCE,
        },
        {"sweep.json": schema("sweep"), "trial-notes.txt": SENTENCE, "trial-0000/notes.txt": SENTENCE},
        {"manifest.json": schema("bundle"), "notes.txt": SENTENCE, "more/README.md": SENTENCE},
        {"kit.json": schema("kit"), "notes.txt": SENTENCE},
    ],
)
def test_texts_next_to_own_files_are_read(tmp_path: Path, files: dict[str, str]) -> None:
    write_tree(tmp_path, files)
    names, _ = find_names(tmp_path)
    assert sorted(names) == sorted(name for name, content in files.items() if content == SENTENCE)


@pytest.mark.parametrize("name", ["corpus.json", "manifest.json"])
def test_a_text_that_quotes_a_schema_does_not_hide_others(tmp_path: Path, name: str) -> None:
    write_tree(tmp_path, {name: json.dumps({"note": '"schema": "tinyedge.bundle/1, tinyedge.corpus/1"'})})
    write_tree(tmp_path, {"corpus_bilingual.txt": SENTENCE, "README.md": SENTENCE})
    names, own = find_names(tmp_path)
    assert len(names) == 3
    assert own == 0


def test_a_corpus_inside_its_input_folder_can_be_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `cd my-texts; tinyedge corpus --input .`, twice."""
    write_tree(tmp_path, {"a.txt": SENTENCE, "b.txt": SENTENCE.replace("text", "book")})
    monkeypatch.chdir(tmp_path)
    request, notes = CorpusRequest((), (Path(),)), list[str]()
    first = prepare_corpus(request, Path("data"))
    assert prepare_corpus(request, Path("data"), notes.append) == first
    assert "reused" in notes[0]
    (tmp_path / "c.txt").write_text("Another text that was added later.\n")
    second = prepare_corpus(request, Path("data"), notes.append)
    assert second.corpus["sentences"] == 3
    assert "left out 2 files that tinyedge wrote" in notes
