"""Pairs of a prompt and a completion: which files hold them, and what becomes of their records."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.build import CORPUS_NAME, CorpusRequest, has_pairs, prepare_corpus
from tinyedge.corpus.corpus_file import read_corpus_documents
from tinyedge.corpus.find_files import InputFile
from tinyedge.corpus.pairs import is_pair_file, read_conversations, read_pairs
from tinyedge.corpus.read_notes import ReadLog
from tinyedge.corpus.read_settings import ReadSettings
from tinyedge.corpus.split import draw_split

PAIR = {"prompt": "Turn on the lamp.", "completion": '{"on": "lamp"}'}


def write_records(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def read_all(path: Path, strict: bool = False) -> tuple[list[tuple[str, ...]], list[dict[str, Any]]]:
    log = ReadLog()
    documents = list(read_pairs([InputFile(path, True)], log, strict))
    return [document.sentences for document in documents], log.files[0].invalid_records


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.jsonl", json.dumps(PAIR), True),
        ("a.jsonl", '{"id": 1}\n' + json.dumps(PAIR), True),
        ("a.jsonl", '{"messages": [{"role": "user", "content": "Hi"}]}', True),
        ("a.jsonl", '{"messages": []}', False),
        ("a.jsonl", '{"messages": ["Hi"]}', False),
        ("a.jsonl", '{"prompt": "one", "text": "two"}', False),
        ("a.jsonl", "not JSON", False),
        ("a.csv", "id, prompt,completion\n1,a,b\n", True),
        ("a.tsv", "prompt\tcompletion\na\tb\n", True),
        ("a.csv", "prompt,answer\na,b\n", False),
        ("a.txt", json.dumps(PAIR), False),
    ],
)
def test_a_file_of_pairs_is_recognized_by_its_fields(
    tmp_path: Path, name: str, text: str, expected: bool
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert is_pair_file(path) is expected


def test_a_compressed_file_of_pairs_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(PAIR).encode()))
    assert list(read_conversations(path)) == [("Turn on the lamp.", '{"on": "lamp"}')]


def test_a_turn_becomes_one_line_and_line_breaks_are_counted(tmp_path: Path) -> None:
    path = write_records(
        tmp_path / "a.jsonl", {"prompt": " One\n\ntwo  three\r\n", "completion": "e\u0301\u2028b\u200b"}
    )
    log = ReadLog()
    (document,) = read_pairs([InputFile(path, True)], log)
    assert document.sentences == ("One two three", "é b")
    assert log.files[0].counts["line_breaks"] == 2


def test_messages_become_turns_and_all_before_an_answer_are_one_prompt(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": " you"}]},
        {"role": "assistant", "content": "Hi."},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "Bye."},
    ]
    path = write_records(tmp_path / "a.jsonl", {"messages": messages})
    assert read_all(path) == ([("Be brief. Hello you", "Hi. Yes?", "Bye", "Bye.")], [])


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"prompt": "a", "completion": " \n"}, "the completion is empty"),
        ({"prompt": "", "completion": "b"}, "the prompt is empty"),
        ({"prompt": "a"}, "`completion` is missing"),
        ({"prompt": 3, "completion": "b"}, "`prompt` is not text"),
        ([1], "it is not an object"),
        ({"messages": []}, "`messages` is not a list of messages"),
        ({"messages": [{"role": "user", "content": "a"}]}, "the last message is not the assistant's"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "an answer comes before the first prompt"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0] has the role 'tool'"),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{}]}]},
            "messages[1] calls a tool",
        ),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}]},
            "messages[1] has no text",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": "b", "weight": 0},
                ]
            },
            "messages[1] has a weight",
        ),
        ({"prompt": "a " * 60_000, "completion": "b"}, "it has more than 100,000 characters"),
    ],
)
def test_a_record_that_cannot_be_learned_is_skipped_and_named_with_its_line(
    tmp_path: Path, record: Any, reason: str
) -> None:
    path = write_records(tmp_path / "a.jsonl", PAIR, record, PAIR)
    conversations, invalid = read_all(path)
    assert len(conversations) == 2
    assert [entry["line"] for entry in invalid] == [2]
    assert invalid[0]["reason"].startswith(reason)
    with pytest.raises(CorpusError, match=r"a\.jsonl, line 2"):
        read_all(path, strict=True)


def test_a_row_of_a_table_is_named_with_the_line_where_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('prompt,completion\n"a\nb",c\n\nd,\ne,f\n', encoding="utf-8")
    conversations, invalid = read_all(path)
    assert conversations == [("a b", "c"), ("e", "f")]
    assert invalid == [{"line": 5, "reason": "the completion is empty"}]


def test_skipped_records_are_reported_in_the_summary(tmp_path: Path) -> None:
    lines: list[str] = []
    path = write_records(tmp_path / "a.jsonl", PAIR, {"prompt": "x"}, *[PAIR] * 3)
    assert len(list(read_conversations(path, lines.append))) == 4
    assert f"skipped 1 record of {path}:" in lines
    assert "  line 2: `completion` is missing" in lines


def test_a_file_without_any_usable_pair_is_an_error_that_says_why(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", {"prompt": "a", "completion": ""})
    with pytest.raises(CorpusError, match="has no pair to learn from: line 1: the completion is empty"):
        read_all(path)


def test_pairs_and_text_in_one_corpus_are_an_error(tmp_path: Path) -> None:
    pairs = write_records(tmp_path / "a.jsonl", PAIR)
    text = tmp_path / "b.txt"
    text.write_text("A sentence.\n", encoding="utf-8")
    for request in (
        CorpusRequest((), (pairs, text)),
        CorpusRequest((), (tmp_path,)),
        CorpusRequest(("phrasebook",), (pairs,)),
    ):
        with pytest.raises(CorpusError, match="cannot learn from both") as caught:
            prepare_corpus(request, tmp_path / "run")
        assert "--init-from" in str(caught.value.hint)
    assert not (tmp_path / "run" / CORPUS_NAME).exists()


def test_a_chosen_field_of_pairs_is_read_as_text(tmp_path: Path) -> None:
    pairs = write_records(tmp_path / "a.jsonl", *[{"prompt": "It rained all day.", "completion": "x"}] * 3)
    request = CorpusRequest((), (pairs,), reading=ReadSettings(field="prompt"))
    assert not prepare_corpus(request, tmp_path / "run").has_pairs
    assert not has_pairs(tmp_path / "run" / CORPUS_NAME)


def test_repeated_pairs_stay_because_they_are_weights(tmp_path: Path) -> None:
    pairs = write_records(tmp_path / "a.jsonl", PAIR, PAIR, PAIR)
    report = prepare_corpus(CorpusRequest((), (pairs,)), tmp_path / "run")
    assert report.has_pairs
    assert report.corpus["documents"] == 3
    documents = list(read_corpus_documents(tmp_path / "run" / CORPUS_NAME))
    assert documents == 3 * [["Turn on the lamp.", '{"on": "lamp"}']]


def test_a_corpus_of_pairs_that_was_edited_is_refused(tmp_path: Path) -> None:
    pairs = write_records(tmp_path / "a.jsonl", PAIR)
    prepare_corpus(CorpusRequest((), (pairs,)), tmp_path)
    corpus = tmp_path / CORPUS_NAME
    assert has_pairs(corpus)
    corpus.write_text("Something else.\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="was changed since"):
        has_pairs(corpus)


def test_conversations_with_one_prompt_are_on_one_side_of_the_split(tmp_path: Path) -> None:
    records = [
        {"prompt": f"Question number {number % 100}?", "completion": f"Answer {number}."}
        for number in range(500)
    ]
    prepare_corpus(CorpusRequest((), (write_records(tmp_path / "a.jsonl", *records),)), tmp_path)
    split = draw_split(tmp_path / CORPUS_NAME)
    assert split.has_pairs
    training = [tuple(d.training) for d in split.documents() if d.training]
    held_out = [tuple(d.held_out) for d in split.documents() if d.held_out]
    assert len(training) + len(held_out) == 500
    assert {len(turns) for turns in training + held_out} == {2}  # a conversation is never cut
    prompts = {prompt for prompt, _ in held_out}
    assert 5 <= len(prompts) <= 15
    assert len(held_out) == 5 * len(prompts)
    assert prompts.isdisjoint(prompt for prompt, _ in training)


def test_too_few_prompts_to_hold_some_out_are_an_error(tmp_path: Path) -> None:
    records = [{"prompt": f"{number % 4}", "completion": f"{number}"} for number in range(100)]
    prepare_corpus(CorpusRequest((), (write_records(tmp_path / "a.jsonl", *records),)), tmp_path)
    with pytest.raises(CorpusError, match="it has 4 different prompts"):
        draw_split(tmp_path / CORPUS_NAME)
