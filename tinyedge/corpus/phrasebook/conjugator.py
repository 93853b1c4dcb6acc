"""Spanish conjugation by rules, with exceptions in data/phrasebook/es/verbs.toml.

In: an infinitive, a tense (one letter, see `conjugate`) and a person from 0 (yo) to 5 (ellos). Out: the form,
with accents and spelling changes: busqué, leyó, durmió, condujeron. Does not know templates.
"""

import tomllib
from functools import cache

from tinyedge.corpus.phrasebook.lexicon import find_data_folder

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
_STRESSED_STEM = (0, 1, 2, 5)  # persons with the stress on the stem
_CHANGES = {"ie": ("e", "ie"), "ue": ("o", "ue"), "i": ("e", "i"), "ue_u": ("u", "ue")}
_CAUSES_SOFT = "eéií"


@cache
def _load_exceptions() -> dict[str, dict[str, str]]:
    text = find_data_folder("es").joinpath("verbs.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def _find_stem_change(verb: str) -> str:
    for change, verbs in _load_exceptions()["stem"].items():
        if verb in verbs.split():
            return change
    return ""


def _replace_last(stem: str, old: str, new: str) -> str:
    before, _, after = stem.rpartition(old)
    return before + new + after


def _stress_stem(verb: str, stem: str) -> str:
    """Return the stem under stress: piens-, duerm-, pid-, enví-."""
    if verb in _load_exceptions()["accent"]["verbs"].split():
        return stem[:-1] + {"i": "í", "u": "ú"}[stem[-1]]
    change = _find_stem_change(verb)
    return _replace_last(stem, *_CHANGES[change]) if change else stem


def _raise_stem_vowel(verb: str, stem: str) -> str:
    """Return the stem that -ir verbs have in durmió, pidiendo, sintamos."""
    change = _find_stem_change(verb)
    if not change or verb[-2] not in "ií":
        return stem
    return _replace_last(stem, "o", "u") if change == "ue" else _replace_last(stem, "e", "i")


def _join_ending(verb: str, stem: str, ending: str) -> str:
    """Join stem and ending so that the last consonant of the stem keeps its sound."""
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
            follows_vowel = stem[-2] in _VOWELS and verb not in ("cocer", "torcer")
            return stem[:-1] + ("zc" if follows_vowel else "z") + ending
    return stem + ending


def conjugate(verb: str, tense: str, person: int = 2) -> str:
    """Return a form of a verb.

    Args:
        verb: The infinitive.
        tense: p present, t preterite, i imperfect, f future, c conditional, s present subjunctive, x past
            subjunctive (-ra), m imperative (tú), g gerund, n participle, "" infinitive.
        person: 0 yo, 1 tú, 2 él, 3 nosotros, 4 vosotros, 5 ellos.
    """
    base = _load_exceptions()["compound"].get(verb)
    if base:
        form = conjugate(base, tense, person)
        if tense == "m":  # ten, pon; but mantén, repón with a prefix
            form = {"ten": "tén", "ven": "vén", "pon": "pón"}.get(form, form)
        return verb[: -len(base)] + form
    if tense == "":
        return verb
    simple = {"m": _form_imperative, "g": _form_gerund, "n": _form_participle}
    if tense in simple:
        return simple[tense](verb)
    finite = {
        "p": _conjugate_present,
        "t": _conjugate_preterite,
        "i": _conjugate_imperfect,
        "f": _conjugate_future,
        "c": _conjugate_conditional,
        "s": _conjugate_subjunctive,
        "x": _conjugate_past_subjunctive,
    }
    return finite[tense](verb, person)


def _find_regular_ending(verb: str, tense: str, person: int) -> str:
    return _ENDINGS[tense][verb[-2].translate(_PLAIN)].split()[person]


def _conjugate_present(verb: str, person: int) -> str:
    forms = _load_exceptions()["present"].get(verb)
    if forms:
        return forms.split()[person]
    if person == 0 and verb in _load_exceptions()["yo"]:
        return _load_exceptions()["yo"][verb]
    stem, ending = verb[:-2], _find_regular_ending(verb, "p", person)
    if verb == "decir":
        stem = "dic" if person in _STRESSED_STEM else stem
    elif verb.endswith("uir") and not verb.endswith(("guir", "quir")):
        stem += "y" if person in _STRESSED_STEM else ""
    elif person in _STRESSED_STEM:
        stem = _stress_stem(verb, stem)
    return _join_ending(verb, stem, ending)


def _conjugate_preterite(verb: str, person: int) -> str:
    forms = _load_exceptions()["whole_preterite"].get(verb)
    if forms:
        return forms.split()[person]
    strong = _load_exceptions()["preterite"].get(verb)
    if strong:
        ending = _STRONG[person]
        if strong.endswith("j") and person == 5:
            ending = "eron"
        # hizo: a c before o would change its sound.
        stem = strong[:-1] + "z" if strong.endswith("hic") and person == 2 else strong
        return stem + ending
    stem, ending = verb[:-2], _find_regular_ending(verb, "t", person)
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


def _conjugate_imperfect(verb: str, person: int) -> str:
    forms = _load_exceptions()["imperfect"].get(verb)
    return forms.split()[person] if forms else verb[:-2] + _find_regular_ending(verb, "i", person)


def _find_future_stem(verb: str) -> str:
    return _load_exceptions()["future"].get(verb, verb.translate(_PLAIN))


def _conjugate_future(verb: str, person: int) -> str:
    return _find_future_stem(verb) + _FUTURE[person]


def _conjugate_conditional(verb: str, person: int) -> str:
    return _find_future_stem(verb) + _CONDITIONAL[person]


def _conjugate_subjunctive(verb: str, person: int) -> str:
    forms = _load_exceptions()["subjunctive"].get(verb)
    if forms:
        return forms.split()[person]
    ending = _find_regular_ending(verb, "s", person)
    if verb in _load_exceptions()["yo"] or (verb.endswith("uir") and not verb.endswith(("guir", "quir"))):
        return _conjugate_present(verb, 0)[:-1] + ending
    if verb in _load_exceptions()["present"]:
        return _conjugate_present(verb, 0)[:-1] + ending
    stem = verb[:-2]
    stem = _stress_stem(verb, stem) if person in _STRESSED_STEM else _raise_stem_vowel(verb, stem)
    return _join_ending(verb, stem, ending)


def _conjugate_past_subjunctive(verb: str, person: int) -> str:
    stem = _conjugate_preterite(verb, 5).removesuffix("ron")
    if person == 3:
        stem = stem[:-1] + {"a": "á", "e": "é"}[stem[-1]]
    return stem + _PAST_SUBJUNCTIVE[person]


def _form_imperative(verb: str) -> str:
    return _load_exceptions()["imperative"].get(verb, _conjugate_present(verb, 2))


def _form_gerund(verb: str) -> str:
    if verb in _load_exceptions()["gerund"]:
        return _load_exceptions()["gerund"][verb]
    stem = verb[:-2]
    if verb.endswith("ar"):
        return stem + "ando"
    stem = _raise_stem_vowel(verb, stem)
    if stem.endswith("ñ"):
        return stem + "endo"
    glides = stem[-1] in _VOWELS and not stem.endswith(("gu", "qu"))
    return stem + ("yendo" if glides else "iendo")


def _form_participle(verb: str) -> str:
    if verb in _load_exceptions()["participle"]:
        return _load_exceptions()["participle"][verb]
    if verb.endswith("ar"):
        return verb[:-2] + "ado"
    return verb[:-2] + ("ído" if verb[-3] in "aeo" else "ido")
