"""The held-out text: complete documents, a tenth of each language, the same ones every time."""

import hashlib
import itertools
from pathlib import Path

import pytest

from tinyedge.core.errors import CorpusError
from tinyedge.corpus import phrasebook
from tinyedge.corpus.split import SplitDocument, draw_split

ENGLISH = "The {n} men said that they would go to the house, and she was there with her dog {n}."
SPANISH = "Los {n} hombres dijeron que iban a la casa, pero ella estaba allí con el perro {n}."


def write_corpus(path: Path, english: int, spanish: int, lines: int = 6) -> Path:
    documents = [
        "\n".join(text.format(n=f"{name}{d}x{line}") for line in range(lines))
        for name, text, count in (("a", ENGLISH, english), ("b", SPANISH, spanish))
        for d in range(count)
    ]
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return path


def test_a_tenth_of_each_language_is_held_out_in_complete_documents(tmp_path: Path) -> None:
    split = draw_split(write_corpus(tmp_path / "c.txt", 100, 40))
    documents = list(split.documents())
    assert split.unit == "documents"
    for language, count in (("en", 100), ("es", 40)):
        of_language = [d for d in documents if d.language == language]
        held_out = [d for d in of_language if d.held_out]
        assert len(of_language) == count
        assert len(held_out) == count // 10
        assert all(not d.training for d in held_out)
    held_lines = set(split.held_out_lines())
    assert not held_lines & set(split.training_lines())
    assert len(held_lines) + len(list(split.training_lines())) == 140 * 6


def test_the_split_is_the_same_each_time(tmp_path: Path) -> None:
    one = list(draw_split(write_corpus(tmp_path / "c.txt", 30, 30)).held_out_lines())
    assert one == list(draw_split(tmp_path / "c.txt").held_out_lines())


def test_few_documents_give_their_last_tenth(tmp_path: Path) -> None:
    split = draw_split(write_corpus(tmp_path / "c.txt", 20, 2, lines=40))
    spanish = [d for d in split.documents() if d.language == "es"]
    assert split.unit == "passages"
    assert [(len(d.training), len(d.held_out)) for d in spanish] == [(36, 4), (36, 4)]
    last = SplitDocument("es", spanish[0].training, spanish[0].held_out)
    assert last.held_out[-1].endswith("b0x39.")
    english = [d for d in split.documents() if d.language == "en"]
    assert sum(bool(d.held_out) for d in english) == 2


def test_a_rare_language_is_only_trained_on(tmp_path: Path) -> None:
    split = draw_split(write_corpus(tmp_path / "c.txt", 300, 1))
    assert split.unit == "documents"
    assert {d.language for d in split.documents() if d.held_out} == {"en"}
    assert [d.language for d in split.documents()].count("es") == 1


def test_too_little_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"c\.txt has too little text"):
        draw_split(write_corpus(tmp_path / "c.txt", 1, 0))


def write_documents(path: Path, documents: list[list[str]]) -> Path:
    path.write_text("\n\n".join("\n".join(lines) for lines in documents) + "\n", encoding="utf-8")
    return path


def make_lines(name: str, count: int, repeat: int = 1) -> list[str]:
    """Make English lines of about 85 * `repeat` bytes."""
    return [" ".join([ENGLISH.format(n=f"{name}x{line}")] * repeat) for line in range(count)]


def count_bytes(lines: list[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


@pytest.mark.parametrize("place", [0, 11, 22, 23])  # 22 is drawn first of 24 English documents
@pytest.mark.parametrize("lines", [500, 9000])
def test_a_novel_among_short_files_gives_only_its_last_tenth(tmp_path: Path, place: int, lines: int) -> None:
    documents = [make_lines(f"d{number}", 50) for number in range(23)]
    documents.insert(place, make_lines("novel", lines))
    split = draw_split(write_documents(tmp_path / "c.txt", documents))
    parts = list(split.documents())
    novel = parts.pop(place)
    assert split.unit == "passages"
    assert len(novel.held_out) == lines // 10
    assert novel.training + novel.held_out == make_lines("novel", lines)
    assert [bool(part.training) == bool(part.held_out) for part in parts] == [False] * 23
    held_out = sum(bool(part.held_out) for part in parts)
    assert held_out == 2  # of 23: the closest to a tenth


@pytest.mark.parametrize("ratio", [1.0, 1.3, 2.0])
@pytest.mark.parametrize("count", [10, 24, 60])
def test_a_tenth_is_held_out_whatever_the_sizes_of_the_documents(
    tmp_path: Path, count: int, ratio: float
) -> None:
    """Sizes that grow by a constant factor: at 2.0 each document is larger than all shorter ones together."""
    largest = 2000
    sizes = [max(1, round(largest / ratio**place)) for place in range(count)]
    documents = [make_lines(f"d{number}", size) for number, size in enumerate(sizes)]
    split = draw_split(write_documents(tmp_path / "c.txt", documents))
    held_out = count_bytes(list(split.held_out_lines()))
    assert 0.05 <= held_out / count_bytes([line for document in documents for line in document]) <= 0.15
    for part in split.documents():
        assert not part.training or not part.held_out or len(part.held_out) <= 0.2 * len(part.training)


@pytest.mark.parametrize("lines", [1, 2, 3, 4])
@pytest.mark.parametrize("documents", [9, 12, 40])
def test_documents_of_a_few_long_lines_give_a_tenth_of_all_lines(
    tmp_path: Path, documents: int, lines: int
) -> None:
    """A tenth of each document alone would be no line at all."""
    corpus = write_documents(
        tmp_path / "c.txt", [make_lines(f"d{number}", lines, repeat=20) for number in range(documents)]
    )
    split = draw_split(corpus)
    held_out = list(split.held_out_lines())
    assert 0.05 <= len(held_out) / (documents * lines) <= 0.15
    assert len(set(held_out) | set(split.training_lines())) == documents * lines


def test_lines_that_are_too_long_to_hold_out_a_tenth_are_an_error_with_a_remedy(tmp_path: Path) -> None:
    documents = [[*make_lines("short", 12), *make_lines("long", 1, repeat=500)]]
    with pytest.raises(CorpusError, match="to hold a tenth of it out: it has 13 lines") as caught:
        draw_split(write_documents(tmp_path / "c.txt", documents))
    assert "one sentence per line" in caught.value.hint
    assert "add text" in caught.value.hint


def test_the_phrasebook_keeps_its_held_out_text(tmp_path: Path) -> None:
    """Figures of earlier runs stay comparable only as long as this text does not change.

    It changed on 2026-11-29, when the phrasebook got greetings.
    """
    documents = [list(d.sentences) for d in itertools.islice(phrasebook.generate_documents(), 1000)]
    split = draw_split(write_documents(tmp_path / "c.txt", documents))
    text = "\n".join(split.held_out_lines())
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "f0bb25863fc5ccc7"
