"""A bundle with a table of n-grams: all that a decoder reports is about the mixture, in both engines."""

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.tables import make_content, read_layout, write_part
from tests.support.engines import ENGINES, use_engine
from tinyedge.bundle.bundle import Bundle, load_bundle
from tinyedge.core.arrays import Logits
from tinyedge.core.engine import KERNELS, VARIABLE
from tinyedge.core.errors import BundleError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.core.window import window_start
from tinyedge.forms.form import Form
from tinyedge.ngram.mapped_file import NgramFile
from tinyedge.ngram.mixture import MixedModel, mix
from tinyedge.ngram.table import NgramTable
from tinyedge.runtime.bundle_model import BundleModel
from tinyedge.runtime.decoder import Decoder, Session
from tinyedge.runtime.engine import open_session
from tinyedge.runtime.generator import BANNED_IDS, Generator
from tinyedge.runtime.top_k import select_top_k
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, Tokenizer

SENTENCES = (
    "The teacher found a silver key.",
    "The captain found the teacher.",
    "El maestro de plata encontró una llave.",
    "Una llave de plata para la captain.",
)
GREEDY = SamplingConfig(temperature=0)
PROMPT = "The teacher found"


@pytest.fixture(scope="module")
def plain(micro_bundle_fp32: Path) -> Bundle:
    return load_bundle(micro_bundle_fp32)


@pytest.fixture(scope="module")
def content(plain: Bundle) -> bytes:
    """A table of sentences, the first ones of which the prompts begin with."""
    tokenizer, draw = Tokenizer(plain.tokenizer), random.Random(1)
    text: list[int] = []
    for sentence in draw.choices(SENTENCES, k=400):
        words = [word for word in sentence.split() if draw.random() < 0.9]
        text += [BOS_ID, *tokenizer.encode(" ".join(words)), EOS_ID]
    return bytes(make_content(plain.config.vocab_size, text=text))


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def open_mixed(bundle: Bundle, engine: str, content: bytes | bytearray | None) -> Session:
    ngrams = None if content is None else NgramFile(bytes(content))
    with use_engine(engine):
        return open_session(bundle.model, bundle.config, weights=bundle.weights, ngrams=ngrams)


@pytest.fixture(scope="module")
def mixed(plain: Bundle, engine: str, content: bytes) -> Session:
    return open_mixed(plain, engine, content)


@pytest.fixture(scope="module")
def expect(plain: Bundle, engine: str, content: bytes) -> Callable[[list[int]], Logits]:
    """The mixture after a text, from the logits of the model alone."""
    decoder, table = open_mixed(plain, engine, None).decoder(), NgramTable(NgramFile(content))
    return lambda text: mix(decoder.prefill(text), table, text)


def load_generator(bundle: Bundle, engine: str, content: bytes | None) -> Generator:
    with use_engine(engine):
        return Generator.of(bundle._replace(ngrams=NgramFile(content) if content else None))


@pytest.fixture(scope="module")
def generator(plain: Bundle, engine: str, content: bytes) -> Generator:
    return load_generator(plain, engine, content)


@pytest.fixture(scope="module")
def text(plain: Bundle) -> list[int]:
    return [BOS_ID, *Tokenizer(plain.tokenizer).encode("The teacher found una llave de plata.")]


def require_near(decoder: Decoder, expected: Logits) -> None:
    np.testing.assert_allclose(decoder.logits(), expected, rtol=0, atol=2e-5)


def test_each_step_is_mixed_with_what_follows_its_text(
    mixed: Session, expect: Callable[[list[int]], Logits], text: list[int]
) -> None:
    decoder = mixed.decoder()
    decoder.restart(text[:2])
    for end in range(2, len(text) + 1):
        require_near(decoder, expect(text[:end]))
        if end < len(text):
            decoder.append(text[end])


def test_a_text_that_is_cut_or_asked_again_is_mixed_with_its_own_tokens(
    mixed: Session, expect: Callable[[list[int]], Logits], text: list[int]
) -> None:
    decoder = mixed.decoder()
    decoder.restart(text)
    require_near(decoder, expect(text))
    decoder.recompute(4, text[3])
    require_near(decoder, expect(text[:4]))
    decoder.recompute(len(text), text[-1])
    require_near(decoder, expect(text))
    decoder.truncate(5)
    decoder.append(text[1])
    require_near(decoder, expect([*text[:5], text[1]]))


def test_all_reports_are_about_the_same_log_probabilities(mixed: Session, text: list[int]) -> None:
    decoder = mixed.decoder(4)
    logits = decoder.prefill(text).copy()
    assert np.exp(logits.astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)
    for count in (1, 4, 100, len(logits)):
        ids, values = decoder.largest(count)
        assert values == logits[ids].tolist() == np.sort(logits)[::-1][:count].tolist()
        assert all(
            first < second for first, second in itertools.pairwise(ids) if logits[first] == logits[second]
        )
    assert decoder.score([5, 999, 0]) == (logits[[5, 999, 0]].tolist(), 0.0)
    sampling = SamplingConfig()
    ids, values = decoder.largest(sampling.candidates + 1)
    for point in np.linspace(0, 0.999, 30).tolist():
        assert decoder.draw(sampling, point, (5,)) == select_top_k(ids, values, sampling, point, (5,))


def test_a_model_is_evaluated_as_the_mixture(
    plain: Bundle, mixed: Session, engine: str, content: bytes, text: list[int]
) -> None:
    model = BundleModel(open_mixed(plain, engine, None))
    expected = MixedModel(model, NgramTable(NgramFile(content)))
    tokens = np.array(text, dtype=np.uint16)
    np.testing.assert_allclose(
        BundleModel(mixed).logits(tokens, 2), expected.logits(tokens, 2), rtol=0, atol=2e-5
    )


def test_a_greedy_text_longer_than_the_context_follows_the_mixture(
    generator: Generator, expect: Callable[[list[int]], Logits]
) -> None:
    tokens = generator.encode_prompt(PROMPT + " ")
    count = 60
    found = generator.generate(tokens, max_tokens=count, min_tokens=count, sampling=GREEDY)
    assert found.slid
    for token in found.tokens:
        window = tokens[window_start(len(tokens), generator.config.max_seq_length) :]
        logits = expect(window)
        logits[[*BANNED_IDS, EOS_ID]] = -np.inf
        assert token == logits.argmax()
        tokens.append(token)


def test_log_probabilities_of_a_text_are_those_of_the_mixture(
    generator: Generator, expect: Callable[[list[int]], Logits]
) -> None:
    tokens = generator.encode_prompt(PROMPT)
    for piece in generator.stream(tokens, max_tokens=10, logprobs=2, sampling=SamplingConfig(seed=4)):
        logits = expect(tokens)
        assert piece.logprob == pytest.approx(logits[piece.token], abs=3e-5)
        assert [one for one, _ in piece.top_logprobs] == np.argsort(-logits, kind="stable")[:2].tolist()
        tokens.append(piece.token)


@pytest.mark.parametrize("prompt", [PROMPT, "The teach", "El maestro de pla", "Una ll", "The captain, "])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"min_tokens": 20},
        {"form": Form.regex("[a-z ]{5,30}[.]")},
        {"form": Form.choices(["silver", "plata", "the captain"])},
        {"sampling": SamplingConfig(temperature=0, repetition_penalty=1.2)},
        {"sampling": SamplingConfig(seed=7, top_k=3)},
    ],
    ids=str,
)
def test_both_engines_write_the_same_text(
    plain: Bundle, content: bytes, prompt: str, settings: dict[str, object]
) -> None:
    options = {"max_tokens": 30, "sampling": GREEDY, **settings}
    texts = {
        load_generator(plain, name, content).generate(prompt, **options).tokens  # type: ignore[arg-type]
        for name in ENGINES
    }
    assert len(texts) == 1


def test_the_table_changes_the_text(plain: Bundle, engine: str, generator: Generator) -> None:
    alone = load_generator(plain, engine, None).generate(PROMPT, max_tokens=8, sampling=GREEDY)
    assert generator.generate(PROMPT, max_tokens=8, sampling=GREEDY).tokens != alone.tokens


def test_only_the_blocks_that_a_text_needs_are_read(plain: Bundle, engine: str) -> None:
    ngrams = NgramFile(bytes(make_content(plain.config.vocab_size)))
    with use_engine(engine):
        session = open_session(plain.model, plain.config, weights=plain.weights, ngrams=ngrams)
    assert not any(ngrams.is_checked)
    session.decoder().prefill([BOS_ID])
    assert 0 < sum(ngrams.is_checked) < len(ngrams.is_checked)


def test_a_table_of_another_vocabulary_is_refused(plain: Bundle, engine: str) -> None:
    with pytest.raises(BundleError, match=r"ngrams\.bin has 999 tokens, the model's vocabulary has 1000"):
        open_mixed(plain, engine, make_content(999))


def test_a_damaged_block_is_an_error_each_time(plain: Bundle, engine: str, content: bytes) -> None:
    damaged = bytearray(content)
    damaged[read_layout(content).unigrams.offset] ^= 1
    decoder = open_mixed(plain, engine, damaged).decoder()
    for _ in range(2):
        with pytest.raises(BundleError, match=r"ngrams\.bin is damaged between bytes"):
            decoder.prefill([BOS_ID, 9])


def test_wrong_content_with_valid_hashes_is_an_error_of_the_bundle(
    plain: Bundle, engine: str, content: bytes
) -> None:
    damaged = bytearray(content)
    write_part(damaged, read_layout(content).rows[0].offset, "<I", 1 << 31)
    decoder = open_mixed(plain, engine, damaged).decoder()
    with pytest.raises(BundleError, match=r"ngrams\.bin has an invalid row 0 of order 2"):
        decoder.prefill([BOS_ID])


def test_a_text_of_the_kernels_with_a_table_needs_no_numpy(
    plain: Bundle, content: bytes, tmp_path: Path
) -> None:
    pytest.importorskip("tinyedge_kernels")
    (tmp_path / "ngrams.bin").write_bytes(content)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tinyedge.bundle.bundle import load_bundle\n"
        "from tinyedge.ngram.mapped_file import NgramFile\n"
        "from tinyedge.runtime.generator import Generator\n"
        "ngrams = NgramFile.open(Path(sys.argv[2]))\n"
        "generator = Generator.of(load_bundle(Path(sys.argv[1]))._replace(ngrams=ngrams))\n"
        "generator.generate('The teacher', max_tokens=20)\n"
        "print(generator.session.engine.name, 'numpy' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(plain.path), str(tmp_path / "ngrams.bin")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, VARIABLE: KERNELS},
    )
    assert done.stdout.split() == [KERNELS, "False"]
