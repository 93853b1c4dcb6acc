"""Answers of the API, compared with the text that the runtime generates."""

import math
from pathlib import Path
from typing import Any

import pytest

from bench.serve.loopback import Server, parse_events
from tinyedge.runtime import Generator, SamplingConfig
from tinyedge.runtime.logprobs import log_softmax
from tinyedge.serve.generation import Prompt, score_prompt

PROMPT = "The captain"
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def generator(micro_bundle: Path) -> Generator:
    return Generator.load(micro_bundle)


def stream(server: Server, path: str = "/v1/completions", **fields: Any) -> list[Any]:
    answer = server.post(path, {"stream": True, **fields})
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    return list(parse_events(answer.body))


def test_the_text_is_that_of_generate(server: Server, generator: Generator) -> None:
    """The defaults are those of `tinyedge generate`, except for the length, which is OpenAI's."""
    expected = generator.generate(PROMPT, max_tokens=16, sampling=SamplingConfig(seed=5))
    value = server.complete(PROMPT, seed=5).json()
    (choice,) = value.pop("choices")
    assert choice == {
        "index": 0,
        "text": expected.text,
        "logprobs": None,
        "finish_reason": expected.finish_reason,
    }
    counts = (expected.prompt_tokens, len(expected.tokens))
    assert value.pop("usage") == {
        "prompt_tokens": counts[0],
        "completion_tokens": counts[1],
        "total_tokens": sum(counts),
    }
    assert value.pop("id").startswith("cmpl-")
    assert value.pop("created") > 1_700_000_000
    assert value.pop("timings")["ttft_ms"] > 0
    assert len(value.pop("system_fingerprint")) == 16
    assert value == {"object": "text_completion", "model": "tinyedge"}


@pytest.mark.parametrize(
    ("fields", "sampling"),
    [
        ({"temperature": 0}, SamplingConfig(temperature=0)),
        ({"top_p": 0.5, "seed": 1}, SamplingConfig(top_p=0.5, seed=1)),
        ({"top_p": 1, "seed": 1}, SamplingConfig(top_p=1.0, seed=1)),
        ({"top_k": 3, "seed": 1}, SamplingConfig(top_k=3, seed=1)),
        ({"min_p": 0.2, "seed": 1}, SamplingConfig(min_p=0.2, seed=1)),
        ({"repetition_penalty": 1.5, "seed": 1}, SamplingConfig(repetition_penalty=1.5, seed=1)),
        ({"presence_penalty": 2, "seed": 1}, SamplingConfig(presence_penalty=2, seed=1)),
        ({"frequency_penalty": -2, "seed": 1}, SamplingConfig(frequency_penalty=-2, seed=1)),
        ({"logit_bias": {"50": 100}, "temperature": 0}, SamplingConfig(logit_bias={50: 100}, temperature=0)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_every_sampling_field_is_applied(
    server: Server, generator: Generator, fields: dict[str, Any], sampling: SamplingConfig
) -> None:
    expected = generator.generate(PROMPT, max_tokens=30, sampling=sampling).text
    assert server.complete(PROMPT, max_tokens=30, **fields).text == expected


def test_a_stream_has_the_same_text(server: Server) -> None:
    fields: dict[str, Any] = {"prompt": PROMPT, "max_tokens": 40, "seed": 2}
    complete = server.complete(**fields).json()
    parts = stream(server, **fields, stream_options={"include_usage": True})
    assert "".join(part["choices"][0]["text"] for part in parts[:-1]) == complete["choices"][0]["text"]
    reasons = [part["choices"][0]["finish_reason"] for part in parts[:-1]]
    assert reasons[:-1] == [None] * (len(reasons) - 1)
    assert reasons[-1] == complete["choices"][0]["finish_reason"]
    assert parts[-1]["choices"] == []
    assert parts[-1]["usage"] == complete["usage"]
    assert {part["usage"] for part in parts[:-1] if part["usage"]} == set()
    assert len({part["id"] for part in parts}) == 1
    assert not any("usage" in part for part in stream(server, **fields))


def test_several_prompts_and_answers(server: Server) -> None:
    prompts = [PROMPT, "Mi hermana"]
    value = server.post("/v1/completions", {"prompt": prompts, "n": 2, "seed": 9, "max_tokens": 8}).json()
    texts = [choice["text"] for choice in value["choices"]]
    assert [choice["index"] for choice in value["choices"]] == [0, 1, 2, 3]
    assert texts[0] == server.complete(PROMPT, seed=9, max_tokens=8).text
    assert texts[1] == server.complete(PROMPT, seed=10, max_tokens=8).text
    assert texts[2] == server.complete("Mi hermana", seed=9, max_tokens=8).text
    parts = stream(server, prompt=prompts, n=2, seed=9, max_tokens=8)
    joined = ["", "", "", ""]
    for part in parts:
        (choice,) = part["choices"]
        joined[choice["index"]] += choice["text"]
    assert joined == texts


def test_stop_strings(server: Server) -> None:
    complete = server.complete(PROMPT, temperature=0, max_tokens=20).text
    stop = complete[5:8]
    for value in (stop, ["zzzz", stop]):
        answer = server.complete(PROMPT, temperature=0, max_tokens=20, stop=value).json()
        assert answer["choices"][0]["text"] == complete[: complete.index(stop)]
        assert answer["choices"][0]["finish_reason"] == "stop"


def test_echo_starts_with_the_prompt(server: Server) -> None:
    continuation = server.complete(PROMPT, seed=3).text
    assert server.complete(PROMPT, seed=3, echo=True).text == PROMPT + continuation
    parts = stream(server, prompt=PROMPT, seed=3, echo=True)
    assert parts[0]["choices"][0]["text"] == PROMPT


def test_log_probabilities_add_up(server: Server) -> None:
    value = server.complete(PROMPT, temperature=0, max_tokens=6, logprobs=3).json()
    found = value["choices"][0]["logprobs"]
    count = value["usage"]["completion_tokens"]
    assert {len(found[name]) for name in found} == {count}
    assert "".join(found["tokens"]).removesuffix("</s>") == value["choices"][0]["text"]
    for token, logprob, top in zip(
        found["tokens"], found["token_logprobs"], found["top_logprobs"], strict=True
    ):
        assert len(top) == 3
        assert logprob == max(top.values()) == top[token]  # greedy, and no bias
        assert 0 < sum(map(math.exp, top.values())) <= 1
    assert found["text_offset"] == sorted(found["text_offset"])
    assert server.complete(PROMPT, logprobs=0).json()["choices"][0]["logprobs"]["top_logprobs"] is None


def test_a_prompt_is_scored(server: Server) -> None:
    """As evaluation harnesses request it: the log probabilities of the prompt, and no new token."""
    text = PROMPT + server.complete(PROMPT, temperature=0, max_tokens=4).text
    value = server.complete(text, echo=True, max_tokens=0, logprobs=1).json()
    (choice,) = value["choices"]
    assert choice["text"] == text
    assert choice["finish_reason"] == "length"
    assert value["usage"]["completion_tokens"] == 0
    found = choice["logprobs"]
    assert len(found["tokens"]) == value["usage"]["prompt_tokens"] - 1  # BOS has no text
    assert "".join(found["tokens"]) == " " + text


def test_scores_equal_those_of_generation(micro_bundle_fp32: Path) -> None:
    """In fp32: int8 quantizes the activations of all tokens of a prefill together."""
    with Generator.load(micro_bundle_fp32) as exact:
        pieces = list(
            exact.stream(
                PROMPT, max_tokens=6, sampling=SamplingConfig(temperature=0), logprobs=0, ignore_eos=True
            )
        )
        scored = score_prompt(Prompt(exact, PROMPT + "".join(piece.text for piece in pieces)), 1)
    assert len(scored) == len(exact.encode_prompt(PROMPT)) - 1 + len(pieces)
    for piece, token in zip(pieces, scored[-len(pieces) :], strict=True):
        assert piece.logprob == pytest.approx(token.logprob, abs=1e-4)
        assert token.top[0][2] == token.logprob  # greedy: each was the most likely


def test_chat_messages_are_lines(server: Server) -> None:
    parts_of_two = [{"type": "text", "text": "T"}, {"type": "text", "text": "wo"}]
    messages = [{"role": "system", "content": "One."}, {"role": "user", "content": parts_of_two}]
    expected = server.complete("One.\nTwo\n", seed=1, max_tokens=10).text
    value = server.post(CHAT, {"messages": messages, "seed": 1, "max_completion_tokens": 10}).json()
    (choice,) = value["choices"]
    assert choice["message"] == {"role": "assistant", "content": expected, "refusal": None}
    assert value["object"] == "chat.completion"
    parts = stream(server, CHAT, messages=messages, seed=1, max_tokens=10)
    deltas = [part["choices"][0]["delta"] for part in parts]
    assert [delta.get("role") for delta in deltas] == ["assistant"] + [None] * (len(deltas) - 1)
    assert "".join(delta["content"] for delta in deltas) == expected
    assert {part["object"] for part in parts} == {"chat.completion.chunk"}


def test_a_last_message_of_the_assistant_is_continued(server: Server) -> None:
    messages = [{"role": "user", "content": "One."}, {"role": "assistant", "content": "The"}]
    value = server.post(CHAT, {"messages": messages, "temperature": 0, "max_tokens": 5}).json()
    expected = server.complete("One.\nThe", temperature=0, max_tokens=5).text
    assert value["choices"][0]["message"]["content"] == expected


def test_chat_log_probabilities(server: Server) -> None:
    fields = {"messages": [{"role": "user", "content": PROMPT}], "logprobs": True, "top_logprobs": 2}
    choice = server.post(CHAT, {**fields, "temperature": 0, "max_tokens": 4}).json()["choices"][0]
    content = choice["logprobs"]["content"]
    raw = b"".join(bytes(token["bytes"]) for token in content)
    assert raw.decode().strip() == choice["message"]["content"].strip()
    assert all(token["logprob"] == token["top_logprobs"][0]["logprob"] for token in content)


def test_any_text_is_a_prompt(server: Server) -> None:
    for prompt in ("", " ", "\n", "\0", "¿Qué?", "👩‍👩‍👧", "\u202e", "a\r\nb\rc", "</s>", "日本"):
        answer = server.complete(prompt, echo=True, max_tokens=3)
        assert answer.status == 200, prompt
        assert answer.text.startswith(prompt)


def test_the_context_slides_during_generation(server: Server) -> None:
    value = server.complete(PROMPT, max_tokens=200, ignore_eos=True, seed=1).json()
    assert value["usage"]["completion_tokens"] == 200
    assert value["usage"]["total_tokens"] > 32


def test_the_model_is_listed(server: Server) -> None:
    (model,) = server.get("/v1/models").json()["data"]
    assert model == server.get("/v1/models/tinyedge").json()
    assert (model["id"], model["object"], model["context_length"]) == ("tinyedge", "model", 32)
    assert model["openings"] == {}  # the bundle has none
    assert model["home"] is None
    assert server.complete(PROMPT, model="tinyedge", max_tokens=1).status == 200


def test_neutral_fields_change_nothing(server: Server) -> None:
    neutral: dict[str, Any] = {
        **{"suffix": None, "best_of": 1, "user": "me", "store": False, "metadata": {}, "stop": ["zzz"] * 64},
        **{
            "logit_bias": {"1": None},
            "stream": False,
            "stream_options": None,
            "service_tier": "auto",
            "n": None,
        },
        **{"min_tokens": 0},
    }
    assert server.complete(PROMPT, seed=1, **neutral).text == server.complete(PROMPT, seed=1).text
    everything = server.complete(PROMPT, seed=1, top_k=0).text
    assert server.complete(PROMPT, seed=1, top_k=-1).text == everything
    assert server.complete(PROMPT, seed=-1).status == 200
    messages = [{"role": "user", "content": PROMPT}]
    expected = server.post(CHAT, {"messages": messages, "seed": 1}).json()["choices"]
    for value in (True, False):
        fields = {"messages": messages, "seed": 1, "parallel_tool_calls": value, "functions": []}
        assert server.post(CHAT, fields).json()["choices"] == expected


def test_an_answer_has_at_least_min_tokens(server: Server) -> None:
    fields: dict[str, Any] = {"logit_bias": {"1": 100}, "max_tokens": 9, "seed": 1}
    assert server.complete(PROMPT, **fields).json()["usage"]["completion_tokens"] == 1
    value = server.complete(PROMPT, **fields, min_tokens=6).json()
    assert value["usage"]["completion_tokens"] == 7
    assert value["choices"][0]["finish_reason"] == "stop"


def test_max_completion_tokens_above_the_limit_is_the_limit(server: Server) -> None:
    fields = {"messages": [{"role": "user", "content": PROMPT}], "seed": 1}
    expected = server.post(CHAT, {**fields, "max_tokens": 4000}).json()
    found = server.post(CHAT, {**fields, "max_completion_tokens": 10**30}).json()
    assert (found["choices"], found["usage"]) == (expected["choices"], expected["usage"])


def test_events_with_token_counts(server: Server) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    *parts, last = stream(server, prompt=PROMPT, max_tokens=9, seed=2, stream_options=options)
    counts = [part["usage"]["completion_tokens"] for part in parts]
    assert counts == sorted(counts)
    assert parts[-1]["usage"] == last["usage"]
    assert last["usage"]["completion_tokens"] <= 9


def test_prompts_of_token_ids(server: Server, generator: Generator) -> None:
    ids = generator.encode_prompt(PROMPT)
    fields: dict[str, Any] = {"temperature": 0, "max_tokens": 6, "min_tokens": 6, "logprobs": 1}
    (expected,) = server.complete(PROMPT + " ", **fields).json()["choices"]
    value = server.post("/v1/completions", {"prompt": ids, **fields}).json()
    assert value["usage"]["prompt_tokens"] == len(ids)
    assert value["choices"][0]["logprobs"]["tokens"] == expected["logprobs"]["tokens"]
    value = server.post("/v1/completions", {"prompt": [ids, ids[:3]], **fields, "echo": True}).json()
    assert value["usage"]["prompt_tokens"] == len(ids) + 3
    assert value["choices"][0]["text"].startswith(PROMPT)
    for choice, prompt in zip(value["choices"], (ids, ids[:3]), strict=True):
        listed = choice["logprobs"]
        assert listed["tokens"][0] == "<s>"
        assert listed["token_logprobs"][0] is listed["top_logprobs"][0] is None
        assert all(logprob < 0 for logprob in listed["token_logprobs"][1:])
        assert {len(listed[name]) for name in listed} == {len(prompt) + 6}


def test_token_ids_and_their_text_have_the_same_score(server: Server, generator: Generator) -> None:
    """As lm-evaluation-harness sends them: token ids, or the text to which its tokenizer decodes them."""
    text = PROMPT + " was here."
    fields: dict[str, Any] = {"echo": True, "logprobs": 1, "max_tokens": 0}
    ids = generator.encode_prompt(text)
    by_ids = server.post("/v1/completions", {"prompt": ids, **fields}).json()["choices"][0]["logprobs"]
    for prompt in ("<s>" + text, "<s> " + text):
        (choice,) = server.complete(prompt, **fields).json()["choices"]
        assert choice["text"] == prompt
        found = choice["logprobs"]
        assert found["token_logprobs"] == by_ids["token_logprobs"]
        assert found["tokens"] == by_ids["tokens"]
        assert found["text_offset"][:2] == [0, 3]
    plain = server.complete(text, **fields).json()["choices"][0]["logprobs"]
    assert plain["token_logprobs"] == by_ids["token_logprobs"][1:]


def test_token_ids_are_used_as_they_are(server: Server, generator: Generator) -> None:
    """Without BOS if it is not sent: the scores are those of the same tokens in any other tool."""
    ids = generator.encode_prompt(PROMPT)[1:]
    value = server.post(
        "/v1/completions", {"prompt": ids, "echo": True, "logprobs": 0, "max_tokens": 0}
    ).json()
    assert value["usage"]["prompt_tokens"] == len(ids)
    decoder = generator.session.decoder()
    logits = decoder.prefill(ids[:1])
    (choice,) = value["choices"]
    assert choice["logprobs"]["token_logprobs"][1] == pytest.approx(
        float(log_softmax(logits)[ids[1]]), abs=1e-6
    )


def test_a_received_message_can_be_sent_back(server: Server) -> None:
    """Client libraries add fields to it, most of them null."""
    received: dict[str, Any] = {
        **{"role": "assistant", "content": "Yes.", "refusal": None, "annotations": [], "audio": None},
        **{"function_call": None, "tool_calls": None, "parsed": None, "reasoning_content": "x"},
    }
    parts = [{"type": "text", "text": "And", "annotations": None, "cache_control": {"type": "ephemeral"}}]
    messages = [
        {"role": "user", "content": PROMPT, "name": None},
        received,
        {"role": "user", "content": parts},
    ]
    value = server.post(CHAT, {"messages": messages, "seed": 1, "max_tokens": 6}).json()
    expected = server.complete(f"{PROMPT}\nYes.\nAnd\n", seed=1, max_tokens=6).text
    assert value["choices"][0]["message"]["content"] == expected
