"""Exports of chats: a message a line, without dates, names, notices and omitted media."""

import json
from pathlib import Path

import pytest

from tests.support.formats import read_file
from tinyedge.core.errors import CorpusError

ANDROID = """12/31/23, 9:41\u202fPM - Messages and calls are end-to-end encrypted. Tap to learn more.
12/31/23, 9:41\u202fPM - Ana created group "Trip"
12/31/23, 9:41\u202fPM - Ana changed the group name from "Old: trip" to "Trip"
12/31/23, 9:42\u202fPM - Ana: Hello Bob: how are you?
12/31/23, 9:43\u202fPM - Bob: <Media omitted>
12/31/23, 9:43\u202fPM - Bob: I am well.
And my cat too.
1/1/24, 9:44\u202fAM - +49 170 123: This message was deleted
1/1/24, 9:44\u202fAM - Bob: See you <This message was edited>
1/1/24, 9:45\u202fAM - Bob: \u200eIMG-2023.jpg (file attached)
The harbour at noon
1/1/24, 9:46\u202fAM - Ana left
"""
IOS = """\ufeff[31.12.23, 21:41:05] Trip: \u200eNachrichten und Anrufe sind Ende-zu-Ende-verschlüsselt.
[31.12.23, 21:41:06] Ana: Hallo Bob
\u200e[31.12.23, 21:41:07] Bob: \u200eBild weggelassen
[31.12.23, 21:41:08] \u202a+49 170\u202c: Gut \u200e<Diese Nachricht wurde bearbeitet.>
[31.12.23, 21:41:09] Bob: \u200eVideoanruf verpasst
"""
SPANISH = """31/12/23 21:41 - Los mensajes y las llamadas están cifrados de extremo a extremo.
31/12/23 9:41 p.\u00a0m. - Ana: Hola, ¿qué tal?
31/12/23 9:42 p. m. - Luis: <Multimedia omitido>
31/12/23 9:42 p. m. - Luis: Eliminaste este mensaje.
31/12/23 9:43 p. m. - Luis: Muy bien.
"""
CHINESE = "[2023/12/31 下午9:41:05] 小明: 你好！\n[2023/12/31 下午9:41:09] 小红: 你好吗？\n"


@pytest.mark.parametrize(
    ("export", "messages", "counts"),
    [
        (
            ANDROID,
            ["Hello Bob: how are you?", "I am well.", "And my cat too.", "See you", "The harbour at noon"],
            {"messages": 4, "notices": 5, "omitted_media": 2, "edit_marks": 1},
        ),
        (IOS, ["Hallo Bob", "Gut"], {"messages": 2, "notices": 3, "edit_marks": 1}),
        (SPANISH, ["Hola, ¿qué tal?", "Muy bien."], {"messages": 2, "notices": 2, "omitted_media": 1}),
        (CHINESE, ["你好！", "你好吗？"], {"messages": 2}),
    ],
)
def test_whatsapp(tmp_path: Path, export: str, messages: list[str], counts: dict[str, int]) -> None:
    assert read_file(tmp_path / "chat.txt", export) == (messages, counts)


@pytest.mark.parametrize(
    "head",
    [
        "[12/31/23, 9:41:05\u202fPM] ",
        "31/12/2023 à 21:41 - ",
        "31-12-2023 21:41 - ",
        "31.12.23 kl. 21:41 - ",
        "\u200f٣١\u200f/١٢\u200f/٢٠٢٣، ٩:٤١ م - ",
        "2023. 12. 31. 오후 9:41 - ",
        "[31.12.2023 klo 21.41.05] ",
        "31/12/23, 21:41:05: ",
    ],
)
def test_dates_of_many_countries(tmp_path: Path, head: str) -> None:
    assert read_file(tmp_path / "a.txt", f"{head}Ana: Hello\n{head}Bob: Bye\n")[0] == ["Hello", "Bye"]


def test_a_diary_with_dates_is_not_a_chat(tmp_path: Path) -> None:
    diary = "2023-01-02, 10:30 - went to the sea\n2023-01-03, 11:00 - came back\n"
    assert read_file(tmp_path / "a.txt", diary) == (diary.splitlines(), {})


TELEGRAM = {
    "name": "x",
    "messages": [
        {"type": "service", "action": "create_group", "text": ""},
        {"type": "message", "date": "2020", "from": "A", "text": "Hello there"},
        {"type": "message", "text": ["see ", {"type": "link", "text": "http://x.org"}, " ok"]},
        {"type": "message", "photo": "x.jpg", "text": ""},
    ],
}
MESSENGER = {
    "messages": [
        {"sender_name": "A", "timestamp_ms": 2, "content": "caf\u00c3\u00a9 later"},
        {"sender_name": "A", "timestamp_ms": 1, "content": "first"},
        {"sender_name": "A", "timestamp_ms": 0, "photos": []},
    ]
}
DISCORD = {
    "guild": {},
    "messages": [
        {"type": "Default", "content": "hey"},
        {"type": "GuildMemberJoin", "content": "Joined the server."},
        {"type": "Reply", "content": "hi"},
    ],
}


@pytest.mark.parametrize(
    ("export", "messages"),
    [
        (TELEGRAM, ["Hello there", "see http://x.org ok"]),
        ({"chats": {"list": [TELEGRAM]}}, ["Hello there", "see http://x.org ok"]),
        (MESSENGER, ["first", "café later"]),
        (DISCORD, ["hey", "hi"]),
        ([{"messages": [{"role": "user", "content": "Hi"}]}], ["Hi"]),
        ([{"text": "One."}, {"text": "Two."}], ["One.", "Two."]),
    ],
)
def test_json(tmp_path: Path, export: object, messages: list[str]) -> None:
    assert read_file(tmp_path / "result.json", json.dumps(export))[0] == messages


def test_other_json_is_refused(tmp_path: Path) -> None:
    for content in ('{"name": "x"}', "[1]", "{", "[" * 100_000):
        with pytest.raises(CorpusError, match=r"package\.json"):
            read_file(tmp_path / "package.json", content)


def test_half_characters_are_dropped_and_counted(tmp_path: Path) -> None:
    lines, entry = read_file(tmp_path / "a.json", '[{"role": "user", "content": "A half\\udc80 here."}]')
    assert lines == ["A half here."]
    assert entry["half_characters"] == 1
