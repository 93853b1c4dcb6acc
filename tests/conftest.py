"""The bundles that tests run on; tests/make_micro_bundle.py makes them."""

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

# As the program itself does: threads that wait for each other do not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A shell lets its background jobs ignore Ctrl-C, `nohup` a terminal that goes, and children inherit both:
# what the tests send their processes would not arrive.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)

DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """A run that a signal stopped leaves later ones ignored, and what it starts inherits that; here the
    process goes on."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def micro_bundle() -> Path:
    """The smallest bundle there is, int8. Read it, never write to it: `bundle_copy` is for that."""
    return DATA / "micro_bundle_int8"


@pytest.fixture(scope="session")
def micro_bundle_fp32() -> Path:
    """The same model as `micro_bundle`, not quantized."""
    return DATA / "micro_bundle_fp32"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that a release of this checkout would publish."""
    folder, root = tmp_path_factory.mktemp("dist"), Path(__file__).parents[1]
    command: list[str | Path] = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, root]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def bundle_copy(micro_bundle: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes fresh copies of `micro_bundle` that a test may damage."""

    def copy() -> Path:
        folder = tmp_path / "bundle"
        shutil.rmtree(folder, ignore_errors=True)
        return shutil.copytree(micro_bundle, folder, symlinks=True)

    return copy


@pytest.fixture(scope="session")
def byte_fallback_model() -> bytes:
    """A tokenizer of 1100 pieces, 256 of them single bytes, so that it can spell any text."""
    from tinyedge.text.train_tokenizer import TokenizerConfig, train

    return train(syllable_lines(), "the tests' lines", TokenizerConfig(1100, byte_fallback=True))


# How long an example takes says something about the machine's other work, not about the code.
settings.register_profile("tinyedge", deadline=None)
settings.load_profile("tinyedge")
