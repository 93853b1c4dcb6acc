"""The content filter: what it finds, what passes, and that no part of a listed word is ever shown."""

import itertools
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyedge.core.errors import FilterError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime import content_filter
from tinyedge.runtime.content_filter import LIST_FILE, PROMPT_TAIL_SYMBOLS, ContentFilter
from tinyedge.runtime.generator import Generator

FILTER = ContentFilter(["darn", "heck", "blast*", "son of a gun", "coña", "ano", "bazoo", "booze", "il"])
SHIPPED_FILTER = ContentFilter.load()


def filter_text(
    content_filter: ContentFilter, text: str, sizes: Sequence[int] = (), prompt: str = ""
) -> tuple[str, bool]:
    """Filter a text in pieces of `sizes` and one last piece; return the shown text and whether it stopped."""
    matcher = content_filter.watch(prompt)
    parts, at = [], 0
    for size in (*sizes, len(text)):
        parts.append(matcher.push(text[at : at + size]))
        at += size
    return "".join(parts) + matcher.flush(), matcher.stopped


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("oh darn it", "oh "),
        ("Darn", ""),
        ("oh DARN!", "oh "),
        ("darn's", ""),
        ("a 'darn' b", "a '"),
        ("ｄａｒｎ", ""),  # full-width
        ("𝐝𝐚𝐫𝐧", ""),  # bold
        ("dàrñ dárn", "dàrñ "),  # ñ is a different letter from n, á is not different from a
        ("da\u0301rn", ""),
        ("d\u200ba\u00adr\u2060n", ""),  # invisible characters in between
        ("d\x00arn", ""),
        ("d4rn h3ck", ""),
        ("h€ck d@rn", "h€ck "),
        ("daaaaarn", ""),
        ("dddarnnn", ""),
        ("to_darn_it", "to_"),
        ("12darn34", "12"),
        ("a blast", "a "),
        ("blasting", ""),
        ("sandblast, blaster", "sandblast, "),
        ("son of a gun", ""),
        ("Son-of-a-gun", ""),
        ("a son  of\na gun.", "a "),
        ("my son of a son of a gun", "my son of a "),
        ("coña", ""),
        ("con\u0303a", ""),
        ("el ano", "el "),
        ("bazoooo", ""),
        ("boozze boozzze", "boozze "),
        ("b000ze", ""),
        ("il", ""),
    ],
)
def test_listed_word_is_found(text: str, rest: str) -> None:
    assert filter_text(FILTER, text) == (rest, True)


@pytest.mark.parametrize(
    "text",
    [
        *("darning", "hecks", "check", "Darnell", "undarned", "sandblast", "mildarn"),
        *("ddarn", "daarn", "boze", "d a r n", "d.a.r.n", "dar n"),  # a letter twice is another word
        *("son of a", "son of a. gun", "son of, a gun", "a son of guns", "sons of a gun", "of a gun"),
        *("cona", "con a", "coñac", "año", "an\u0303o", "años", "bazo", "bazooka"),
        *("11", "1l", "A40", "4n0", ""),  # fewer than two letters
        "¿Qué?\x00 \ud800 ﷽ 👍🏽 \u202e x\u0301\u0301",
    ],
)
def test_text_without_listed_words_passes(text: str) -> None:
    assert filter_text(FILTER, text) == (text, False)


ALPHABET = "darnheckblsgufo aiñ\u0303\u200b1.-'4"
CUTS = st.lists(st.integers(0, 4), max_size=20)


@given(st.text(ALPHABET, max_size=24), CUTS)
def test_pieces_give_the_same_result_as_the_complete_text(text: str, sizes: list[int]) -> None:
    assert filter_text(FILTER, text, sizes) == filter_text(FILTER, text)


@given(st.text(ALPHABET, max_size=12), st.sampled_from(["darn", "heck", "blasts", "son of a gun"]), CUTS)
def test_no_part_of_a_listed_word_is_shown(before: str, word: str, sizes: list[int]) -> None:
    text, stopped = filter_text(FILTER, f"{before} {word} and more", sizes)
    assert stopped
    # The shown text ends before the word, or before an earlier one that `before` contains.
    assert f"{before} ".startswith(text)


@given(st.text(max_size=60), CUTS)
def test_text_without_listed_words_is_unchanged(text: str, sizes: list[int]) -> None:
    rest, stopped = filter_text(ContentFilter(["qqzzqq"]), text, sizes)
    assert (rest, stopped) == (text, False)


@given(st.text(ALPHABET + "0$AR½", max_size=24), CUTS)
def test_the_prefix_check_does_not_change_the_result(text: str, sizes: list[int]) -> None:
    """The first three letters exclude most words; here every word is compared to its end."""
    expected = filter_text(FILTER, text, sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content_filter, "PREFIX_LENGTH", 0)
        assert filter_text(FILTER, text, sizes) == expected


@given(st.text("ab ", max_size=14), CUTS, st.lists(st.text("ab ", min_size=2, max_size=4), min_size=1))
def test_result_equals_a_plain_search(text: str, sizes: list[int], listed: list[str]) -> None:
    """Compare with the definition, for texts in which no letter is repeated three times."""
    listed = [word for word in (" ".join(word.split()) for word in listed) if len(word.replace(" ", "")) > 1]
    spaced = " ".join(text.split())
    if not listed or any(letter * 3 in word for letter in "ab" for word in [spaced, *listed]):
        return
    ends = [
        (end, start)
        for start in range(len(spaced) + 1)
        for end in range(start, len(spaced) + 1)
        if spaced[start:end] in listed and f" {spaced} "[start] == " " and f" {spaced} "[end + 1] == " "
    ]
    expected = spaced[: min(ends)[1]] if ends else spaced
    assert filter_text(ContentFilter(listed), spaced, sizes) == (expected, bool(ends))


def test_text_is_held_back_until_it_is_a_different_word() -> None:
    matcher = FILTER.watch()
    assert [matcher.push(part) for part in ("the ", "da", "r", "n", "ing")] == ["the ", "", "", "", "darning"]
    assert [matcher.push(part) for part in (" da", "rn", " ", "more")] == [" ", "", "", ""]
    assert matcher.stopped
    assert matcher.flush() == ""


def test_the_end_of_the_text_ends_a_word() -> None:
    matcher = FILTER.watch()
    assert matcher.push("oh darn") == "oh "
    assert not matcher.stopped
    assert (matcher.flush(), matcher.stopped) == ("", True)
    assert filter_text(FILTER, "oh dar") == ("oh dar", False)  # not a listed word, and nothing follows


@pytest.mark.parametrize(
    ("prompt", "text", "rest"),
    [
        ("Oh da", "rn it", ""),  # starts in the prompt, ends in the text: no part is shown
        ("a son of", " a gun", ""),
        ("da", "ta and darn", "ta and "),
        ("un", "darn", None),  # the word is "undarn"
        ("darn", " you", None),  # the user's own text
        ("a blast", "ing cap", None),
        ("oh darn", "", None),
        ("darn ", "darn", ""),
        ("ha" * PROMPT_TAIL_SYMBOLS, "darn", None),
        ("ha " * PROMPT_TAIL_SYMBOLS + "da", "rn", ""),
        ("daa", "arn", ""),
        ("daa", "rn", None),
    ],
)
def test_a_word_may_start_in_the_prompt(prompt: str, text: str, rest: str | None) -> None:
    expected = (text, False) if rest is None else (rest, True)
    assert filter_text(FILTER, text, prompt=prompt) == expected
    assert filter_text(FILTER, text, [1] * len(text), prompt=prompt) == expected


def test_every_character_has_valid_symbols() -> None:
    """No character raises an error, and both normal forms of a character have the same symbols."""
    for number in range(0x110000):
        char = chr(number)
        found = content_filter._to_symbols.__wrapped__(char)
        assert all(symbol[:1] in content_filter.SEPARATORS or len(symbol) == 1 for symbol in found)
    assert content_filter._to_symbols("é") == content_filter._to_symbols("É") == ("e",)
    assert content_filter._to_symbols("ﬁ") == ("f", "i")
    assert content_filter._to_symbols.cache_info().currsize <= content_filter.SYMBOL_CACHE_SIZE


def test_the_cost_of_a_text_is_bounded() -> None:
    """For any length of the text, there are never more partial matches than the patterns are long."""
    content_filter = ContentFilter(["a a a a a a a a b", "aiaiaiaiaiaiai", "llx"])
    for text in ("a " * 5000, "1" * 5000, "a1" * 5000, "\u0301" * 5000):
        matcher = content_filter.watch()
        for char in text:
            matcher.push(char)
            assert len(matcher._partial_matches) + len(matcher._unrepeated_matches) <= 40
        matcher.flush()


# --- the default list ---


@pytest.mark.parametrize("pattern", SHIPPED_FILTER.patterns)
def test_every_pattern_of_the_default_list_is_found(pattern: str) -> None:
    word = pattern.replace("*", "")
    for spelling in (word, word.upper(), f"{word.title()}!", word.replace("o", "0").replace("i", "1")):
        assert filter_text(SHIPPED_FILTER, f"So: {spelling}", [1] * 60) == ("So: ", True)


INNOCENT = (
    """
Scunthorpe Penistone Clitheroe Lightwater Essex Sussex Middlesex Arsenal Cockburn Hitchcock Dickens Dickinson
assassin assess class classic bass passion mass assume cocktail peacock cockpit shuttlecock woodcock cockroach
analysis canal banal therapist grape drape parapet scrap scrape cumulative document circumstance cucumber
shiitake Shittim mishit pushit snigger niggle niggardly Niger Nigeria Montenegro denigrate Wankel swank
swanky twatted Dikembe spicy spice conspicuous auspicious raccoon cocoon tycoon buffoon chink chinking retard
ritardando pussycat pussyfoot title titan Titicaca button butter buttress butte whored horehound
pornography kikimora Kikuyu pakistan Pakistani beans beanery slutch bitchumen sexton sextet sexual unisex
año años ano coñac cañón cono conos puntual punta disputa disputas reputa imputado diputado computadora
putativo putrefacto Maputo Caputo ruta fruta bruta cabra cabro cabrito cabritilla follaje folleto follón
polla pollo pollera verga vergüenza vergel culo cultura artículo Marica Maricarmen marisco mariscal amaricado
jodhpur mierdero pendejada pincho pinche chingolo Chinguetti hijo hija putter penne pene
concha conchita conchas madre mamá mamar mamón zorra zorro perra ramera gonorrea moro negro negra negrito
""".replace("porno-gráfico", "")
    .replace("joderse-no", "")
    .replace("puto-no", "")
)


def test_innocent_words_pass() -> None:
    for word in INNOCENT.split():
        assert filter_text(SHIPPED_FILTER, word) == (word, False)
        assert filter_text(SHIPPED_FILTER, f"{word.upper()} {word}.") == (f"{word.upper()} {word}.", False)
    text = (
        "He lifted Jack off the ground; a second hand job. The son of a king was in Spain, para todo el año."
    )
    assert filter_text(SHIPPED_FILTER, text) == (text, False)


def test_the_phrasebook_passes() -> None:
    """The default model is trained on the phrasebook."""
    phrasebook = LIST_FILE.parents[2] / "corpus" / "data" / "phrasebook"
    files = [*phrasebook.rglob("*.txt")]
    assert len(files) > 5
    for file in files:
        text = file.read_text("utf-8")
        assert filter_text(SHIPPED_FILTER, text) == (text, False), file


def test_the_default_list_documents_itself() -> None:
    head = LIST_FILE.read_text("utf-8").partition("\n[en]")[0]
    assert "--no-filter" in head
    assert all(line.startswith("#") for line in head.split("\n") if line)


# --- custom lists ---


def test_a_custom_list(tmp_path: Path) -> None:
    file = tmp_path / "custom.txt"
    file.write_text("\ufeff# custom\n\n[en]\r\ndarn  # mild\nblast*\r\nson   of a-gun\n[es]\ncoña\n", "utf-8")
    content_filter = ContentFilter.load(file)
    assert content_filter.patterns == ("darn", "blast*", "son   of a-gun", "coña")
    assert filter_text(content_filter, "a son of a gun") == ("a ", True)


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"darn\nd4rn\n", 2, "'4' is not a letter"),
        (b"darn\n\nda.*rn\n", 3, "'.' is not a letter"),
        (b"*darn\n", 1, "'*' is not a letter"),
        (b"(a+)+$\n", 1, "'(' is not a letter"),
        (b"don't\n", 1, "is not a letter"),
        (b"darn\nd\xffrn\n", 2, "is not UTF-8"),
        (b"x\n", 1, "has 1 letters, at least 2 are required"),
        (b"*\n", 1, "has 0 letters, at least 3 are required"),
        (b"da*\n", 1, "has 2 letters, at least 3 are required"),
        ("\u200b\n".encode(), 1, "has 0 letters"),
        (b"a" * 101, 1, "101 characters"),
        (b"xxx\n", 1, "repeated three times"),
    ],
)
def test_an_invalid_list_names_its_line(content: bytes, line: int, message: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.txt"
    file.write_bytes(content)
    with pytest.raises(FilterError) as caught:
        ContentFilter.load(file)
    assert caught.value.message.startswith(f"{file}, line {line}")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"# none\n[en]\n", "has no words"), (b"a\n" * 600_000, "bytes")],
)
def test_a_list_without_words(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.txt"
    file.write_bytes(content)
    with pytest.raises(FilterError, match=message):
        ContentFilter.load(file)
    with pytest.raises(FilterError, match="does not exist"):
        ContentFilter.load(tmp_path / "none.txt")
    with pytest.raises(FilterError, match="is a folder"):
        ContentFilter.load(tmp_path)


# --- during generation ---

PROMPT = "The captain lost"
GREEDY = SamplingConfig(temperature=0)


@pytest.fixture(scope="module")
def generator(micro_bundle: Path) -> Generator:
    return Generator.load(micro_bundle)


@pytest.fixture(scope="module")
def text(generator: Generator) -> str:
    """Text generated without a filter."""
    return generator.generate(PROMPT, max_tokens=30, sampling=GREEDY, ignore_eos=True).text


def test_generation_ends_before_the_listed_word(generator: Generator, text: str) -> None:
    word = max(text.split(), key=len)
    content_filter = ContentFilter([word])
    pieces = list(
        generator.stream(
            PROMPT, max_tokens=30, sampling=GREEDY, ignore_eos=True, content_filter=content_filter
        )
    )
    before = text[: text.index(word)]
    assert "".join(piece.text for piece in pieces) == before
    assert [piece.finish_reason for piece in pieces] == [None] * (len(pieces) - 1) + ["content_filter"]
    assert len(pieces) < 30  # no token was computed after the word was complete
    assert pieces[-1].timings is not None
    completion = generator.generate(
        PROMPT, max_tokens=30, sampling=GREEDY, ignore_eos=True, content_filter=content_filter
    )
    assert (completion.text, completion.finish_reason) == (before, "content_filter")


def test_generation_without_a_listed_word_is_unchanged(generator: Generator, text: str) -> None:
    completion = generator.generate(
        PROMPT, max_tokens=30, sampling=GREEDY, ignore_eos=True, content_filter=SHIPPED_FILTER
    )
    assert (completion.text, completion.finish_reason) == (text, "length")


def test_the_last_word_is_filtered_too(generator: Generator, text: str) -> None:
    """It is held back until the end of the text, where it is complete."""
    last = text.split()[-1]
    assert len(last) > 1
    content_filter = ContentFilter([last])
    completion = generator.generate(
        PROMPT, max_tokens=30, sampling=GREEDY, ignore_eos=True, content_filter=content_filter
    )
    assert completion.finish_reason == "content_filter"
    assert text.startswith(completion.text)


def test_a_stop_string_before_the_listed_word_is_a_stop(generator: Generator, text: str) -> None:
    first, second, third = text.split()[:3]
    content_filter = ContentFilter([third])
    completion = generator.generate(
        PROMPT, max_tokens=30, sampling=GREEDY, ignore_eos=True, stop=[second], content_filter=content_filter
    )
    assert (completion.text.strip(), completion.finish_reason) == (first, "stop")


def run_tinyedge(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tinyedge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("padding", ["\u200b", "\u0301", "a", "\u3164"])
def test_padding_does_not_hide_a_word_that_starts_in_the_prompt(padding: str) -> None:
    matcher = ContentFilter(["blanket"]).watch("bl" + padding * 300)
    shown = matcher.push("nket more" if padding == "a" else "anket more") + matcher.flush()
    assert (matcher.stopped, shown) == (True, "")


@pytest.mark.parametrize(
    "spelled", ["ⓑⓛⓐⓝⓚⓔⓣ", "blan\u3164ket", "blan\uffa0ket", "blan\u2065ket", "blan\u2800ket"]
)
def test_other_forms_of_a_letter_and_invisible_characters(spelled: str) -> None:
    matcher = ContentFilter(["blanket"]).watch()
    assert matcher.push(f"a {spelled} b") + matcher.flush() == "a "
    assert matcher.stopped


def test_first_names_are_not_on_the_list() -> None:
    for text in ("Mi amigo Kike vive en Madrid. ", "La tía Paki llegó tarde. "):
        matcher = SHIPPED_FILTER.watch()
        assert matcher.push(text) + matcher.flush() == text


def test_generate_filters_by_default(micro_bundle: Path, text: str, tmp_path: Path) -> None:
    word = max(text.split(), key=len)
    list_file = tmp_path / "custom.txt"
    list_file.write_text(word)
    command = ("generate", micro_bundle, "--prompt", PROMPT, "--temperature", 0)
    custom = run_tinyedge(*command, "--filter", list_file)
    assert custom.stdout == PROMPT + text[: text.index(word)] + "\n"
    assert custom.stderr.startswith("note: the text ends before a word on the filter's list")
    assert (
        '"finish_reason": "content_filter"' in run_tinyedge(*command, "--filter", list_file, "--json").stdout
    )
    assert word in run_tinyedge(*command, "--no-filter").stdout
    both = run_tinyedge(*command, "--no-filter", "--filter", list_file)
    assert (both.returncode, both.stderr.splitlines()[0]) == (
        2,
        "error: --no-filter and --filter are mutually exclusive",
    )
    list_file.write_text("1\n")
    invalid = run_tinyedge(*command, "--filter", list_file)
    assert (invalid.returncode, invalid.stdout) == (1, "")
    assert invalid.stderr.startswith(f"error: {list_file}, line 1: ")


def test_the_largest_list_needs_little_memory() -> None:
    letters = (
        "".join(pair) for pair in itertools.product("abcdefghi", "jklmnopqr", "stuvwxyz", "abcdefghij")
    )
    lines = [(word + "x" + word[::-1]) * 11 for word in letters]  # 99 letters each
    assert sum(map(len, lines)) > 600_000
    tracemalloc.start()
    try:
        words = ContentFilter(lines)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()
    for length in (1, 3, 4, 50, 99):
        assert words.is_prefix(lines[77][:length])
    assert not words.is_prefix(lines[77] + "x")
    assert not words.is_prefix(lines[77][:98] + "z")
