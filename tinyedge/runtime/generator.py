"""A bundle that writes: prompt in, tokens and text out as they come.

Knows the session, the sampler and the tokenizer, and puts them together; knows no terminal and no network.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

from tinyedge.bundle.bundle import Bundle, load_bundle
from tinyedge.bundle.manifest import MODEL_FILE, TOKENIZER_FILE
from tinyedge.core.arrays import Logits, log_softmax
from tinyedge.core.errors import BundleError, UsageError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.core.window import window_start
from tinyedge.runtime.content_filter import ContentFilter, ContentMatcher
from tinyedge.runtime.sampler import Sampler, find_largest
from tinyedge.runtime.session import Decoder, Session
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, TextStream, Tokenizer

LINE_BREAK = re.compile("\r\n|\r|\n")

FinishReason = Literal["stop", "length", "content_filter"]

DEFAULT_SAMPLING = SamplingConfig()
BANNED_IDS = (UNK_ID, PAD_ID, BOS_ID)  # say nothing that a reader wants
BANNED_IDS_AFTER_EOS = (UNK_ID, PAD_ID)  # the next line starts with BOS, as in training


# This and Completion are tuples by name: every start of the device pays for making a frozen dataclass.
class Timings(NamedTuple):
    """Seconds of a generation: until its first token, tokenizing the prompt included, and from there on.

    The time that a caller keeps a piece before it asks for the next is in `decode`.
    """

    first_token: float
    decode: float


@dataclass(slots=True)  # not frozen, which takes four times as long to make
class Piece:
    """One step of a generation.

    token: its id. text: what can be shown since the step before; may be empty, or more than this token's.
    index: 0 for the first generated token. finish_reason: on the last token why it is the last: "stop" (EOS
    or a stop string), "length" (max_tokens) or "content_filter" (a word that is not to be shown). slid: the
    model no longer saw the beginning of the prompt.
    logprob: the token's log probability, in nats, by the model alone: before bias, penalties, temperature and
    filters; top_logprobs: ids and log probabilities of the likeliest, likeliest first. Both where they were
    asked for. timings: on the last token.
    """

    token: int
    text: str
    index: int
    finish_reason: FinishReason | None
    slid: bool
    logprob: float | None = None
    top_logprobs: tuple[tuple[int, float], ...] = ()
    timings: Timings | None = None


class Completion(NamedTuple):
    """A whole generation. text: without the prompt, the stop string and what the content filter pending back.

    tokens: ids, a final EOS included, and those of what was not shown.

    prompt_tokens: with BOS. slid: the beginning of the prompt fell out of the context on the way.
    """

    text: str
    tokens: tuple[int, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    slid: bool


class Generator:
    """A loaded bundle. Any number of threads may generate with it at once: each text has a cache of its own.

    `with Generator.load(path) as generator:` gives the memory back at the end.
    """

    def __init__(self, bundle: Bundle, tokenizer: Tokenizer, session: Session) -> None:
        self.bundle = bundle
        self.config = bundle.config
        self.tokenizer = tokenizer
        self._session: Session | None = session

    @classmethod
    def load(cls, bundle_path: Path | str, threads: int = 1) -> "Generator":
        """Checks the bundle and loads it: afterwards its bytes live in the session and tokenizer alone.

        Raises BundleError or TokenizerError where it doesn't fit, UsageError for `threads`.
        """
        return cls.of(load_bundle(Path(bundle_path)), threads)

    @classmethod
    def of(cls, whole: Bundle, threads: int = 1) -> "Generator":
        """Loads a bundle that was checked. Raises as `load` does."""
        session = Session(whole.model, whole.config, threads, str(whole.path / MODEL_FILE))
        # The graph comes first, and its bytes go at once: the tokenizer fits into the memory that they leave.
        pieces, whole = whole.tokenizer, whole.without_bytes()
        file = whole.path / TOKENIZER_FILE
        tokenizer = Tokenizer(pieces, str(file), whole.manifest["files"][TOKENIZER_FILE]["sha256"])
        if tokenizer.vocab_size != whole.config.vocab_size:
            raise BundleError(
                f"{file} has {tokenizer.vocab_size} pieces, the model expects {whole.config.vocab_size}",
                "export the bundle again with the tokenizer that the model was trained with",
            )
        return cls(whole, tokenizer, session)

    def __enter__(self) -> "Generator":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drops the model; streams that are under way still end, new ones raise UsageError."""
        self._session = None

    @property
    def session(self) -> Session:
        """The loaded model. Raises UsageError once it is closed."""
        if self._session is None:
            raise UsageError("the generator is closed", "load the bundle again")
        return self._session

    def encode_prompt(self, prompt: str) -> list[int]:
        """The tokens that a prompt is fed as: BOS and its pieces; a line break is EOS, BOS."""
        first, *others = LINE_BREAK.split(prompt)
        tokens = [BOS_ID, *self.tokenizer.encode(first)]
        for line in others:
            tokens += [EOS_ID, BOS_ID, *self.tokenizer.encode(line)]
        return tokens

    def stream(
        self,
        prompt: str,
        *,
        max_tokens: int = 64,
        sampling: SamplingConfig = DEFAULT_SAMPLING,
        stop: Sequence[str] = (),
        ignore_eos: bool = False,
        logprobs: int | None = None,
        content_filter: ContentFilter | None = None,
    ) -> Iterator[Piece]:
        """Continues `prompt`, a token at a time, until EOS, a stop string, a filtered word or `max_tokens`.

        The texts put together are the continuation: it ends before the stop string or the word that
        `content_filter` lists, and no half character and no beginning of either is shown too early. With
        `ignore_eos`, EOS is a line break. Prompt and continuation may be longer than the context: the model
        then sees the window of `window_start`.
        logprobs: have each piece carry its log probability and those of that many likeliest tokens.

        Raises UsageError, before the first token is asked for, where an argument can't work.
        """
        if not isinstance(prompt, str):
            raise UsageError(f"the prompt is {type(prompt).__name__}, not text")
        if type(max_tokens) is not int:
            raise UsageError(f"--max-tokens {max_tokens!r} is not a whole number")
        if max_tokens < 1:
            raise UsageError(f"--max-tokens {max_tokens} is less than 1")
        if not isinstance(sampling, SamplingConfig):
            raise UsageError(f"sampling is {type(sampling).__name__}, not a SamplingConfig")
        if content_filter is not None and not isinstance(content_filter, ContentFilter):
            raise UsageError(f"the content filter is {type(content_filter).__name__}, not a ContentFilter")
        size = self.config.vocab_size
        if logprobs is not None and (type(logprobs) is not int or not 0 <= logprobs <= size):
            raise UsageError(f"--logprobs {logprobs!r} is outside 0-{size}")
        sampler = Sampler(sampling, size)
        top_k_count = sampling.candidates + len(BANNED_IDS) if sampling.candidates else 0
        if top_k_count >= size:
            top_k_count = 0
        decoder = self.session.decoder(top_k_count)
        return self._stream(
            prompt,
            max_tokens,
            sampler,
            decoder,
            top_k_count > 0,
            StopStringMatcher(stop),
            content_filter.watch(prompt) if content_filter else None,
            ignore_eos,
            logprobs,
        )

    def generate(
        self,
        prompt: str,
        *,
        max_tokens: int = 64,
        sampling: SamplingConfig = DEFAULT_SAMPLING,
        stop: Sequence[str] = (),
        ignore_eos: bool = False,
        content_filter: ContentFilter | None = None,
    ) -> Completion:
        """What `stream` yields, as one piece."""
        pieces = list(
            self.stream(
                prompt,
                max_tokens=max_tokens,
                sampling=sampling,
                stop=stop,
                ignore_eos=ignore_eos,
                content_filter=content_filter,
            )
        )
        last = pieces[-1]
        assert last.finish_reason is not None
        return Completion(
            text="".join(piece.text for piece in pieces),
            tokens=tuple(piece.token for piece in pieces),
            finish_reason=last.finish_reason,
            prompt_tokens=len(self.encode_prompt(prompt)),
            slid=last.slid,
        )

    def _stream(
        self,
        prompt: str,
        max_tokens: int,
        sampler: Sampler,
        decoder: Decoder,
        use_top_k: bool,
        stop_matcher: "StopStringMatcher",
        content_matcher: ContentMatcher | None,
        ignore_eos: bool,
        logprobs: int | None,
    ) -> Iterator[Piece]:
        started = first_token_at = time.perf_counter()
        context = self.config.max_seq_length
        tokens = self.encode_prompt(prompt)
        sampler.count_tokens(tokens)
        # A space that ends the prompt has no token of its own: the first word must not bring a second one.
        text = TextStream(self.tokenizer, () if prompt[-1:].isspace() else tokens)
        start = window_start(len(tokens), context)
        logits = decoder.prefill(tokens[start:])
        for index in range(max_tokens):
            banned_ids = BANNED_IDS_AFTER_EOS if ignore_eos and tokens[-1] == EOS_ID else BANNED_IDS
            if use_top_k:
                token = sampler.sample_top_k(decoder.top_logits, decoder.top_ids, banned_ids)
            else:
                token = sampler.sample(logits, banned_ids)
            logprob, top = _compute_logprobs(logits, token, logprobs)
            tokens.append(token)
            is_end = token == EOS_ID and not ignore_eos
            is_last = is_end or index == max_tokens - 1
            shown = ("" if is_end else text.push(token)) + (text.flush() if is_last else "")
            if (
                content_matcher
            ):  # before the stop strings: one that ends inside a listed word would show half of it
                shown = content_matcher.push(shown) + (content_matcher.flush() if is_last else "")
            is_blocked = content_matcher is not None and content_matcher.stopped
            shown = stop_matcher.push(shown) + (stop_matcher.flush() if is_last or is_blocked else "")
            reason: FinishReason | None = None
            if stop_matcher.stopped or (is_end and not is_blocked):
                reason = "stop"
            elif is_blocked:
                reason = "content_filter"
            elif is_last:
                reason = "length"
            if index == 0:
                first_token_at = time.perf_counter()
            timings = (
                Timings(first_token_at - started, time.perf_counter() - first_token_at) if reason else None
            )
            yield Piece(token, shown, index, reason, start > 0, logprob, top, timings)
            if reason:
                return
            slid = window_start(len(tokens), context)
            if slid > start:
                start = slid
                logits = decoder.prefill(tokens[start:])
            else:
                logits = decoder.step(token)


def _compute_logprobs(
    logits: Logits, token: int, count: int | None
) -> tuple[float | None, tuple[tuple[int, float], ...]]:
    """Of `token` and of the `count` likeliest, by logits (V,); nothing where `count` is None."""
    if count is None:
        return None, ()
    found = log_softmax(logits)
    likeliest = find_largest(logits, count) if count else ()
    return float(found[token]), tuple((int(one), float(found[one])) for one in likeliest)


class StopStringMatcher:
    """Lets text through up to the first stop string, and holds back what may be the beginning of one.

    First is the one that is complete first; how the text is cut in pieces makes no difference.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop_strings = (stop,) if isinstance(stop, str) else tuple(stop)
        if not all(isinstance(text, str) for text in self._stop_strings):
            raise UsageError("--stop is not text")
        if not all(self._stop_strings):
            raise UsageError("--stop is empty", "leave it out, or pass the text to stop before")
        self._pending = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """What of the text so far may be shown now."""
        if not self._stop_strings:
            return text
        if self.stopped:
            return ""
        text = self._pending + text
        found = [(at + len(stop), at) for stop in self._stop_strings if (at := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            shown = min(found)[1]
        else:
            shown = len(text) - max((_find_overlap(text, stop) for stop in self._stop_strings), default=0)
        self._pending = "" if self.stopped else text[shown:]
        return text[:shown]

    def flush(self) -> str:
        """What was pending back, once no more text comes."""
        pending, self._pending = self._pending, ""
        return pending


def _find_overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that is a beginning of `stop`, but not all of it."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
