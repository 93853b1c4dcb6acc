"""The held-out text: complete documents, a tenth of each language, the same ones every time."""

from pathlib import Path

import pytest

from tinyedge.core.errors import CorpusError
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
