"""Language detection on small samples, and on the held-out novels where they are available."""

from pathlib import Path

import pytest

from tinyedge.corpus.language import detect_language

HELD_OUT = Path(__file__).parents[3] / "shared" / "corpus"

SAMPLES = {
    "en": [
        "The old fisherman stayed on the quay. He looked at the sea for a long time. No one spoke to him.",
        "She had never been there before, and they could not tell her what it was.",
        "“Me? No,” said he; “a has-been, that is all I am.”",
    ],
    "es": [
        "El viejo pescador se quedó en el muelle. Miraba el mar desde hacía horas. Nadie le hablaba.",
        "Nunca había estado allí, y no supieron decirle qué era aquello ni cuándo llegó.",
        "Madrid, Sevilla, Bilbao, Murcia, Palma, Vigo, Gijón y Elche, con las Canarias y Melilla.",
        "—No me he ido a casa porque ya era muy tarde para los niños —dijo ella.",
    ],
    "und": [
        "Le vieux pêcheur est resté longtemps sur le quai. Il regardait la mer et ne disait rien à personne.",
        "Der alte Fischer stand lange am Ufer. Er sah auf das Meer, und niemand sprach mit ihm.",
        "O velho pescador ficou muito tempo no cais. Olhava para o mar e não dizia nada a ninguém.",
        "Il vecchio pescatore rimase a lungo sul molo. Guardava il mare e non diceva nulla a nessuno.",
        "El vell pescador es va quedar molta estona al moll. Mirava el mar i no deia res a ningú.",
        "Madrid, Barcelona, Valencia, London, Paris, Berlin.",
        "The man is here and the dog is with him. El hombre está aquí y los perros con él.",
        "12345 !!! 67",
        "",
    ],
}


@pytest.mark.parametrize(
    ("language", "text"), [(name, text) for name, texts in SAMPLES.items() for text in texts]
)
def test_samples_are_detected(language: str, text: str) -> None:
    assert detect_language(text) == language


@pytest.mark.parametrize("language", ["en", "es"])
def test_held_out_novels_are_detected(language: str) -> None:
    path = HELD_OUT / f"heldout_{language}.txt"
    if not path.exists():
        pytest.skip(f"{path} is not available")
    documents = [text.splitlines() for text in path.read_text("utf-8").split("\n\n") if text.strip()]
    assert [detect_language("\n".join(lines)) for lines in documents] == [language] * len(documents)
    chunks = ["\n".join(lines[i : i + 5]) for lines in documents for i in range(0, len(lines), 5)]
    correct = sum(detect_language(chunk) == language for chunk in chunks)
    assert correct >= 0.98 * len(chunks)


def test_bilingual_novels_are_detected() -> None:
    path = HELD_OUT / "bilingual.txt"
    if not path.exists():
        pytest.skip(f"{path} is not available")
    documents = [text for text in path.read_text("utf-8").split("\n\n") if text.strip()]
    languages = [detect_language(text[:20_000]) for text in documents]
    assert set(languages) == {"en", "es"}
