"""Change a command's sentence as people do who type or speak it, without changing what it means.

In: a sentence, and the texts in it that an answer copies. Out: the sentence with fillers, other words of the
same meaning, another order, without accents or articles, with a typing error. Does not know intents.
"""

import random
import re
import string
import unicodedata
from collections.abc import Sequence

_FILLERS = {
    "en": "hey; ok; please; um; well; could you please; can you; I want you to; I need you to;"
    " would you mind; go ahead and; quickly; now; just; kindly; I'd like you to; so; computer;"
    " hey there, please; could you",
    "es": "oye; vale; por favor; eh; bueno; puedes; podrías; quiero que; necesito que; te importaría;"
    " rápido; ahora; anda; a ver; venga; oye, por favor; me puedes; hazme el favor de; mira; ordenador",
}
_TAILS = {
    "en": "please; now; right now; thanks; thank you; for me; ok; if you can; right away;"
    " will you; immediately; would you",
    "es": "por favor; ahora; ya; gracias; ahora mismo; vale; si puedes; cuanto antes; porfa;"
    " enseguida; quieres",
}
# Other words of the same meaning; the first that occurs in a sentence may be replaced.
_SYNONYMS = {
    "en": (
        (
            r"\b(turn|switch) on\b",
            "power on; put on; power up; fire up; start up; get going; enable; I want to have on",
        ),
        (r"\b(turn|switch) off\b", "power off; shut off; kill; power down; shut down; cut; disable; put out"),
        (r"^(open|raise|lift)\b", "pull up; roll up; open up"),
        (r"^(close|shut|lower)\b", "pull down; roll down; draw; close up"),
        (r"^(set|change|make|turn|adjust)\b", "put; bring; get; move; adjust; switch; take; dial"),
        (r"^set (a|the|my) timer\b", "give me a timer; start counting down; put a timer on"),
        (
            r"^(what is|what's|whats|tell me)\b",
            "can you tell me; I want to know; give me; do you know; say; show me",
        ),
        (r"^(are|is) ", "can you check if; tell me if; check whether; do you know if"),
        (r"\bvolume\b", "sound; sound level; loudness"),
        (r"\bbrightness\b", "light level; brightness level; dimmer"),
        (r"\btemperature\b", "heat; temp; temperature setting"),
        (r"^(pause|stop)\b", "halt; hold; freeze"),
        (r"^(resume|unpause)\b", "continue; go on with; carry on with; restart"),
        (r"^(skip|next)\b", "jump to the next; go to the next; move on to the next"),
        (r"^(add|put)\b", "write; note; include; stick; throw"),
        (r"^(cancel|stop)\b", "drop; get rid of; clear; forget; end"),
        (r"^play\b", "put on; start playing; I want to hear; let me hear; let's listen to"),
        (r"^(vacuum|clean)\b", "hoover; sweep; do a clean of"),
        (r"\bhow much time is left on\b", "how long is left on; when does it end,"),
        (r"\blights\b", "lamps; lighting; light"),
        (r"\b(to|at) (?=\d)", "up to ; at ; down to "),
    ),
    "es": (
        (
            r"^(enciende|encender|encienda|activa|prende|conecta)\b",
            "pon; dale a; echa a andar; pon en marcha; arranca",
        ),
        (r"^(apaga|apagar|apague|desconecta|desactiva)\b", "quita; corta; para; deja apagado; mata"),
        (r"^(abre|abrir|sube)\b", "levanta; alza; deja abierto"),
        (r"^(cierra|cerrar|baja)\b", "echa; deja cerrado; baja del todo"),
        (r"^(pon|establece|ajusta|configura|cambia)\b", "deja; lleva; coloca; regula; fija"),
        (r"^(cuál es|dime|cómo está)\b", "quiero saber; me dices; sabes; enséñame; mira"),
        (r"^(está|están|hay)\b", "mira si está; dime si está; comprueba si hay; sabes si está"),
        (r"\bvolumen\b", "sonido; nivel de sonido"),
        (r"\bbrillo\b", "nivel de luz; luminosidad; intensidad"),
        (r"\btemperatura\b", "temperatura ambiente; grados"),
        (r"^(pausa|para|detén)\b", "congela; frena; haz una pausa en"),
        (r"^(continúa|sigue|reanuda)\b", "retoma; vuelve con; prosigue"),
        (r"^(añade|apunta|agrega|añadir)\b", "anota; mete; incluye; escribe"),
        (r"^(cancela|elimina|cancelar)\b", "anula; quita; olvida"),
        (r"^(reproduce|pon|escuchar)\b", "quiero oír; ponme; hazme sonar"),
        (r"\bluces\b", "lámparas; bombillas; luz"),
        (r"\btemporizador\b", "reloj; aviso; cronómetro"),
    ),
}
_ARTICLES = {"en": frozenset({"the", "a", "my"}), "es": frozenset({"el", "la", "los", "las", "un", "una"})}
_LETTERS = string.ascii_lowercase


def add_noise(sentence: str, language: str, copied: Sequence[str], place: str, rng: random.Random) -> str:
    """Return a sentence as somebody else may write it.

    Args:
        sentence: The sentence.
        language: `en` or `es`.
        copied: Texts in it that must stay as they are.
        place: Name of a room in it; empty if there is none.
        rng: Random stream.
    """
    chance = rng.random
    if place and chance() < 0.15:
        sentence = _move_place(sentence, language, place, rng)
    if chance() < 0.3:
        sentence = _replace_words(sentence, language, copied, rng)
    if chance() < 0.12:
        sentence = _drop_articles(sentence, language, copied)
    if chance() < 0.2:
        sentence = f"{rng.choice(_FILLERS[language].split(';')).strip()} {sentence}"
    if chance() < 0.15:
        sentence += f"{rng.choice([' ', ' ', ', '])}{rng.choice(_TAILS[language].split(';')).strip()}"
    if chance() < 0.15:
        sentence = _mistype(sentence, copied, rng)
    if language == "es" and chance() < 0.2:
        sentence = _drop_accents(sentence, copied)
    if chance() < 0.2:
        sentence = sentence[:1].upper() + sentence[1:]
    return sentence + rng.choice(["", "", "", "", ".", "?", "!"])


def _move_place(sentence: str, language: str, place: str, rng: random.Random) -> str:
    """Move "in the kitchen" from the end of a sentence to its beginning."""
    link = {"en": r"(?:in|on|at|of)", "es": r"(?:en|de|del)"}[language]
    article = {"en": r"(?:(?:the|my|our) )?", "es": r"(?:(?:el|la|los|las) )?"}[language]
    found = re.search(rf" {link} {article}{re.escape(place)}$", sentence, re.IGNORECASE)
    return f"{found[0].strip()}{rng.choice([',', ''])} {sentence[: found.start()]}" if found else sentence


def _replace_words(sentence: str, language: str, copied: Sequence[str], rng: random.Random) -> str:
    for pattern, words in rng.sample(_SYNONYMS[language], len(_SYNONYMS[language])):
        changed = re.sub(
            pattern, rng.choice(words.split(";")).strip(), sentence, count=1, flags=re.IGNORECASE
        )
        if changed != sentence and all(text in changed for text in copied):
            return changed
    return sentence


def _drop_articles(sentence: str, language: str, copied: Sequence[str]) -> str:
    changed = " ".join(word for word in sentence.split() if word not in _ARTICLES[language])
    return changed if changed and all(text in changed for text in copied) else sentence


def _mistype(sentence: str, copied: Sequence[str], rng: random.Random) -> str:
    words = sentence.split()
    places = [place for place, word in enumerate(words) if len(word) > 4 and word.isalpha()]
    if not places:
        return sentence
    place = rng.choice(places)
    word, at = words[place], rng.randrange(1, len(words[place]) - 1)
    kind = rng.randrange(4)
    middle = (
        word[at + 1] + word[at],
        rng.choice(_LETTERS) + word[at : at + 2],
        word[at + 1],
        rng.choice(_LETTERS) + word[at + 1],
    )
    words[place] = word[:at] + middle[kind] + word[at + 2 :]
    changed = " ".join(words)
    return changed if all(text in changed for text in copied) else sentence


def _drop_accents(sentence: str, copied: Sequence[str]) -> str:
    decomposed = unicodedata.normalize("NFD", sentence.replace("ñ", "\0"))
    changed = "".join(character for character in decomposed if not unicodedata.combining(character)).replace(
        "\0", "ñ"
    )
    return changed if all(text in changed for text in copied) else sentence
