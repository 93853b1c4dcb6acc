"""The phrasebook: grammar against tables, and properties of the complete generated text."""

import hashlib
import re
import unicodedata
from collections import Counter
from itertools import islice

import pytest

from tinyedge.corpus.document import Document
from tinyedge.corpus.phrasebook import generate_documents
from tinyedge.corpus.phrasebook.conjugator import conjugate
from tinyedge.corpus.phrasebook.english_forms import (
    fix_articles,
    inflect_gerund,
    inflect_participle,
    inflect_past,
    inflect_present,
    pluralize,
)
from tinyedge.corpus.phrasebook.lexicon import read_scenes
from tinyedge.corpus.phrasebook.spanish_forms import (
    fix_contractions,
    inflect_adjective,
    inflect_determiner,
    parse_noun,
)
from tinyedge.corpus.phrasebook.spanish_forms import pluralize as pluralize_spanish
from tinyedge.corpus.phrasebook.template import parse
from tinyedge.corpus.split import draw_split

# verb, tense, persons and forms: yo, tú, él, nosotros, vosotros, ellos
SPANISH_TABLE = """
hablar p hablo hablas habla hablamos habláis hablan
comer p como comes come comemos coméis comen
vivir p vivo vives vive vivimos vivís viven
pensar p pienso piensas piensa pensamos pensáis piensan
dormir p duermo duermes duerme dormimos dormís duermen
pedir p pido pides pide pedimos pedís piden
jugar p juego juegas juega jugamos jugáis juegan
tener p tengo tienes tiene tenemos tenéis tienen
decir p digo dices dice decimos decís dicen
conocer p conozco conoces conoce conocemos conocéis conocen
construir p construyo construyes construye construimos construís construyen
seguir p sigo sigues sigue seguimos seguís siguen
coger p cojo coges coge cogemos cogéis cogen
enviar p envío envías envía enviamos enviáis envían
continuar p continúo continúas continúa continuamos continuáis continúan
oír p oigo oyes oye oímos oís oyen
ser p soy eres es somos sois son
ir p voy vas va vamos vais van
buscar t busqué buscaste buscó buscamos buscasteis buscaron
llegar t llegué llegaste llegó llegamos llegasteis llegaron
empezar t empecé empezaste empezó empezamos empezasteis empezaron
leer t leí leíste leyó leímos leísteis leyeron
dormir t dormí dormiste durmió dormimos dormisteis durmieron
pedir t pedí pediste pidió pedimos pedisteis pidieron
conducir t conduje condujiste condujo condujimos condujisteis condujeron
hacer t hice hiciste hizo hicimos hicisteis hicieron
tener t tuve tuviste tuvo tuvimos tuvisteis tuvieron
ser t fui fuiste fue fuimos fuisteis fueron
dar t di diste dio dimos disteis dieron
oír t oí oíste oyó oímos oísteis oyeron
construir t construí construiste construyó construimos construisteis construyeron
seguir t seguí seguiste siguió seguimos seguisteis siguieron
traer t traje trajiste trajo trajimos trajisteis trajeron
hablar i hablaba hablabas hablaba hablábamos hablabais hablaban
ver i veía veías veía veíamos veíais veían
ir i iba ibas iba íbamos ibais iban
tener f tendré tendrás tendrá tendremos tendréis tendrán
comer f comeré comerás comerá comeremos comeréis comerán
oír f oiré oirás oirá oiremos oiréis oirán
hacer c haría harías haría haríamos haríais harían
buscar s busque busques busque busquemos busquéis busquen
dormir s duerma duermas duerma durmamos durmáis duerman
tener s tenga tengas tenga tengamos tengáis tengan
empezar s empiece empieces empiece empecemos empecéis empiecen
conocer s conozca conozcas conozca conozcamos conozcáis conozcan
decir x dijera dijeras dijera dijéramos dijerais dijeran
hablar x hablara hablaras hablara habláramos hablarais hablaran
"""
SPANISH_SINGLE = (
    "hacer n hecho|escribir n escrito|volver n vuelto|leer n leído|oír n oído|ir n ido|"
    "construir n construido|dormir g durmiendo|leer g leyendo|pedir g pidiendo|ir g yendo|seguir g siguiendo|"
    "teñir g tiñendo|"
    "tener m ten|mantener m mantén|reponer m repón|cerrar m cierra|pedir m pide|hacer m haz"
)
ENGLISH_VERBS = """
buy buys buying bought bought
carry carries carrying carried carried
stop stops stopping stopped stopped
play plays playing played played
write writes writing wrote written
die dies dying died died
go goes going went gone
watch watches watching watched watched
visit visits visiting visited visited
prefer prefers preferring preferred preferred
see sees seeing saw seen
have has having had had
do does doing did done
fix fixes fixing fixed fixed
hope hopes hoping hoped hoped
sing sings singing sang sung
cut cuts cutting cut cut
rain rains raining rained rained
mow mows mowing mowed mown
travel travels travelling travelled travelled
quit quits quitting quitted quitted
sweep sweeps sweeping swept swept
"""
ENGLISH_PLURALS = (
    "knife knives|child children|cup of tea cups of tea|box boxes|city cities|boy boys|potato potatoes|"
    "pen pens|loaf of bread loaves of bread|bread knife bread knives|foot feet|church churches|mouse mice"
)
ENGLISH_ARTICLES = (
    "a apple>an apple|a hour>an hour|a university>a university|a European>a European|a one-way>a one-way|"
    "a umbrella>an umbrella|A old>An old|a unusual>an unusual|a useful>a useful|a honest>an honest|"
    "a pear>a pear"
)
SPANISH_NOUNS = (
    "un lápiz>lápices|un jardín>jardines|una flor/f>flores|un autobús>autobuses|una canción>canciones|"
    "un lunes>lunes|un sofá>sofás|un paraguas>paraguas|una tortilla de patatas>tortillas de patatas|"
    "una taza roja>tazas rojas|un árbol verde>árboles verdes|un joven>jóvenes|un tapiz>tapices|"
    "un jersey>jerséis|un mural sobre las abejas>murales sobre las abejas"
)
# What people type first. A line must start with it, so that a model can continue it.
FIRST_PROMPTS = (
    "Hello|Hi|Good morning|Good afternoon|Good evening|Good night|My name is|I am|"
    "How are you|What|Thank you|Please|Goodbye|Hola|Buenos días|Buenas tardes|Buenas noches|Me llamo|Soy|"
    "Cómo estás|Qué|Gracias|Muchas gracias|Por favor|Adiós"
)
STARTS = re.compile(r"""[A-ZÁÉÍÓÚÑÜ¿¡—"«]""")
ENDS = re.compile(r"""[.?!…]["»]?$""")
FORBIDDEN = {
    "both": re.compile(r"  |[{}\[\]|<>=/]|\s[,.;:?!]|,,|,—|\.\.|^\?|\b(?!had\b)(\w+) \1\b"),
    "en": re.compile(
        r"\b[Aa] (?!one\b|once\b|uni[^nm]|use|usu|eur|ut[ei]|ukulele)[aeiou]|\bI (?:is|has|does)\b"
        r"|\b(?:asked|told|gave|begged|persuaded|lives with) (?:I|we)\b"
    ),
    "es": re.compile(r"\b(?:a|de) el\b|\by i(?![aeo])|\by hi[^ae]|\bo h?[oó]|\bla (?:agua|águila|arpa)\b"),
}


@pytest.fixture(scope="module")
def corpus() -> list[Document]:
    return list(generate_documents())


def hash_documents(seed: int, count: int) -> str:
    lines = ["\n".join(document.sentences) for document in islice(generate_documents(seed), count)]
    return hashlib.sha256("\n\n".join(lines).encode()).hexdigest()


def select_sentences(corpus: list[Document], language: str) -> list[str]:
    return [line for document in corpus if document.language == language for line in document.sentences]


@pytest.mark.parametrize("row", SPANISH_TABLE.strip().splitlines())
def test_spanish_tenses(row: str) -> None:
    verb, tense, *forms = row.split()
    assert [conjugate(verb, tense, person) for person in range(6)] == forms


@pytest.mark.parametrize("row", SPANISH_SINGLE.split("|"))
def test_spanish_single_forms(row: str) -> None:
    verb, tense, form = row.split()
    assert conjugate(verb, tense) == form


@pytest.mark.parametrize("row", ENGLISH_VERBS.strip().splitlines())
def test_english_verbs(row: str) -> None:
    verb, *forms = row.split()
    assert [
        inflect_present(verb, True),
        inflect_gerund(verb),
        inflect_past(verb),
        inflect_participle(verb),
    ] == forms


@pytest.mark.parametrize("row", ENGLISH_PLURALS.split("|"))
def test_english_plurals(row: str) -> None:
    words = row.split()
    half = len(words) // 2
    assert pluralize(" ".join(words[:half])) == " ".join(words[half:])


@pytest.mark.parametrize("row", ENGLISH_ARTICLES.split("|"))
def test_english_articles(row: str) -> None:
    wrong, right = row.split(">")
    assert fix_articles(wrong) == right


@pytest.mark.parametrize("row", SPANISH_NOUNS.split("|"))
def test_spanish_nouns(row: str) -> None:
    singular, many = row.split(">")
    article, _, entry = singular.partition(" ")
    assert inflect_determiner("un", parse_noun(entry)) == article
    assert parse_noun(entry, plural=True).text == many


def test_spanish_agreement() -> None:
    assert inflect_determiner("el", parse_noun("agua")) == "el"
    assert inflect_determiner("el", parse_noun("águila", plural=True)) == "las"
    assert inflect_determiner("este", parse_noun("gafas/fp")) == "estas"
    assert inflect_adjective("trabajador", True, True) == "trabajadoras"
    assert inflect_adjective("inglés", True, False) == "inglesa"
    assert inflect_adjective("feliz", True, True) == "felices"
    assert pluralize_spanish("examen") == "exámenes"
    assert fix_contractions("de el mar a el río, padre y hijo, siete o ocho, agua y hielo") == (
        "del mar al río, padre e hijo, siete u ocho, agua y hielo"
    )


@pytest.mark.parametrize("template", ["a [b", "a] b", "{a", "a} b"])
def test_a_template_with_an_unpaired_bracket_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="template"):
        parse(template)


@pytest.mark.parametrize("language", ["en", "es"])
def test_scenes_are_many_and_varied(language: str) -> None:
    scenes = read_scenes(language)
    assert len({scene.name for scene in scenes}) == len(scenes) >= 60
    assert all(len(step.alternatives) >= 1 for scene in scenes for step in scene.steps)
    assert all(sum(len(step.alternatives) for step in scene.steps) >= 12 for scene in scenes)


def test_the_same_seed_gives_the_same_text() -> None:
    assert hash_documents(3, 300) == hash_documents(3, 300) != hash_documents(4, 300)


def test_the_text_has_the_documented_size(corpus: list[Document]) -> None:
    sentences = [line for document in corpus for line in document.sentences]
    size = sum(len("\n".join(document.sentences).encode()) + 2 for document in corpus)
    assert 3_145_728 <= size <= 3_700_000
    assert len(set(sentences)) >= 46_000
    assert len(set(sentences)) / len(sentences) > 0.95
    assert Counter(sentences).most_common(1)[0][1] < 60


@pytest.mark.parametrize("language", ["en", "es"])
def test_each_language_has_half_of_the_text_and_many_words(corpus: list[Document], language: str) -> None:
    total = sum(len(line.encode()) for document in corpus for line in document.sentences)
    own = select_sentences(corpus, language)
    assert 0.45 < sum(len(line.encode()) for line in own) / total < 0.55
    assert len({word for line in own for word in re.findall(r"[^\W\d_]+", line.lower())}) >= 3_500


def test_documents_are_well_formed(corpus: list[Document]) -> None:
    for document in corpus:
        assert document.source == "phrasebook"
        assert 3 <= len(document.sentences) <= 8
        for line in document.sentences:
            assert line == unicodedata.normalize("NFC", line).strip()
            assert STARTS.match(line), line
            assert ENDS.search(line), line
            assert line.count('"') % 2 == 0, line
            assert line.count("¿") == line.count("?") or document.language == "en", line


@pytest.mark.parametrize("language", ["en", "es"])
def test_no_sentence_has_a_forbidden_pattern(corpus: list[Document], language: str) -> None:
    for line in select_sentences(corpus, language):
        assert not FORBIDDEN["both"].search(line), line
        assert not FORBIDDEN[language].search(line), line


@pytest.fixture(scope="module")
def split_lines(corpus: list[Document], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    path = tmp_path_factory.mktemp("phrasebook") / "corpus.txt"
    path.write_text(
        "\n\n".join("\n".join(document.sentences) for document in corpus) + "\n", encoding="utf-8"
    )
    split = draw_split(path)
    return {"training": list(split.training_lines()), "held-out": list(split.held_out_lines())}


@pytest.mark.parametrize("part", ["training", "held-out"])
@pytest.mark.parametrize("prompt", FIRST_PROMPTS.split("|"))
def test_what_people_type_first_starts_lines_of_both_parts(
    split_lines: dict[str, list[str]], prompt: str, part: str
) -> None:
    starts = re.compile(rf"[¿¡]*{prompt}\b")  # not in quotes: the prompt has none
    assert any(starts.match(line) for line in split_lines[part])
