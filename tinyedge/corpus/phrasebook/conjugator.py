"""Spanish conjugation by rule, with the exceptions in data/phrasebook/es/verbs.toml.

In:  an infinitive, a tense (one letter, see conjugate) and a person from 0 (yo) to 5 (ellos).
Out: the form, accents and spelling changes included: busqué, leyó, durmió, condujeron.
"""

import tomllib
from functools import cache

from tinyedge.corpus.phrasebook.lexicon import data_folder

_VOWELS = "aeiouáéíóúü"
_PLAIN = str.maketrans("áéíóú", "aeiou")
_ENDINGS = {
    "p": {
        "a": "o as a amos áis an",
        "e": "o es e emos éis en",
        "i": "o es e imos ís en",
    },
    "t": {
        "a": "é aste ó amos asteis aron",
        "e": "í iste ió imos isteis ieron",
        "i": "í iste ió imos isteis ieron",
    },
    "i": {
        "a": "aba abas aba ábamos abais aban",
        "e": "ía ías ía íamos íais ían",
        "i": "ía ías ía íamos íais ían",
    },
    "s": {
        "a": "e es e emos éis en",
        "e": "a as a amos áis an",
        "i": "a as a amos áis an",
    },
}
_FUTURE = ["é", "ás", "á", "emos", "éis", "án"]
_CONDITIONAL = ["ía", "ías", "ía", "íamos", "íais", "ían"]
_STRONG = ["e", "iste", "o", "imos", "isteis", "ieron"]
_PAST_SUBJUNCTIVE = ["ra", "ras", "ra", "ramos", "rais", "ran"]
_STRESSED_STEM = (0, 1, 2, 5)  # the persons whose stress falls on the stem
_CHANGES = {"ie": ("e", "ie"), "ue": ("o", "ue"), "i": ("e", "i"), "ue_u": ("u", "ue")}
_CAUSES_SOFT = "eéií"


@cache
def _exceptions() -> dict[str, dict[str, str]]:
    text = data_folder("es").joinpath("verbs.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def _stem_change(verb: str) -> str:
    for change, verbs in _exceptions()["stem"].items():
        if verb in verbs.split():
            return change
    return ""


def _replace_last(stem: str, old: str, new: str) -> str:
    before, _, after = stem.rpartition(old)
    return before + new + after


def _stress_stem(verb: str, stem: str) -> str:
    """The stem under stress: piens-, duerm-, pid-, env-í-."""
    if verb in _exceptions()["accent"]["verbs"].split():
        return stem[:-1] + {"i": "í", "u": "ú"}[stem[-1]]
    change = _stem_change(verb)
    return _replace_last(stem, *_CHANGES[change]) if change else stem


def _raise_stem_vowel(verb: str, stem: str) -> str:
    """The stem that -ir verbs show in durmió, pidiendo, sintamos."""
    change = _stem_change(verb)
    if not change or verb[-2] not in "ií":
        return stem
    return _replace_last(stem, "o", "u") if change == "ue" else _replace_last(stem, "e", "i")


def _join_ending(verb: str, stem: str, ending: str) -> str:
    """Joins them so that the stem's last consonant keeps its sound."""
    soft = ending[0] in _CAUSES_SOFT
    if verb.endswith("ar") and soft:
        for old, new in (("gu", "gü"), ("c", "qu"), ("g", "gu"), ("z", "c")):
            if stem.endswith(old):
                return stem[: -len(old)] + new + ending
    if verb[-2] in "eií" and not soft:
        if stem.endswith("gu"):
            return stem[:-1] + ending
        if stem.endswith("g"):
            return stem[:-1] + "j" + ending
        if stem.endswith("c"):
            sounded = stem[-2] in _VOWELS and verb not in ("cocer", "torcer")
            return stem[:-1] + ("zc" if sounded else "z") + ending
    return stem + ending


def conjugate(verb: str, tense: str, person: int = 2) -> str:
    """The form of a verb.

    tense: p present, t preterite, i imperfect, f future, c conditional, s present subjunctive,
    x past subjunctive (-ra), m imperative (tú), g gerund, n participle, "" infinitive.
    """
    base = _exceptions()["compound"].get(verb)
    if base:
        form = conjugate(base, tense, person)
        if tense == "m":  # ten, pon; but behind a prefix mantén, repón
            form = {"ten": "tén", "ven": "vén", "pon": "pón"}.get(form, form)
        return verb[: -len(base)] + form
    if tense == "":
        return verb
    simple = {"m": _imperative, "g": _gerund, "n": _participle}
    if tense in simple:
        return simple[tense](verb)
    finite = {
        "p": _present,
        "t": _preterite,
        "i": _imperfect,
        "f": _future,
        "c": _conditional,
        "s": _subjunctive,
        "x": _past_subjunctive,
    }
    return finite[tense](verb, person)


def _regular_ending(verb: str, tense: str, person: int) -> str:
    return _ENDINGS[tense][verb[-2].translate(_PLAIN)].split()[person]


def _present(verb: str, person: int) -> str:
    whole = _exceptions()["present"].get(verb)
    if whole:
        return whole.split()[person]
    if person == 0 and verb in _exceptions()["yo"]:
        return _exceptions()["yo"][verb]
    stem, ending = verb[:-2], _regular_ending(verb, "p", person)
    if verb == "decir":
        stem = "dic" if person in _STRESSED_STEM else stem
    elif verb.endswith("uir") and not verb.endswith(("guir", "quir")):
        stem += "y" if person in _STRESSED_STEM else ""
    elif person in _STRESSED_STEM:
        stem = _stress_stem(verb, stem)
    return _join_ending(verb, stem, ending)


def _preterite(verb: str, person: int) -> str:
    whole = _exceptions()["whole_preterite"].get(verb)
    if whole:
        return whole.split()[person]
    strong = _exceptions()["preterite"].get(verb)
    if strong:
        ending = _STRONG[person]
        if strong.endswith("j") and person == 5:
            ending = "eron"
        # hizo: the c would sound hard before o.
        stem = strong[:-1] + "z" if strong.endswith("hic") and person == 2 else strong
        return stem + ending
    stem, ending = verb[:-2], _regular_ending(verb, "t", person)
    if person in (2, 5):
        stem = _raise_stem_vowel(verb, stem)
        if verb[-2] in "eií":
            if stem.endswith("ñ"):
                return stem + ending[1:]
            if stem[-1] in _VOWELS and not stem.endswith(("gu", "qu")):
                return stem + "y" + ending[1:]
    elif stem[-1] in "aeo" and verb[-2] in "eií":
        ending = ending.replace("i", "í", 1) if ending[0] == "i" else ending
    return _join_ending(verb, stem, ending)


def _imperfect(verb: str, person: int) -> str:
    whole = _exceptions()["imperfect"].get(verb)
    return whole.split()[person] if whole else verb[:-2] + _regular_ending(verb, "i", person)


def _future_stem(verb: str) -> str:
    return _exceptions()["future"].get(verb, verb.translate(_PLAIN))


def _future(verb: str, person: int) -> str:
    return _future_stem(verb) + _FUTURE[person]


def _conditional(verb: str, person: int) -> str:
    return _future_stem(verb) + _CONDITIONAL[person]


def _subjunctive(verb: str, person: int) -> str:
    whole = _exceptions()["subjunctive"].get(verb)
    if whole:
        return whole.split()[person]
    ending = _regular_ending(verb, "s", person)
    if verb in _exceptions()["yo"] or (verb.endswith("uir") and not verb.endswith(("guir", "quir"))):
        return _present(verb, 0)[:-1] + ending
    if verb in _exceptions()["present"]:
        return _present(verb, 0)[:-1] + ending
    stem = verb[:-2]
    stem = _stress_stem(verb, stem) if person in _STRESSED_STEM else _raise_stem_vowel(verb, stem)
    return _join_ending(verb, stem, ending)


def _past_subjunctive(verb: str, person: int) -> str:
    stem = _preterite(verb, 5).removesuffix("ron")
    if person == 3:
        stem = stem[:-1] + {"a": "á", "e": "é"}[stem[-1]]
    return stem + _PAST_SUBJUNCTIVE[person]


def _imperative(verb: str) -> str:
    return _exceptions()["imperative"].get(verb, _present(verb, 2))


def _gerund(verb: str) -> str:
    if verb in _exceptions()["gerund"]:
        return _exceptions()["gerund"][verb]
    stem = verb[:-2]
    if verb.endswith("ar"):
        return stem + "ando"
    stem = _raise_stem_vowel(verb, stem)
    if stem.endswith("ñ"):
        return stem + "endo"
    glides = stem[-1] in _VOWELS and not stem.endswith(("gu", "qu"))
    return stem + ("yendo" if glides else "iendo")


def _participle(verb: str) -> str:
    if verb in _exceptions()["participle"]:
        return _exceptions()["participle"][verb]
    if verb.endswith("ar"):
        return verb[:-2] + "ado"
    return verb[:-2] + ("ído" if verb[-3] in "aeo" else "ido")
