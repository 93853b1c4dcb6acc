"""Which vocabulary of a folder is reused, reduced, kept or refused."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import sentencepiece

from tests.support.syllables import syllable_lines
from tinyedge.core.errors import TokenizerError
from tinyedge.corpus.split import Split, draw_split
from tinyedge.text import train_tokenizer
from tinyedge.text.train_tokenizer import TokenizerConfig, prepare_tokenizer
from tinyedge.text.trainer_process import train_unigram
from tinyedge.text.vocabulary_report import load_report

CONFIG = TokenizerConfig(vocab_size=1000)
LARGE = TokenizerConfig(vocab_size=8000)
SIZE = {"vocab_size"}


def write_split(path: Path, lines: list[str]) -> Split:
    documents = (lines[start : start + 50] for start in range(0, len(lines), 50))
    path.write_text("\n\n".join("\n".join(document) for document in documents))
    return draw_split(path)


@pytest.fixture
def split(tmp_path: Path) -> Split:
    return write_split(tmp_path / "corpus_bilingual.txt", syllable_lines())


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def fast_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train each vocabulary only once."""
    trained: dict[tuple[int, object], bytes] = {}

    def train_once(lines: Iterable[str], options: dict[str, object]) -> bytes:
        listed = list(lines)
        key = (len(listed), options["vocab_size"])
        trained[key] = trained.get(key) or train_unigram(listed, options)
        return trained[key]

    monkeypatch.setattr(train_tokenizer, "train_unigram", train_once)


def test_the_report_records_the_version_of_sentencepiece(
    split: Split, tmp_path: Path, notes: list[str]
) -> None:
    """Versions 0.2.1, 0.2.2 and 0.2.3 train different vocabularies from the same text."""
    prepare_tokenizer(split, tmp_path, CONFIG, notes.append)
    report = json.loads((tmp_path / "tokenizer.json").read_text())
    assert report["sentencepiece"] == sentencepiece.__version__
    assert report["other_corpus"] is None
    for name in ("sentencepiece", "requested_vocab_size", "chosen", "other_corpus"):
        del report[name]  # as an earlier version wrote it
    (tmp_path / "tokenizer.json").write_text(json.dumps(report))
    notes.clear()
    _, loaded = prepare_tokenizer(split, tmp_path, CONFIG, notes.append)
    assert loaded.sentencepiece is None
    assert notes == [f"tokenizer: reused {tmp_path / 'bilingual_1k.model'}"]


def test_a_size_that_the_text_cannot_fill_is_reduced_and_reported(
    split: Split, tmp_path: Path, notes: list[str]
) -> None:
    with pytest.raises(TokenizerError, match=r"the largest that works is \d+") as caught:
        prepare_tokenizer(split, tmp_path, LARGE, notes.append)
    largest = int(caught.value.message.split()[-1])
    assert f"--vocab-size {largest} or less" in caught.value.hint
    assert not list(tmp_path.glob("*.model"))
    path, report = prepare_tokenizer(split, tmp_path, LARGE, notes.append, flexible=SIZE)
    assert path.name == f"bilingual_{largest}.model"
    assert report.pieces == report.config.vocab_size == largest
    assert notes == [f"tokenizer: wrote {path} ({largest} pieces: the text is too small for 8000)"]
    notes.clear()
    assert prepare_tokenizer(split, tmp_path, LARGE, notes.append, flexible=SIZE) == (path, report)
    assert notes == [f"tokenizer: reused {path} ({largest} pieces: the text is too small for 8000)"]
    with pytest.raises(TokenizerError, match="too small for --vocab-size 8000"):
        prepare_tokenizer(split, tmp_path, LARGE, notes.append)


def test_settings_that_the_user_chose_are_kept(
    split: Split, tmp_path: Path, notes: list[str], fast_training: None
) -> None:
    """As in `tinyedge tokenizer --vocab-size 1000 --byte-fallback; tinyedge train`."""
    mine = dataclasses.replace(CONFIG, byte_fallback=True)
    path, made = prepare_tokenizer(
        split, tmp_path, mine, notes.append, flexible={"character_coverage"}, chosen={"byte_fallback", *SIZE}
    )
    notes.clear()
    all_names = {field.name for field in dataclasses.fields(TokenizerConfig)}
    assert prepare_tokenizer(split, tmp_path, LARGE, notes.append, flexible=all_names) == (path, made)
    assert (
        notes[0] == "tokenizer: using --byte-fallback, --vocab-size 1000, as chosen with tinyedge tokenizer"
    )
    changed = write_split(split.corpus, syllable_lines(2900))
    for _ in range(2):  # also when the text has changed, and then again
        _, report = prepare_tokenizer(changed, tmp_path, LARGE, notes.append, flexible=all_names)
        assert report.config == mine
    assert any("was trained on another text: training again" in note for note in notes)


def test_a_flag_replaces_what_the_user_chose_before_and_reports_it(
    split: Split, tmp_path: Path, notes: list[str], fast_training: None
) -> None:
    mine = dataclasses.replace(CONFIG, character_coverage=1.0)
    path, _ = prepare_tokenizer(split, tmp_path, mine, notes.append, chosen={"character_coverage"})
    notes.clear()
    _, report = prepare_tokenizer(split, tmp_path, CONFIG, notes.append)
    assert report.config == CONFIG
    assert notes[0] == f"tokenizer: {path} has --character-coverage 1.0: training another"


def test_a_vocabulary_of_another_text_is_not_replaced_by_train(
    split: Split, tmp_path: Path, notes: list[str], fast_training: None
) -> None:
    """As in `tinyedge tokenizer --corpus large.txt; tinyedge train`."""
    large = write_split(tmp_path / "large.txt", syllable_lines(3500))
    path, report = prepare_tokenizer(large, tmp_path, CONFIG, notes.append, chosen=())
    assert report.other_corpus == str(large.corpus)
    before = path.read_bytes()
    with pytest.raises(TokenizerError, match=r"was trained on .*large\.txt and would be replaced") as caught:
        prepare_tokenizer(split, tmp_path, CONFIG, notes.append)
    assert "--skip-tokenizer" in caught.value.hint
    assert path.read_bytes() == before
    prepare_tokenizer(split, tmp_path, CONFIG, notes.append, chosen=())  # `tokenizer` itself replaces it
    assert path.read_bytes() != before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", b'{"version": "1.0", "model": {"type": "BPE"}}'),
        ("bilingual_1k.model", b"a SentencePiece model of someone else"),
        ("bilingual_1k.vocab", b"<unk>\t0\n<s>\t0\n</s>\t0\n"),
    ],
)
def test_files_of_others_are_not_replaced(
    split: Split, tmp_path: Path, notes: list[str], name: str, content: bytes
) -> None:
    folder = tmp_path / "hugging_face"
    folder.mkdir()
    (folder / name).write_bytes(content)
    with pytest.raises(
        TokenizerError, match=f"{name} was not written by tinyedge and would be repl"
    ) as caught:
        prepare_tokenizer(split, folder, CONFIG, notes.append)
    assert "--output-dir" in caught.value.hint
    assert [path.name for path in folder.iterdir()] == [name]
    assert (folder / name).read_bytes() == content


def test_an_own_vocabulary_without_its_report_is_replaced(
    split: Split, tmp_path: Path, notes: list[str]
) -> None:
    """A kill between the two files leaves this."""
    path, report = prepare_tokenizer(split, tmp_path, CONFIG, notes.append)
    (tmp_path / "tokenizer.json").unlink()
    path.with_suffix(".vocab").unlink()
    assert prepare_tokenizer(split, tmp_path, CONFIG, notes.append) == (path, report)
    assert load_report(tmp_path) == report
