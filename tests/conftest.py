"""Fixtures for all tests: the micro bundles (see tests/make_micro_bundle.py), the wheel, a tokenizer."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.syllables import syllable_lines

# As in the program itself: waiting threads do not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Whether the kernels are installed or not; tests of the other engine choose it (tests/support/engines.py).
os.environ["TINYEDGE_ENGINE"] = "onnxruntime"

# A shell makes its background jobs ignore SIGINT, and `nohup` makes a program ignore SIGHUP. Child processes
# inherit both, and would ignore the signals that tests send.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)

DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def restore_signal_handlers() -> Iterator[None]:
    """Restore the handlers after each test: a run that a signal stopped ignores later signals, for good."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def ignored_sigchld() -> Iterator[None]:
    """Ignore SIGCHLD, as a parent may have left it: the exit status of every child is then 0."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.fixture(scope="session")
def micro_bundle() -> Path:
    """The smallest possible bundle, in int8. Tests must not change it; see `bundle_copy`."""
    return DATA / "micro_bundle_int8"


@pytest.fixture(scope="session")
def micro_bundle_fp32() -> Path:
    """The same model as `micro_bundle`, not quantized."""
    return DATA / "micro_bundle_fp32"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built as for a release."""
    folder, root = tmp_path_factory.mktemp("dist"), Path(__file__).parents[1]
    command: list[str | Path] = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, root]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def bundle_copy(micro_bundle: Path, tmp_path: Path) -> Callable[[], Path]:
    """A function that makes a new copy of `micro_bundle`, which a test may damage."""

    def copy() -> Path:
        folder = tmp_path / "bundle"
        shutil.rmtree(folder, ignore_errors=True)
        return shutil.copytree(micro_bundle, folder, symlinks=True)

    return copy


@pytest.fixture(scope="session")
def byte_fallback_model() -> bytes:
    """A tokenizer with 1100 pieces, 256 of them single bytes, so that it can encode any text."""
    from tinyedge.text.train_tokenizer import TokenizerConfig, train

    return train(syllable_lines(), "the tests' lines", TokenizerConfig(1100, byte_fallback=True))


@pytest.fixture(scope="session")
def json_model() -> bytes:
    """A tokenizer of 1000 pieces that can spell JSON."""
    from bench.json_bundle import train_json_tokenizer

    return train_json_tokenizer()


@pytest.fixture(scope="session")
def bytes_model() -> bytes:
    """A tokenizer of 1000 pieces that spells JSON in bytes."""
    from bench.json_bundle import train_json_tokenizer

    return train_json_tokenizer(byte_fallback=True)


@pytest.fixture(scope="session")
def json_bundle(json_model: bytes, micro_bundle_fp32: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that can spell JSON, and whose model does not know it."""
    from bench.json_bundle import write_json_bundle

    return write_json_bundle(micro_bundle_fp32, tmp_path_factory.mktemp("json") / "bundle", json_model)


@pytest.fixture(scope="session")
def command_bundle(bytes_model: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that was trained on one pair, a command to turn on a lamp, until it knows it by heart."""
    pytest.importorskip("torch", reason="the model of this test is trained: extra `train`")
    from tests.support.command_bundle import write_command_bundle

    return write_command_bundle(tmp_path_factory.mktemp("command") / "bundle", bytes_model)


# The duration of an example depends on other programs on the machine.
settings.register_profile("tinyedge", deadline=None)
settings.load_profile("tinyedge")
