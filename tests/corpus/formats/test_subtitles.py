"""Subtitles: what is said, without numbers, times and tags."""

from pathlib import Path

import pytest

from tests.support.formats import read_file

SRT = """1
00:00:01,000 --> 00:00:04,000
<i>I went to the</i>
old

2
00:00:05,000 --> 00:00:06,000 X1:100 X2:200
shop yesterday.

3
00:00:07,000 --> 00:00:08,000
{\\an8}- Hi there.
- Hello. 5 > 3

4
00:00:09,000 --> 00:00:10,000
1984

was a year.
5
00:00:11,000 --> 00:00:12,000
No blank line before.
"""
VTT = """WEBVTT - title
Kind: captions

NOTE a comment
more of it

STYLE
::cue { color: red }

introduction
00:01.000 --> 00:04.000 align:start position:0%
<v Roger>Never drink <c.yellow>liquid</c> nitrogen.

00:04.000 --> 00:05.000
&lt;It&gt; will

00:05.000 --> 00:06.000
&lt;It&gt; will
burn<00:05.500> your stomach.
"""


def test_subrip(tmp_path: Path) -> None:
    lines, entry = read_file(tmp_path / "a.srt", SRT.replace("\n", "\r\n"))
    assert lines == [
        "I went to the old shop yesterday.",
        "Hi there.",
        "Hello. 5 > 3",
        "1984 was a year.",
        "No blank line before.",
    ]
    assert entry == {"cues": 5}


def test_webvtt_with_rolling_captions(tmp_path: Path) -> None:
    lines, entry = read_file(tmp_path / "a.vtt", VTT)
    assert lines == ["Never drink liquid nitrogen.", "<It> will burn your stomach."]
    assert entry == {"cues": 3, "repeated_lines": 1}


def test_text_without_times_is_not_lost(tmp_path: Path) -> None:
    assert read_file(tmp_path / "a.srt", "Only\ntext.\n")[0] == ["Only text."]


def make_cues(*cues: str, gap: int = 1) -> str:
    """Return cues of one second each, with a gap in seconds between them."""
    starts = range(0, 60, gap + 1)
    return "".join(
        f"00:00:{start:02d},000 --> 00:00:{start + 1:02d},000\n{cue}\n\n"
        for start, cue in zip(starts, cues, strict=False)
    )


@pytest.mark.parametrize(
    ("cues", "lines"),
    [
        (("I met Mrs.", "Wilson in", "London today."), ["I met Mrs. Wilson in London today."]),
        (("Put it in the pigeon-", "hole there."), ["Put it in the pigeon-hole there."]),
        (("An exam-", "ple here.", "An example."), ["An example here.", "An example."]),
        (("I thought I-", "What?"), ["I thought I-", "What?"]),
        (("He left.", "Wilson came."), ["He left.", "Wilson came."]),
        (
            ("I want to say", "- No.", "- Yes, but", "that is it."),
            ["I want to say", "No.", "Yes, but that is it."],
        ),
        (("I went to", "[door creaks]", "Spain.", "(music)", "♪ ♪"), ["I went to Spain."]),
        (("“Go,”", "he said."), ["“Go,” he said."]),
        (("(I knew it.)", "Yes."), ["(I knew it.)", "Yes."]),
        (("♪ La la la", "♪ La la"), ["♪ La la la", "♪ La la"]),
    ],
)
def test_a_sentence_over_several_cues(tmp_path: Path, cues: tuple[str, ...], lines: list[str]) -> None:
    found, entry = read_file(tmp_path / "a.srt", make_cues(*cues))
    assert found == lines
    assert entry["cues"] == len(cues)


def test_descriptions_of_sounds_are_counted(tmp_path: Path) -> None:
    lines, entry = read_file(tmp_path / "a.srt", make_cues("[door creaks\nslowly]", "<i>(music)</i>", "Hi."))
    assert lines == ["Hi."]
    assert entry == {"cues": 3, "sounds": 2}


def test_a_long_pause_ends_a_sentence(tmp_path: Path) -> None:
    assert read_file(tmp_path / "a.srt", make_cues("I went", "to London", gap=5))[0] == [
        "I went",
        "to London",
    ]


def test_scripts_without_spaces_are_joined_without_one(tmp_path: Path) -> None:
    cues = (
        "1\n00:00:01,000 --> 00:00:02,000\n我们昨天\n在学校\n\n2\n00:00:02,500 --> 00:00:03,000\n见面了。\n"
    )
    assert read_file(tmp_path / "a.srt", cues)[0] == ["我们昨天在学校见面了。"]


def test_a_word_that_a_line_of_a_cue_cuts_is_joined(tmp_path: Path) -> None:
    cue = "1\n00:00:01,000 --> 00:00:02,000\nHe put it in the pigeon-\nhole.\n"
    lines, entry = read_file(tmp_path / "a.srt", cue)
    assert lines == ["He put it in the pigeon-hole."]
    assert entry["words_joined"] == 1
