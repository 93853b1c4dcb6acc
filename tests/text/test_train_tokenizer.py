"""Which text a vocabulary is trained on: all of a small text, a sample of fixed size of a large one."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.syllables import syllable_lines
from tinyedge.core.errors import TokenizerError
from tinyedge.corpus.split import Split, draw_split
from tinyedge.text import train_tokenizer
from tinyedge.text.train_tokenizer import TokenizerConfig, prepare_tokenizer, sample_lines
from tinyedge.text.trainer_process import TrainerDiedError

CONFIG = TokenizerConfig(vocab_size=1000)


@pytest.fixture
def split(tmp_path: Path) -> Split:
    lines = syllable_lines()
    documents = (lines[start : start + 50] for start in range(0, len(lines), 50))
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join("\n".join(document) for document in documents))
    return draw_split(corpus)


@pytest.fixture
def training_lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the lines that the vocabulary is trained on."""
    recorded: list[str] = []
    train = train_tokenizer.train

    def record(lines: Iterable[str], name: str, config: TokenizerConfig) -> bytes:
        recorded[:] = lines
        return train(recorded, name, config)

    monkeypatch.setattr(train_tokenizer, "train", record)
    return recorded


def test_a_text_up_to_the_limit_is_used_completely(
    split: Split, training_lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(train_tokenizer, "SAMPLE_BYTES", split.corpus.stat().st_size)
    prepare_tokenizer(split, tmp_path, CONFIG, notes.append)
    assert training_lines == list(split.training_lines())
    assert not any("sample" in note for note in notes)


def test_a_larger_text_gives_the_same_sample_of_that_size_each_time(
    split: Split, training_lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    all_lines = list(split.training_lines())
    monkeypatch.setattr(train_tokenizer, "SAMPLE_BYTES", split.corpus.stat().st_size // 2)
    _, first = prepare_tokenizer(split, tmp_path, CONFIG, notes.append)
    assert "tokenizer: training on a sample of 50% of the text" in notes
    assert 0.4 * len(all_lines) < len(training_lines) < 0.6 * len(all_lines)
    remaining = iter(all_lines)
    assert all(line in remaining for line in training_lines)  # in the original order
    (tmp_path / train_tokenizer.REPORT_FILE).unlink()
    assert prepare_tokenizer(split, tmp_path, CONFIG, notes.append)[1] == first


def test_a_trainer_that_dies_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(lines: Iterable[str], options: dict[str, object]) -> bytes:
        raise TrainerDiedError("SIGKILL")

    monkeypatch.setattr(train_tokenizer, "train_unigram", die)
    with pytest.raises(TokenizerError, match=r"SIGKILL while it trained on corpus\.txt") as caught:
        train_tokenizer.train([], "corpus.txt", CONFIG)
    assert "memory" in caught.value.hint


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_each_part_of_the_text_is_sampled_equally(share: float) -> None:
    lines = ["en"] * 20_000 + ["es"] * 10_000
    found = list(sample_lines(lines, share))
    # Within five standard deviations of the expected count.
    assert abs(found.count("en") - share * 20_000) < 5 * (share * (1 - share) * 20_000) ** 0.5
    assert abs(found.count("es") - share * 10_000) < 5 * (share * (1 - share) * 10_000) ** 0.5
