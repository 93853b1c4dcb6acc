"""Damage is found to the last bit; a hostile archive is refused in words, unexecuted and in little memory."""

import os
import pickle
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.forgery import SMALL, Call, content, forge, seal, zipped

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.core.errors import CheckpointError  # noqa: E402
from tinyedge.train.model import TinyTransformer  # noqa: E402
from tinyedge.train.storage import archive, checkpoint  # noqa: E402

MB = 1 << 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "best_model.pt"
    checkpoint.save(path, content())
    return path.read_bytes()


def test_each_of_200_cuts_is_found(whole: bytes, tmp_path: Path) -> None:
    chance = random.Random(0)
    path = tmp_path / "cut.pt"
    path.write_bytes(whole)
    for length in sorted((chance.randrange(1, len(whole)) for _ in range(200)), reverse=True):
        os.truncate(path, length)
        with pytest.raises(CheckpointError, match=r"cut\.pt is truncated"):
            checkpoint.load(path)


def test_each_of_500_flipped_bits_is_found(whole: bytes, tmp_path: Path) -> None:
    chance = random.Random(0)
    path = tmp_path / "flipped.pt"
    path.write_bytes(whole)
    ends = [*range(8), *range(len(whole) - 90, len(whole))]  # where the zip and the digest begin and end
    places = [*ends, *(chance.randrange(len(whole)) for _ in range(500 - len(ends)))]
    with path.open("r+b", buffering=0) as file:
        for place in places:
            os.pwrite(file.fileno(), bytes([whole[place] ^ 1 << chance.randrange(8)]), place)
            with pytest.raises(CheckpointError, match=r"flipped\.pt is (damaged|truncated)"):
                checkpoint.load(path)
            os.pwrite(file.fileno(), whole[place : place + 1], place)
    assert set(checkpoint.load(path)) == set(content())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    kinds = ("float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool")
    tensors = {kind: torch.ones(3, dtype=getattr(torch, kind)) for kind in kinds}
    value = {"tensors": tensors, "plain": [1, 2.5, "é", None]}
    with path.open("wb") as file:
        archive.write(file, value)
    found = archive.read(path)
    assert found["plain"] == value["plain"]
    assert all(torch.equal(found["tensors"][name], tensor) for name, tensor in tensors.items())
    assert set(torch.load(path, weights_only=True)) == set(value)


def weights(**changes: Any) -> dict[str, Any]:
    state = TinyTransformer(SMALL).state_dict()
    return content(model_state_dict={**state, **changes})


def config(**changes: Any) -> dict[str, Any]:
    return content(config={**content()["config"], **changes})


def laughing(depth: int) -> list[Any]:
    """A list of 10 to the power of `depth` items that takes no room."""
    items: list[Any] = ["ha"]
    for _ in range(depth):
        items = [items] * 10
    return items


def hostile(mark: Path) -> Iterator[tuple[str, bytes, str]]:
    """Name, bytes, and what must be said of them; whatever is executed leaves a mark."""
    touch = f"touch {mark}"
    code = f"open({str(mark)!r}, 'w')"
    calls = {
        "system": Call(os.system, touch),
        "eval": Call(eval, code),
        "exec": Call(exec, code),
        "popen": Call(subprocess.Popen, touch, -1, None, None, None, None, None, True, True),
        "getattr": Call(getattr, "", "join"),
        "touch": Call(Path.touch, Path(mark)),
        "bytearray": Call(bytearray, 1000 * MB),
        "import": Call(__import__, "antigravity"),
    }
    for name, call in calls.items():
        yield f"calls-{name}", forge(content(config=call)), "would call"
        yield f"nested-{name}", forge(content(model_state_dict={"a": [{"b": (call,)}]})), "would call"
    foreign = "is not an archive that tinyedge writes"
    yield "raw-pickle", pickle.dumps(Call(os.system, touch)), "was not written by tinyedge"
    yield "sealed-pickle", seal(pickle.dumps(Call(os.system, touch)) + b"\0" * 200), foreign
    yield "legacy", forge(content(), _use_new_zipfile_serialization=False), foreign
    listing = {"a/data.pkl": b"\x80\x02}.", "a/version": b"3\n"}
    deflated = zipfile.ZIP_DEFLATED
    yield "zip-bomb", zipped({**listing, "a/data/0": bytes(200 * MB)}, deflated), foreign
    yield "pickle-bomb", zipped({**listing, "a/data.pkl": b"\x80\x02" + b"]0" * (5 * MB) + b"]."}), foreign
    yield "operation-bomb", zipped({**listing, "a/data.pkl": b"\x80\x02" + b"]0" * MB + b"]."}), foreign
    yield "directory-bomb", zipped({**listing, **{f"a/{n}": b"" for n in range(20_000)}}), foreign
    yield "two-pickles", zipped({**listing, "b/data.pkl": b"\x80\x02}."}), foreign
    yield "no-pickle", zipped({"a/version": b"3\n"}), foreign
    yield "not-a-zip", seal(bytes(1000)), foreign
    yield "no-mapping", forge([1, 2]), "format 'list', this version reads 1"
    size = "size mismatch"
    yield "wrong-shape", forge(weights(**{"output.weight": torch.zeros(1000, 65)})), size
    yield "wrong-type", forge(weights(**{"output.weight": torch.zeros(1000, 64).double()})), size
    yield "no-tensor", forge(weights(**{"output.weight": 3})), size
    yield "other-names", forge(weights(**{"evil.weight": torch.zeros(1)})), size
    yield "no-weights", forge(content(model_state_dict=[1])), size
    yield "nan", forge(weights(**{"output.weight": torch.full((1000, 64), torch.nan)})), "NaN or infinity"
    huge = {**SMALL.to_dict(), "vocab_size": 10**12}
    yield "huge-config", forge(config(model=huge)), "vocab_size 1000000000000 is outside"
    wide = {**SMALL.to_dict(), "vocab_size": 32000, "d_model": 512}
    yield "larger-config", forge(config(model=wide)), size
    long = {**SMALL.to_dict(), "vocab_size": 32000}
    names = ("token_embedding.weight", "output.weight")
    one = weights(**{name: torch.zeros(1).expand(32000, 64) for name in names})
    yield "one-number-for-all", forge(one | {"config": config(model=long)["config"]}), size
    yield "text-config", forge(config(model={**SMALL.to_dict(), "d_model": "64"})), "not a whole number"
    yield "laughing-config", forge(config(summary={"epochs": laughing(9)})), "no valid config"
    yield "tensor-config", forge(config(summary={"epochs": torch.zeros(3)})), "no valid config"


# Reads each file and says what became of it, and at the end how much memory all of that took.
READER = """
import sys
from pathlib import Path
from tinyedge.cli.main import explain
from tinyedge.host.memory import read_memory
from tinyedge.train.storage import checkpoint

before = read_memory()["rss"]
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        checkpoint.load_model(path)
        print("accepted", path.name)
    except BaseException as failure:
        print(explain(failure), path.name)
print("grew", max(0, read_memory()["peak"] - before))
"""


def test_hostile_archives_are_refused_in_words(tmp_path: Path) -> None:
    folder, mark = tmp_path / "hostile", tmp_path / "mark"
    folder.mkdir()
    words = {}
    for name, data, expected in hostile(mark):
        (folder / name).write_bytes(data)
        words[name] = expected
    done = subprocess.run(
        [sys.executable, "-c", READER, str(folder)], capture_output=True, text=True, check=True
    )
    *codes, grew = done.stdout.splitlines()
    assert codes == [f"1 {name}" for name in sorted(words)]
    errors = [line for line in done.stderr.splitlines() if not line.startswith("hint: ")]
    assert len(errors) == len(words) > 30
    for name, error in zip(sorted(words), errors, strict=True):
        assert error.startswith("error: ")
        assert words[name] in error, name
        assert len(error) < 400, name
    assert not mark.exists()
    assert int(grew.split()[1]) < 50 * MB
