"""Encodings that are found, and what becomes of bytes that are invalid."""

import gzip
import sys
from pathlib import Path

import pytest

from tinyedge.core.errors import CorpusError, MissingDependencyError
from tinyedge.corpus import encoding
from tinyedge.corpus.encoding import detect_encoding, read_lines
from tinyedge.corpus.read_notes import ReadLog, ReadNotes, describe_reading
from tinyedge.corpus.reader import read_documents

TEXTS = {
    "en": "“Don’t go,” she said — “it’s late.” The café cost €5… He left, and nobody knew where.",
    "es": "El niño bajó hasta el río. ¿Qué haces ahí?, preguntó la señora; nada, respondió él.",
    "de": "Der Bär läuft über die Straße. Die Mädchen hörten das Geräusch und gingen zurück nach Hause.",
    "fr": "L'été dernier, nous étions à la plage où les élèves français ont mangé des gâteaux, dit-il.",
    "pl": "Zażółć gęślą jaźń. Chłopiec poszedł do szkoły, ponieważ chciał się uczyć języka polskiego.",
    "ru": "Мальчик пошёл в школу, потому что хотел учиться. Было уже поздно, и он вернулся домой через лес.",
    "el": "Το αγόρι πήγε στο σχολείο γιατί ήθελε να μάθει. Ήταν ήδη αργά και γύρισε στο σπίτι του.",
    "ja": "少年は学校へ行きました。なぜなら勉強したかったからです。もう遅かったので、家に帰りました。",
    "zh": "男孩去了学校，因为他想学习。天已经很晚了，他就回家了。他的母亲正在等他吃饭。",
}


def read(path: Path, data: bytes) -> tuple[list[str], str]:
    """Return the sentences of a file with these bytes, and its encoding."""
    path.write_bytes(data)
    log = ReadLog()
    sentences = [sentence for document in read_documents([path], log=log) for sentence in document.sentences]
    return sentences, log.files[0].encoding


@pytest.mark.parametrize(
    ("language", "name"),
    [
        *(("en", "cp1252"), ("es", "cp1252"), ("de", "cp1252"), ("fr", "cp1252"), ("fr", "latin-1")),
        *(("es", "mac_roman"), ("es", "cp850"), ("de", "cp437"), ("fr", "cp850"), ("pl", "cp1250")),
        *(("pl", "iso8859-2"), ("ru", "cp1251"), ("ru", "koi8-r"), ("ru", "cp866"), ("el", "cp1253")),
        *(("ja", "shift_jis"), ("ja", "euc_jp"), ("zh", "gb18030"), ("zh", "big5")),
    ],
)
@pytest.mark.parametrize("repeats", [1, 20])
def test_old_encodings_are_found(tmp_path: Path, language: str, name: str, repeats: int) -> None:
    data = (f"{TEXTS[language]}\n" * repeats).encode(name, "ignore")
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    assert data.decode(detect_encoding(path).name) == data.decode(name)


@pytest.mark.parametrize("text", ["José", "It’s late.", "año", "The price is £5.", "10°C outside", "€ 12"])
def test_little_text_is_windows_1252(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / "a.txt", text.encode("cp1252")) == ([text], "windows-1252")


def test_quotes_dashes_and_the_euro_sign_of_windows_1252_survive(tmp_path: Path) -> None:
    sentence = "She said: “I don’t think it’s far… perhaps a mile” — and it cost €12."
    assert read(tmp_path / "a.txt", f"{sentence}\r\n".encode("cp1252") * 9)[0] == [sentence] * 9


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [TEXTS["es"], f"{TEXTS['zh']}\n"])
def test_utf_16_without_a_mark_is_read(tmp_path: Path, name: str, text: str) -> None:
    sentences, found = read(tmp_path / "a.txt", text.encode(name))
    assert "".join(sentences).replace(" ", "") == text.strip().replace(" ", "")
    assert found == name


@pytest.mark.parametrize("name", ["utf-8-sig", "utf-16", "utf-32"])
def test_marked_encodings_are_read(tmp_path: Path, name: str) -> None:
    assert read(tmp_path / "a.txt", "Año nuevo.".encode(name))[0] == ["Año nuevo."]


def test_a_few_damaged_bytes_in_utf_8_are_read_as_windows_1252_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("señor ".encode() * 40 + b"don\x92t.\n" + "mañana ma".encode() + "ñ".encode()[:1])
    log = ReadLog()
    sentences = [s for document in read_documents([path], log=log) for s in document.sentences]
    assert sentences[0].endswith("don’t.")
    assert sentences[1] == "mañana maÃ"
    assert (log.files[0].encoding, log.files[0].counts["invalid_bytes"]) == ("utf-8", 2)


def test_zeros_at_the_end_of_a_file_are_no_text(tmp_path: Path) -> None:
    """A power cut leaves them."""
    assert read(tmp_path / "a.txt", b"It was late.\n" + bytes(5_000)) == (["It was late."], "utf-8")


def test_a_file_in_an_old_encoding_needs_chardet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chardet", None)
    (tmp_path / "a.txt").write_text("Año.", "utf-8")
    (tmp_path / "b.txt").write_text("Año.", "latin-1")
    with pytest.raises(MissingDependencyError) as caught:
        list(read_documents([tmp_path / "b.txt"]))
    assert "documents" in caught.value.hint
    log = ReadLog()
    assert len(list(read_documents([tmp_path], log=log))) == 1
    assert log.skipped[0]["extra"] == "documents"


def test_an_invalid_byte_is_reported_where_only_utf_8_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"a" * encoding.CHUNK_BYTES + b"\xff"))
    with pytest.raises(CorpusError, match="invalid byte at byte 65536 of the decompressed text"):
        list(read_lines(path, ReadNotes(path), "utf-8"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n", "\u2028"])
def test_all_line_breaks_are_found_at_all_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(encoding, "CHUNK_BYTES", 5)
    path = tmp_path / "a.txt"
    path.write_bytes(end.join(["One", "two", "", "three", ""]).encode())
    assert list(read_lines(path, ReadNotes(path))) == ["One", "two", "", "three", ""]


FRENCH = "L'été dernier, nous avons visité la forêt près du château."
RUSSIAN = "Мальчик пошёл в школу, потому что хотел учиться. Явный."
TURKISH = "Şimdi ığdır güneşli. Çocuk okula gitti çünkü öğrenmek istiyordu. İstanbul çok güzel."
ICELANDIC = "Það er fallegur dagur í dag og ég ætla að fara út með vinum mínum. Þýðing á íslensku."


def read_with_notes(path: Path, data: bytes) -> tuple[list[str], ReadNotes]:
    """Return the lines of a file with these bytes that are not blank, and its notes."""
    path.write_bytes(data)
    notes = ReadNotes(path)
    return [line for line in read_lines(path, notes) if line], notes


@pytest.mark.parametrize("chunk_bytes", [7, 1 << 16])
@pytest.mark.parametrize(
    ("line", "name"),
    [
        *((FRENCH, "cp1252"), (FRENCH, "mac-roman"), (FRENCH, "cp850")),
        *((RUSSIAN, "cp1251"), (RUSSIAN, "koi8-r"), (RUSSIAN, "cp866")),
    ],
)
def test_lines_in_another_encoding_are_read_in_it_and_the_others_as_utf_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, name: str, chunk_bytes: int
) -> None:
    monkeypatch.setattr(encoding, "CHUNK_BYTES", chunk_bytes)
    text = f"{line}\n\n"
    lines, notes = read_with_notes(tmp_path / "a.txt", text.encode() * 20 + text.encode(name) * 5)
    assert lines == [line] * 25
    assert (notes.encoding, notes.counts["lines_in_other_encoding"]) == ("utf-8", 5)


@pytest.mark.parametrize(
    ("line", "name"), [("l’état", "mac_roman"), ("FIANCÉ…", "cp1252"), ("猫", "euc_jp"), ("水", "gb18030")]
)
def test_lines_that_are_valid_utf_8_by_chance_stay_in_the_encoding_of_the_others(
    tmp_path: Path, line: str, name: str
) -> None:
    line.encode(name).decode("utf-8")
    other = {"euc_jp": TEXTS["ja"], "gb18030": TEXTS["zh"]}.get(name, FRENCH)
    lines, _ = read_with_notes(tmp_path / "a.txt", f"{other}\n{line}\n".encode(name) * 9)
    assert lines == [other, line] * 9


@pytest.mark.parametrize("name", ["cp932", "euc_jp", "mac_roman"])
def test_a_line_of_utf_8_in_a_file_in_an_old_encoding_is_read(tmp_path: Path, name: str) -> None:
    line = FRENCH if name == "mac_roman" else TEXTS["ja"]
    data = f"{line}\n".encode(name) * 20 + f"{line}\n".encode()
    assert read_with_notes(tmp_path / "a.txt", data)[0] == [line] * 21


def test_mac_cyrillic_is_found_by_its_capitals(tmp_path: Path) -> None:
    line = "Момчето отиде на училище, защото искаше да учи."
    assert read_with_notes(tmp_path / "a.txt", line.encode("mac_cyrillic"))[0] == [line]


def test_the_summary_names_lines_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(f"{FRENCH}\n".encode() * 2 + f"{FRENCH}\n".encode("cp1252") * 50)
    log = ReadLog()
    list(read_documents([path], log=log))
    assert f"  {path}: read as utf-8, and 50 lines read as windows-1252" in list(
        describe_reading(log.to_json())
    )


def test_a_line_of_utf_8_with_damaged_bytes_stays_utf_8(tmp_path: Path) -> None:
    lines, notes = read_with_notes(
        tmp_path / "a.txt", f"{FRENCH} ".encode() * 20 + "é ".encode("cp1252") * 20
    )
    assert lines[0].startswith(FRENCH)
    assert notes.encoding == "utf-8"


def test_surrogates_written_one_by_one_are_one_character(tmp_path: Path) -> None:
    data = b"caf\xc3\xa9 \xed\xa0\xbd\xed\xb8\x80\ncaf\xc3\xa9 \xed\xa0\xbd ends\n"
    assert read(tmp_path / "a.txt", data) == (["café 😀", "café ends"], "utf-8")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        *((TURKISH, "cp1254"), ("Şimdi ığdır", "cp1254"), (ICELANDIC, "cp1252"), (RUSSIAN, "mac-cyrillic")),
        *(
            (f"{word} and tea.", name)
            for word in ("A café", "A résumé")
            for name in ("cp437", "cp850", "cp1252")
        ),
    ],
)
@pytest.mark.parametrize("repeats", [1, 20])
def test_letters_in_words_decide_between_encodings(
    tmp_path: Path, line: str, name: str, repeats: int
) -> None:
    data = b"A plain line of English.\n" * 9 * line.endswith("tea.") + f"{line}\n".encode(name) * repeats
    lines, notes = read_with_notes(tmp_path / "a.txt", data)
    assert [found for found in lines if "plain" not in found] == [line] * repeats
    assert not notes.counts["uncertain_encodings"]


def test_a_sign_that_could_be_anything_is_windows_1252_and_reported(tmp_path: Path) -> None:
    lines, notes = read_with_notes(tmp_path / "a.txt", "1 ½ 2".encode("cp1252"))
    assert lines == ["1 ½ 2"]
    assert (notes.encoding, notes.counts["uncertain_encodings"]) == ("windows-1252", 1)


@pytest.mark.parametrize("chunk_bytes", [5, 1 << 16])
@pytest.mark.parametrize(
    ("line", "name"),
    [
        *((TEXTS["ja"], "iso2022_jp"), ("안녕하세요 세계", "iso2022_kr"), (TEXTS["zh"], "hz")),
        *((FRENCH, "utf-7"), (TEXTS["ja"], "utf-7")),
        *(
            ("The old man said nothing and looked at the sea.", "cp037"),
            ("Eine schöne süße Stadt in Österreich", "cp273"),
        ),
    ],
)
def test_seven_bit_encodings_and_ebcdic_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, name: str, chunk_bytes: int
) -> None:
    monkeypatch.setattr(encoding, "CHUNK_BYTES", chunk_bytes)
    lines, notes = read_with_notes(tmp_path / "a.txt", f"{line}\n".encode(name) * 3)
    assert (lines, notes.encoding) == ([line] * 3, name)


def test_the_line_break_of_ebcdic_ends_a_line(tmp_path: Path) -> None:
    data = "THE OLD MAN.\x85".encode("cp037") * 9
    assert read_with_notes(tmp_path / "a.txt", data)[0] == ["THE OLD MAN."] * 9


@pytest.mark.parametrize(
    "text",
    ["a+b- C++- +123- +foo- +bar- 1+1=2 +1-555-1234", "~{name~} ~{a~} ~{size~} ~{value~}", "@@@@@@@@@@@@"],
)
def test_signs_in_ascii_are_no_other_encoding(tmp_path: Path, text: str) -> None:
    lines, notes = read_with_notes(tmp_path / "a.txt", f"{text}\n".encode() * 9)
    assert (lines, notes.encoding) == ([text] * 9, "utf-8")
