"""Text generation from a bundle: context windows, stop strings, end of text, spaces, seeds, threads."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.computed_decoder import ComputedDecoder
from tests.support.engines import ENGINES, use_engine
from tinyedge.bundle.bundle import Bundle, load_bundle, write_bundle
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import BundleError, UsageError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.core.window import window_start
from tinyedge.runtime import generator as module
from tinyedge.runtime.generator import Generator
from tinyedge.runtime.logprobs import log_softmax
from tinyedge.runtime.pieces import Piece
from tinyedge.runtime.stop_strings import StopStringMatcher
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Tokenizer

GREEDY = SamplingConfig(temperature=0)
PROMPT = "The teacher found a silver key"


@pytest.fixture(scope="module", params=ENGINES)
def generator(request: pytest.FixtureRequest, micro_bundle: Path) -> Generator:
    with use_engine(request.param):
        return Generator.load(micro_bundle)


@pytest.fixture(scope="module", params=ENGINES)
def generator_fp32(request: pytest.FixtureRequest, micro_bundle_fp32: Path) -> Generator:
    with use_engine(request.param):
        return Generator.load(micro_bundle_fp32)


class ScriptedSession(ComputedDecoder):
    """A session whose most likely tokens are the given ones, in order; it records the tokens it receives."""

    def __init__(self, config: ModelConfig, script: Sequence[int]) -> None:
        super().__init__(config)
        self.script = iter(script)
        self.received: list[list[int]] = []

    def compute(self, tokens: list[int]) -> np.ndarray:
        if self.calls[-1] == "restart":
            self.received.append([])
        self.received[-1][:] = tokens
        logits = np.zeros(1000, dtype=np.float32)
        logits[[UNK_ID, PAD_ID]] = 90.0  # must never be selected, however likely
        logits[next(self.script)] = 50.0
        return logits


@pytest.fixture
def make_scripted(generator: Generator) -> "type[ScriptedGenerator]":
    ScriptedGenerator.generator = generator
    return ScriptedGenerator


class ScriptedGenerator(Generator):
    """The micro bundle with a scripted session in place of its model."""

    generator: Generator

    def __init__(self, script: Sequence[int]) -> None:
        base = self.generator
        self.scripted_session = ScriptedSession(base.config, script)
        super().__init__(base.bundle, base.tokenizer, self.scripted_session)


def generate_naively(generator: Generator, prompt: str, count: int) -> tuple[list[int], list[float]]:
    """Generate greedy text by the definition: compute the complete window for each token.

    Returns:
        The tokens and their log probabilities.
    """
    tokens = generator.encode_prompt(prompt)
    logprobs = []
    decoder = generator.session.decoder()
    for _ in range(count):
        logits = decoder.prefill(tokens[window_start(len(tokens), generator.config.max_seq_length) :])
        row = logits.copy()
        row[[BOS_ID, PAD_ID, UNK_ID]] = -np.inf
        if tokens[-1] == EOS_ID:
            row[BOS_ID] = logits[BOS_ID]
        tokens.append(int(row.argmax()))
        logprobs.append(float(log_softmax(logits)[tokens[-1]]))
    return tokens[-count:], logprobs


@pytest.mark.parametrize(
    "prompt", ["", f"{PROMPT}.", " ".join([f"{PROMPT},"] * 9)], ids=["empty", "short", "long"]
)
def test_greedy_text_beyond_the_context_equals_the_naive_text(generator_fp32: Generator, prompt: str) -> None:
    count = 3 * generator_fp32.config.max_seq_length
    expected, expected_logprobs = generate_naively(generator_fp32, prompt, count)
    pieces = list(
        generator_fp32.stream(prompt, max_tokens=count, sampling=GREEDY, ignore_eos=True, logprobs=0)
    )
    assert [piece.token for piece in pieces] == expected
    assert len(set(expected)) > 10
    assert [piece.logprob for piece in pieces] == pytest.approx(expected_logprobs, abs=1e-4)
    assert pieces[-1].slid
    completion = generator_fp32.generate(prompt, max_tokens=count, sampling=GREEDY, ignore_eos=True)
    assert list(completion.tokens) == expected


def test_the_model_receives_the_window_of_the_text(make_scripted: type[ScriptedGenerator]) -> None:
    script = list(range(100, 170))
    scripted = make_scripted(script)
    steps = list(scripted.stream("", max_tokens=70, sampling=GREEDY))
    assert [step.token for step in steps] == script
    everything = [BOS_ID, *script]
    assert scripted.scripted_session.received == [
        everything[0:32],
        everything[16:48],
        everything[32:64],
        everything[48:70],
    ]
    # Token 31 is predicted from 32 tokens, BOS first; token 32 from a window that was restarted.
    assert [step.slid for step in steps] == [False] * 32 + [True] * 38
    assert [step.index for step in steps] == list(range(70))


def test_a_prompt_of_ten_thousand_tokens(generator: Generator) -> None:
    prompt = "the captain lost seven letters " * 2500
    completion = generator.generate(prompt, max_tokens=5, sampling=GREEDY)
    assert completion.prompt_tokens > 10_000
    assert completion.slid
    short = generator.generate(PROMPT, max_tokens=5, sampling=GREEDY)
    assert short.slid is False


def test_the_stream_equals_the_completion(generator: Generator) -> None:
    sampling = SamplingConfig(seed=11)
    steps = list(generator.stream(PROMPT, max_tokens=40, sampling=sampling))
    completion = generator.generate(PROMPT, max_tokens=40, sampling=sampling)
    assert "".join(step.text for step in steps) == completion.text
    assert tuple(step.token for step in steps) == completion.tokens
    assert [step.finish_reason for step in steps[:-1]] == [None] * (len(steps) - 1)
    assert steps[-1].finish_reason == completion.finish_reason
    assert completion.prompt_tokens == len(generator.encode_prompt(PROMPT))


def test_the_same_seed_gives_the_same_text_in_any_order(generator: Generator) -> None:
    def text(seed: int) -> str:
        sampling = SamplingConfig(seed=seed)
        return generator.generate(PROMPT, max_tokens=60, sampling=sampling, ignore_eos=True).text

    first = text(5)
    assert text(6) != first
    assert text(5) == first


def test_the_space_between_prompt_and_text(
    generator: Generator, make_scripted: type[ScriptedGenerator]
) -> None:
    word = generator.tokenizer.encode("para")
    assert len(word) == 1

    def continued(prompt: str) -> str:
        return make_scripted([*word, EOS_ID]).generate(prompt).text

    assert continued("") == "para"
    assert continued("found") == " para"
    assert continued("found ") == "para"
    assert continued("found the ") == "para"


def test_eos_ends_the_text_and_is_not_part_of_it(make_scripted: type[ScriptedGenerator]) -> None:
    completion = make_scripted([200, EOS_ID, 300]).generate(f"{PROMPT}:", sampling=GREEDY)
    assert completion.tokens == (200, EOS_ID)
    assert completion.finish_reason == "stop"
    assert "\n" not in completion.text


def test_eos_as_the_first_token_gives_an_empty_text(make_scripted: type[ScriptedGenerator]) -> None:
    completion = make_scripted([EOS_ID]).generate("", sampling=GREEDY)
    assert (completion.text, completion.tokens, completion.finish_reason) == ("", (EOS_ID,), "stop")


def test_ignored_eos_is_a_line_break_and_bos_may_follow(
    generator: Generator, make_scripted: type[ScriptedGenerator]
) -> None:
    word = generator.tokenizer.encode("para")[0]
    script = [word, EOS_ID, BOS_ID, word, word]
    completion = make_scripted(script).generate("", max_tokens=5, sampling=GREEDY, ignore_eos=True)
    assert list(completion.tokens) == script
    assert completion.text == "para\npara para"
    assert completion.finish_reason == "length"


def test_bos_pad_and_unk_are_never_selected(make_scripted: type[ScriptedGenerator]) -> None:
    # BOS is most likely after PAD and UNK; all others are equal, and EOS is the lowest id allowed.
    assert make_scripted([BOS_ID]).generate("", sampling=GREEDY).tokens == (EOS_ID,)


def test_a_generation_of_the_model_has_no_special_tokens(generator: Generator) -> None:
    hot = SamplingConfig(temperature=100, top_k=0, seed=1)
    completion = generator.generate("", max_tokens=500, sampling=hot, ignore_eos=True)
    assert not {UNK_ID, PAD_ID} & set(completion.tokens)
    assert len(completion.tokens) == 500


def test_lines_of_a_prompt_are_encoded_as_lines_of_the_corpus(generator: Generator) -> None:
    encode = generator.tokenizer.encode
    expected = [BOS_ID, *encode("Hola."), EOS_ID, BOS_ID, *encode("Me llamo")]
    assert (
        generator.encode_prompt("Hola.\nMe llamo") == generator.encode_prompt("Hola.\r\nMe llamo") == expected
    )
    assert generator.encode_prompt("a\n")[-2:] == [EOS_ID, BOS_ID]
    assert generator.encode_prompt("") == [BOS_ID]


def test_stop_string_across_tokens(generator: Generator, make_scripted: type[ScriptedGenerator]) -> None:
    script = generator.tokenizer.encode("the captain lost a silver key")
    stop = "ain lost"
    scripted = make_scripted([*script, EOS_ID])
    steps = list(scripted.stream("", sampling=GREEDY, stop=["never", stop]))
    assert "".join(step.text for step in steps) == "the capt"
    assert steps[-1].finish_reason == "stop"
    assert len(steps) < len(script)  # no token was computed after the stop string was complete


def test_an_incomplete_character_at_the_end_becomes_a_replacement_character(
    generator: Generator, byte_fallback_model: bytes
) -> None:
    spelling = Tokenizer(byte_fallback_model)
    coin = spelling.encode("₿")[-3:]
    for ending, count in (([EOS_ID], 4), ([], 2)):  # ended by EOS, by length
        session = ScriptedSession(generator.config, [*coin, coin[0], *ending] if ending else coin)
        half = Generator(generator.bundle, spelling, session)
        steps = list(half.stream("", max_tokens=count + len(ending), sampling=GREEDY))
        assert "".join(step.text for step in steps) == ("₿\ufffd" if ending else "\ufffd")


def test_held_back_text_is_shown_at_the_end(
    generator: Generator, make_scripted: type[ScriptedGenerator]
) -> None:
    script = generator.tokenizer.encode("the captain")
    stop = ["captain lost"]
    for max_tokens in (len(script), len(script) + 1):  # ended by length, by EOS
        completion = make_scripted([*script, EOS_ID]).generate(
            "", sampling=GREEDY, max_tokens=max_tokens, stop=stop
        )
        assert completion.text == "the captain"


@given(
    st.text("abc", max_size=30),
    st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
    st.lists(st.integers(1, 5), min_size=30, max_size=30),
)
def test_the_stop_string_matcher_does_not_depend_on_the_pieces(
    text: str, stops: list[str], sizes: list[int]
) -> None:
    ends = [
        (end, end - len(stop)) for end in range(len(text) + 1) for stop in stops if text[:end].endswith(stop)
    ]
    expected = text[: min(ends)[1]] if ends else text
    matcher = StopStringMatcher(stops)
    shown, at = "", 0
    for size in sizes:
        shown += matcher.push(text[at : at + size])
        at += size
        assert expected.startswith(shown)  # never a character that must be taken back
    assert shown + matcher.flush() == expected
    assert matcher.stopped == bool(ends)


def test_a_single_stop_string_needs_no_list() -> None:
    assert StopStringMatcher("ab").push("xab") == "x"


@pytest.mark.parametrize("max_tokens", [0, -1])
def test_max_tokens_below_one(generator: Generator, max_tokens: int) -> None:
    with pytest.raises(UsageError, match=f"max_tokens {max_tokens} is less than 1"):
        generator.stream("", max_tokens=max_tokens)


def test_an_empty_stop_string(generator: Generator) -> None:
    with pytest.raises(UsageError, match="stop is empty"):
        generator.stream("", stop=["a", ""])


def test_the_bytes_of_the_files_are_dropped_after_loading(generator: Generator) -> None:
    assert (generator.bundle.model, generator.bundle.tokenizer) == (b"", b"")
    assert generator.bundle.manifest["precision"] == "int8"


def test_the_hash_of_the_tokenizer_is_the_verified_one(generator: Generator, micro_bundle: Path) -> None:
    found = hashlib.sha256((micro_bundle / "tokenizer.model").read_bytes()).hexdigest()
    assert generator.tokenizer.sha256 == found


def test_the_bytes_of_the_model_are_dropped_before_the_tokenizer_is_loaded(
    micro_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []

    class TrackedBytes(bytes):
        def __del__(self) -> None:
            events.append("model bytes dropped")

    def load(*arguments: Any) -> Tokenizer:
        events.append("tokenizer loaded")
        return Tokenizer(*arguments)

    def load_tracked(path: Path) -> Bundle:
        bundle = load_bundle(path)
        return bundle._replace(model=TrackedBytes(bundle.model))

    monkeypatch.setattr(module, "load_bundle", load_tracked)
    monkeypatch.setattr(module, "Tokenizer", load)
    Generator.load(micro_bundle)
    assert events == ["model bytes dropped", "tokenizer loaded"]


def test_a_tokenizer_of_another_size_is_rejected(
    micro_bundle: Path, byte_fallback_model: bytes, tmp_path: Path
) -> None:
    bundle = load_bundle(micro_bundle)
    manifest = {
        k: v for k, v in bundle.manifest.items() if k not in ("schema", "created", "tinyedge", "files")
    }
    manifest["tokenizer"] |= {"sha256": hashlib.sha256(byte_fallback_model).hexdigest()}
    path = write_bundle(tmp_path / "bundle", manifest, bundle.model, byte_fallback_model, "card")
    with pytest.raises(BundleError, match="has 1100 pieces, the model expects 1000"):
        Generator.load(path)


def test_a_piece_contains_log_probabilities(generator: Generator) -> None:
    prompt, sampling = f"{PROMPT}.", SamplingConfig(seed=3)
    pieces = list(generator.stream(prompt, max_tokens=12, sampling=sampling, ignore_eos=True, logprobs=4))
    plain = generator.stream(prompt, max_tokens=12, sampling=sampling, ignore_eos=True)
    assert [piece.token for piece in pieces] == [piece.token for piece in plain]
    decoder = generator.session.decoder()
    tokens = generator.encode_prompt(prompt)
    logits = decoder.prefill(tokens).astype(np.float64)
    for piece in pieces:
        expected = logits - np.log(np.exp(logits).sum())
        assert piece.logprob == pytest.approx(expected[piece.token], abs=1e-9)
        assert [token for token, _ in piece.top_logprobs] == np.argsort(-expected, kind="stable")[:4].tolist()
        assert [value for _, value in piece.top_logprobs] == pytest.approx(np.sort(expected)[:-5:-1])
        logits = decoder.step(piece.token).astype(np.float64)
    bare = list(generator.stream(PROMPT, max_tokens=2, sampling=sampling))
    assert (bare[0].logprob, bare[0].top_logprobs) == (None, ())


def test_only_the_last_piece_has_timings(generator: Generator) -> None:
    *others, last = generator.stream(PROMPT, max_tokens=5, ignore_eos=True)
    assert [piece.timings for piece in others] == [None] * 4
    assert last.timings is not None
    assert last.timings.first_token > 0
    assert last.timings.decode > 0


def test_bias_and_penalties_change_the_text(generator: Generator) -> None:
    def tokens(**changes: object) -> tuple[int, ...]:
        sampling = SamplingConfig(temperature=0, **changes)  # type: ignore[arg-type]
        return generator.generate(PROMPT, max_tokens=20, sampling=sampling, ignore_eos=True).tokens

    plain = tokens()
    assert tokens(logit_bias={500: 100.0}) == (500,) * 20
    assert plain[0] not in tokens(logit_bias={plain[0]: -100.0})
    assert len(set(tokens(frequency_penalty=50.0))) == 20
    assert len(set(tokens(presence_penalty=50.0))) == 20


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("logprobs", value) for value in (-1, 1001, 1.5, "1", True)],
        *[("max_tokens", value) for value in (1.5, float("nan"), None, True)],
        *[("stop", value) for value in ([1], b"ab")],
        ("sampling", None),
        ("sampling", {}),
        *[("content_filter", value) for value in (True, "list.txt")],
    ],
)
def test_invalid_arguments_are_rejected_before_the_first_token(
    generator: Generator, name: str, value: object
) -> None:
    with pytest.raises(UsageError, match=name.replace("_", "[_ ]")):
        generator.stream("", **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("prompt", [None, 5, b"hi"])
def test_a_prompt_that_is_not_text(generator: Generator, prompt: object) -> None:
    with pytest.raises(UsageError, match="the prompt is"):
        generator.stream(prompt)  # type: ignore[arg-type]


def test_a_bias_for_an_unknown_token(generator: Generator) -> None:
    with pytest.raises(UsageError, match="logit_bias: 1000 is not a token id, 0-999"):
        generator.stream("", sampling=SamplingConfig(logit_bias={1000: 1.0}))


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("engine", ENGINES)
def test_the_number_of_threads_changes_no_bit(
    precision: str, engine: str, request: pytest.FixtureRequest
) -> None:
    """The prompt is long enough for its rows to be divided, and the text is drawn from all logits."""
    folder = request.getfixturevalue("micro_bundle" if precision == "int8" else "micro_bundle_fp32")

    def generate(threads: int | None) -> list[tuple[object, ...]]:
        sampling = SamplingConfig(seed=5, top_k=0)
        with use_engine(engine), Generator.load(folder, threads) as generator:
            pieces = generator.stream(PROMPT, max_tokens=12, sampling=sampling, logprobs=3)
            return [(piece.token, piece.text, piece.logprob, piece.top_logprobs) for piece in pieces]

    one = generate(1)
    assert len(one) > 1
    assert [generate(threads) for threads in (2, 3, 4, None)] == [one] * 4


def test_threads_share_a_generator(generator: Generator) -> None:
    def text(seed: int) -> str:
        sampling = SamplingConfig(seed=seed)
        return generator.generate(PROMPT, max_tokens=60, sampling=sampling, ignore_eos=True).text

    alone = [text(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(text, range(8))) == alone
    assert len(set(alone)) == 8


def test_interleaved_streams_do_not_mix(generator: Generator) -> None:
    def stream(seed: int) -> Iterator[Piece]:
        return generator.stream(PROMPT, max_tokens=20, sampling=SamplingConfig(seed=seed), ignore_eos=True)

    alone = [[piece.token for piece in stream(seed)] for seed in (1, 2)]
    pairs = list(zip(stream(1), stream(2), strict=True))
    assert [[piece.token for piece in column] for column in zip(*pairs, strict=True)] == alone


def test_a_closed_generator_is_a_usage_error(micro_bundle: Path) -> None:
    with Generator.load(str(micro_bundle)) as generator:
        started = generator.stream(PROMPT, max_tokens=3)
        next(started)
    assert len(list(started)) <= 2
    with pytest.raises(UsageError, match="the generator is closed"):
        generator.stream(PROMPT)


def test_token_ids_are_continued_as_their_text(generator: Generator) -> None:
    ids = generator.encode_prompt(PROMPT)
    expected = generator.generate(PROMPT + " ", max_tokens=20, sampling=SamplingConfig(seed=3))
    found = generator.generate(ids, max_tokens=20, sampling=SamplingConfig(seed=3))
    assert found.tokens == expected.tokens
    assert found.text.lstrip(" ") == expected.text
    assert found.prompt_tokens == len(ids)


@pytest.mark.parametrize("ids", [[], [1000], [-1], [1.0], [True], ["a"], [[1]]])
def test_invalid_token_ids_are_usage_errors(generator: Generator, ids: list[Any]) -> None:
    with pytest.raises(UsageError):
        generator.stream(ids)


@pytest.mark.parametrize("top_k", [0, 3])
def test_eos_waits_for_min_tokens(generator: Generator, top_k: int) -> None:
    biased = SamplingConfig(logit_bias={EOS_ID: 100.0}, top_k=top_k, seed=1)
    assert generator.generate(PROMPT, sampling=biased).tokens == (EOS_ID,)
    found = generator.generate(PROMPT, sampling=biased, min_tokens=5).tokens
    assert len(found) == 6
    assert found.index(EOS_ID) == 5
    with pytest.raises(UsageError, match="min_tokens"):
        generator.stream(PROMPT, max_tokens=4, min_tokens=5)
