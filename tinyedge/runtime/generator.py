"""Text generation from a bundle: a prompt in, tokens and text out as they are computed.

Connects model, sampler, tokenizer and content filter. Does not know the terminal or the network.
"""

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tinyedge.bundle.bundle import Bundle, load_bundle
from tinyedge.bundle.manifest import MODEL_FILE, TOKENIZER_FILE
from tinyedge.core.arrays import Logits
from tinyedge.core.errors import BundleError, UsageError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.core.settings import require_range
from tinyedge.core.window import window_start
from tinyedge.runtime.content_filter import ContentFilter, ContentMatcher
from tinyedge.runtime.decoder import Decoder, Session
from tinyedge.runtime.engine import open_session
from tinyedge.runtime.pieces import Completion, FinishReason, Piece, Timings
from tinyedge.runtime.sampler import Sampler
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, TextStream, Tokenizer

if TYPE_CHECKING:  # imported when they are needed, because each import slows down every start
    from tinyedge.forms.form import Form
    from tinyedge.forms.matcher import FormText, Matcher
    from tinyedge.runtime.form_sampling import FormMatchers
    from tinyedge.runtime.stop_strings import StopStringMatcher
    from tinyedge.runtime.token_healing import LastWord

LINE_BREAK = re.compile("\r\n|\r|\n")

DEFAULT_SAMPLING = SamplingConfig()
BANNED_IDS = (UNK_ID, PAD_ID, BOS_ID)  # they have no text
BANNED_IDS_AFTER_EOS = (UNK_ID, PAD_ID)  # the next line starts with BOS, as in training


class Generator:
    """A loaded bundle. Any number of threads can generate at the same time: each text has its own cache.

    `with Generator.load(path) as generator:` frees the memory at the end.
    """

    def __init__(self, bundle: Bundle, tokenizer: Tokenizer, session: Session) -> None:
        self.bundle = bundle
        self.config = bundle.config
        self.tokenizer = tokenizer
        self._session: Session | None = session
        self._matchers: FormMatchers | None = None  # made when a form is first used

    @classmethod
    def load(cls, bundle_path: Path | str, threads: int | None = None) -> "Generator":
        """Verify a bundle and load it; afterwards its bytes are only in the session and the tokenizer.

        Args:
            bundle_path: Folder of the bundle.
            threads: CPU cores used to compute a token, 1-64; None for the default of `generate` and `serve`.

        Raises:
            BundleError: A file of the bundle is missing, damaged or does not match the manifest.
            EngineError: TINYEDGE_ENGINE chooses an engine that cannot run here.
            TokenizerError: The tokenizer cannot be loaded.
            UsageError: `threads` is outside its range.
        """
        return cls.of(load_bundle(Path(bundle_path)), threads)

    @classmethod
    def of(cls, whole: Bundle, threads: int | None = None) -> "Generator":
        """Load a bundle that `load_bundle` verified; arguments and errors are those of `load`."""
        name = str(whole.path / MODEL_FILE)
        session = open_session(
            whole.model, whole.config, threads, name, weights=whole.weights, ngrams=whole.ngrams
        )
        # The graph is loaded first and its bytes are dropped: the tokenizer fits into the memory this frees.
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
        """Release the model. Streams in progress can still finish; new ones raise UsageError."""
        self._session = None

    @property
    def session(self) -> Session:
        """The loaded model.

        Raises:
            UsageError: The generator is closed.
        """
        if self._session is None:
            raise UsageError("the generator is closed", "load the bundle again")
        return self._session

    def encode_prompt(self, prompt: str | Sequence[int]) -> list[int]:
        """Convert a prompt to token ids: BOS and its pieces, with EOS and BOS in place of a line break.

        A prompt of token ids is returned as it is, without an additional BOS.

        Raises:
            UsageError: There is no token id, or one is not in the vocabulary.
        """
        if not isinstance(prompt, str):
            return self._require_token_ids(prompt)
        first, *others = LINE_BREAK.split(prompt)
        tokens = [BOS_ID, *self.tokenizer.encode(first)]
        for line in others:
            tokens += [EOS_ID, BOS_ID, *self.tokenizer.encode(line)]
        return tokens

    def prepare_form(self, form: "Form") -> "Matcher":
        """Prepare a form for this bundle's tokenizer; `stream` does it too. The last few are kept.

        Raises:
            UsageError: The tokenizer cannot spell the form.
        """
        if self._matchers is None:
            from tinyedge.runtime.form_sampling import FormMatchers  # other texts start faster

            self._matchers = FormMatchers(self.tokenizer)
        return self._matchers.prepare(form)

    def _require_token_ids(self, ids: Sequence[int]) -> list[int]:
        size = self.config.vocab_size
        found = list(ids)
        if not found:
            raise UsageError("the prompt has no token", "pass at least BOS, token 0")
        for token in found:
            if type(token) is not int or not 0 <= token < size:
                raise UsageError(f"the prompt has the token {token!r}, which is not an id of 0-{size - 1}")
        return found

    def stream(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int = 64,
        min_tokens: int = 0,
        sampling: SamplingConfig = DEFAULT_SAMPLING,
        stop: Sequence[str] = (),
        ignore_eos: bool = False,
        logprobs: int | None = None,
        content_filter: ContentFilter | None = None,
        form: "Form | None" = None,
    ) -> Iterator[Piece]:
        """Continue a prompt, one token at a time.

        The texts of the pieces joined are the continuation. It ends before a stop string or a listed word,
        and neither a part of a character nor the beginning of such a string is shown too early. Prompt and
        continuation may be longer than the context: the model then sees the window of `window_start`.

        Args:
            prompt: Text to continue; may be empty. Or token ids, which the model sees exactly as they are:
                the first one should be BOS.
            max_tokens: Maximum number of tokens to generate, at least 1.
            min_tokens: Number of tokens before which EOS is not generated. A stop string or a listed word
                still ends the text.
            sampling: How the next token is chosen.
            stop: Strings that end the text; none of them may be empty.
            ignore_eos: Whether EOS is a line break, after which the text continues, instead of its end.
            logprobs: Number of most likely tokens, 0 to the vocabulary size, whose log probabilities each
                piece contains in addition to its own; None for none at all.
            content_filter: Listed words that end the text; None for no filter.
            form: Which texts are answers; None for any. The text is then a new one after the prompt: it does
                not begin with a space, and does not complete a word of the prompt. It ends when it cannot
                become longer; with the reason "length" or "content_filter", it may be incomplete.

        Returns:
            The pieces; they are computed as they are requested.

        Raises:
            UsageError: An argument is invalid; raised by this call, not with the first piece.
        """
        if not isinstance(prompt, str | list | tuple):
            raise UsageError(f"the prompt is {type(prompt).__name__}, not text")
        if not isinstance(prompt, str):
            self._require_token_ids(prompt)
        if type(max_tokens) is not int:
            raise UsageError(f"max_tokens {max_tokens!r} is not a whole number", parameters=("max_tokens",))
        if max_tokens < 1:
            raise UsageError(f"max_tokens {max_tokens} is less than 1", parameters=("max_tokens",))
        require_range("min_tokens", min_tokens, 0, max_tokens, whole=True)
        if not isinstance(sampling, SamplingConfig):
            raise UsageError(f"sampling is {type(sampling).__name__}, not a SamplingConfig")
        if content_filter is not None and not isinstance(content_filter, ContentFilter):
            raise UsageError(f"the content filter is {type(content_filter).__name__}, not a ContentFilter")
        size = self.config.vocab_size
        if logprobs is not None:
            require_range("logprobs", logprobs, 0, size, whole=True)
        form_text = None
        if form is not None:
            ended = {"stop": bool(stop), "min_tokens": min_tokens > 0, "ignore_eos": ignore_eos}
            for name in (name for name, is_given in ended.items() if is_given):
                raise UsageError(
                    f"{name} cannot be used with a form, which says where the answer ends",
                    f"omit {name}",
                    (name,),
                )
            form_text = self.prepare_form(form).begin()
        sampler = Sampler(sampling, size)
        # The largest logits suffice for most settings; the banned ones among them need replacements.
        top_k_count = sampler.count_candidates(len(BANNED_IDS) + (min_tokens > 0))
        decoder = self.session.decoder(top_k_count)
        return self._stream(
            prompt,
            max_tokens,
            min_tokens,
            sampler,
            decoder,
            top_k_count > 0,
            _match_stop_strings(stop),
            self._watch(content_filter, prompt) if content_filter else None,
            ignore_eos,
            logprobs,
            form_text,
        )

    def _find_last_word(self, prompt: str | Sequence[int], tokens: Sequence[int]) -> "LastWord | None":
        """Return the word with which a text prompt ends, if it ends with a letter, a digit or a mark."""
        if not isinstance(prompt, str) or not self.tokenizer.ends_in_word(tokens[-1]):
            return None
        from tinyedge.runtime.token_healing import LastWord  # other prompts start faster

        return LastWord(self.tokenizer, tokens, prompt[-1:].isspace())

    def _watch(self, content_filter: ContentFilter, prompt: str | Sequence[int]) -> ContentMatcher:
        return content_filter.watch(prompt if isinstance(prompt, str) else self.tokenizer.decode(prompt))

    def generate(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int = 64,
        min_tokens: int = 0,
        sampling: SamplingConfig = DEFAULT_SAMPLING,
        stop: Sequence[str] = (),
        ignore_eos: bool = False,
        content_filter: ContentFilter | None = None,
        form: "Form | None" = None,
    ) -> Completion:
        """Continue a prompt and return the complete result; arguments and errors are those of `stream`."""
        pieces = list(
            self.stream(
                prompt,
                max_tokens=max_tokens,
                min_tokens=min_tokens,
                sampling=sampling,
                stop=stop,
                ignore_eos=ignore_eos,
                content_filter=content_filter,
                form=form,
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
        prompt: str | Sequence[int],
        max_tokens: int,
        min_tokens: int,
        sampler: Sampler,
        decoder: Decoder,
        use_top_k: bool,
        stop_matcher: "StopStringMatcher | None",
        content_matcher: ContentMatcher | None,
        ignore_eos: bool,
        logprobs: int | None,
        form_text: "FormText | None",
    ) -> Iterator[Piece]:
        if form_text:
            from tinyedge.runtime.form_sampling import sample_in_form
        if logprobs is not None:
            from tinyedge.runtime.logprobs import compute_logprobs  # needs numpy
        started = first_token_at = time.perf_counter()
        context = self.config.max_seq_length
        tokens = self.encode_prompt(prompt)
        last_word = None if form_text else self._find_last_word(prompt, tokens)
        # A space at the end of the prompt has no token of its own: the first word must not add a second one.
        ends_with_space = isinstance(prompt, str) and prompt[-1:].isspace()
        text = TextStream(self.tokenizer, () if ends_with_space or form_text else tokens)
        start = window_start(len(tokens), context)
        if last_word is None:
            sampler.count_tokens(tokens)
            decoder.restart(tokens[start:])
        for index in range(max_tokens):
            overlap = 0
            logits: Logits | None = None  # where they are not the decoder's present ones
            banned_ids: tuple[int, ...] = (
                BANNED_IDS_AFTER_EOS if ignore_eos and tokens[-1] == EOS_ID else BANNED_IDS
            )
            if index < min_tokens and not ignore_eos:  # otherwise, EOS does not end the text
                banned_ids = (*BANNED_IDS, EOS_ID)
            if last_word and index == 0:
                token, replaced, logits = last_word.sample_next(
                    decoder, start, sampler, banned_ids, keep_logits=logprobs is not None
                )
                if replaced:
                    decoder.truncate(len(tokens) - replaced - start)
                    overlap = sum(len(self.tokenizer.piece(typed)) for typed in tokens[-replaced:])
                    del tokens[-replaced:]
            elif form_text:
                token = sample_in_form(form_text, decoder, sampler)
            elif use_top_k:
                token = decoder.draw(sampler.config, sampler.next_point(), banned_ids)
            else:
                token = sampler.sample(decoder.logits(), banned_ids)
            logprob: float | None = None
            top_logprobs: tuple[tuple[int, float], ...] = ()
            if logprobs is not None:
                found = decoder.logits() if logits is None else logits
                logprob, top_logprobs = compute_logprobs(found, token, logprobs)
            tokens.append(token)
            is_end = token == EOS_ID and not ignore_eos
            is_final = form_text is not None and form_text.is_final  # no model is needed to see that it ends
            is_last = is_end or is_final or index == max_tokens - 1
            if overlap:
                shown = self.tokenizer.piece(token)[overlap:].decode()
            else:
                shown = ("" if is_end else text.push(token)) + (text.flush() if is_last else "")
            # Before the stop strings: one that ends inside a listed word would show a part of that word.
            if content_matcher:
                shown = content_matcher.push(shown) + (content_matcher.flush() if is_last else "")
            is_blocked = content_matcher is not None and content_matcher.stopped
            if stop_matcher:
                shown = stop_matcher.push(shown) + (stop_matcher.flush() if is_last or is_blocked else "")
            reason: FinishReason | None = None
            if (stop_matcher and stop_matcher.stopped) or ((is_end or is_final) and not is_blocked):
                reason = "stop"
            elif is_blocked:
                reason = "content_filter"
            elif is_last:
                reason = "length"
            if index == 0:
                first_token_at = time.perf_counter()
            timings = None
            if reason:
                timings = Timings(first_token_at - started, time.perf_counter() - first_token_at)
            yield Piece(token, shown, index, reason, start > 0, logprob, top_logprobs, timings, overlap)
            if reason:
                return
            new_start = window_start(len(tokens), context)
            if new_start != start:  # less only if the first token replaced several
                start = new_start
                decoder.restart(tokens[start:])
            else:
                decoder.append(token)


def _match_stop_strings(stop: Sequence[str]) -> "StopStringMatcher | None":
    if stop in ((), []):
        return None
    from tinyedge.runtime.stop_strings import StopStringMatcher

    return StopStringMatcher(stop)
