"""Archives: any damage is detected; a hostile one is refused, unexecuted, with little memory."""

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

from tests.support.forgery import (
    LABEL,
    SMALL,
    PickledCall,
    add_zip64_records,
    forge,
    forge_zip,
    make_content,
    make_zip,
    seal,
)

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.core.errors import CheckpointError  # noqa: E402
from tinyedge.train.model import TinyTransformer  # noqa: E402
from tinyedge.train.storage import archive, checkpoint  # noqa: E402

MB = 1 << 20


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("intact") / "best_model.pt"
    checkpoint.save(path, make_content())
    return path.read_bytes()


def test_each_of_200_truncations_is_detected(intact: bytes, tmp_path: Path) -> None:
    random_source = random.Random(0)
    path = tmp_path / "cut.pt"
    path.write_bytes(intact)
    for length in sorted((random_source.randrange(1, len(intact)) for _ in range(200)), reverse=True):
        os.truncate(path, length)
        with pytest.raises(CheckpointError, match=r"cut\.pt is truncated"):
            checkpoint.load(path)


def test_each_of_500_flipped_bits_is_detected(intact: bytes, tmp_path: Path) -> None:
    random_source = random.Random(0)
    path = tmp_path / "flipped.pt"
    path.write_bytes(intact)
    ends = [*range(8), *range(len(intact) - 90, len(intact))]  # start and end of the zip and of the digest
    places = [*ends, *(random_source.randrange(len(intact)) for _ in range(500 - len(ends)))]
    with path.open("r+b", buffering=0) as file:
        for place in places:
            os.pwrite(file.fileno(), bytes([intact[place] ^ 1 << random_source.randrange(8)]), place)
            with pytest.raises(CheckpointError, match=r"flipped\.pt is (damaged|truncated)"):
                checkpoint.load(path)
            os.pwrite(file.fileno(), intact[place : place + 1], place)
    assert set(checkpoint.load(path)) == set(make_content())


def test_an_archive_is_read_as_it_was_written(tmp_path: Path) -> None:
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
    return make_content(model_state_dict={**state, **changes})


def config(**changes: Any) -> dict[str, Any]:
    return make_content(config={**make_content()["config"], **changes})


def make_laughing_list(depth: int) -> list[Any]:
    """Return a nested list of 10 to the power of `depth` items in little memory."""
    items: list[Any] = ["ha"]
    for _ in range(depth):
        items = [items] * 10
    return items


def make_hostile_archives(mark: Path) -> Iterator[tuple[str, bytes, str]]:
    """Yield name, bytes and expected message of hostile archives. Executed code would create `mark`."""
    touch = f"touch {mark}"
    code = f"open({str(mark)!r}, 'w')"
    calls = {
        "system": PickledCall(os.system, touch),
        "eval": PickledCall(eval, code),
        "exec": PickledCall(exec, code),
        "popen": PickledCall(subprocess.Popen, touch, -1, None, None, None, None, None, True, True),
        "getattr": PickledCall(getattr, "", "join"),
        "touch": PickledCall(Path.touch, Path(mark)),
        "bytearray": PickledCall(bytearray, 1000 * MB),
        "import": PickledCall(__import__, "antigravity"),
    }
    for name, call in calls.items():
        yield f"calls-{name}", forge(make_content(config=call)), "would call"
        yield f"nested-{name}", forge(make_content(model_state_dict={"a": [{"b": (call,)}]})), "would call"
    foreign = "is not an archive that tinyedge writes"
    yield "raw-pickle", pickle.dumps(PickledCall(os.system, touch)), "was not written by tinyedge"
    yield "sealed-pickle", seal(pickle.dumps(PickledCall(os.system, touch)) + b"\0" * 200), foreign
    yield "legacy", forge(make_content(), _use_new_zipfile_serialization=False), foreign
    listing = {"a/data.pkl": b"\x80\x02}.", "a/version": b"3\n"}
    deflated = zipfile.ZIP_DEFLATED
    yield "zip-bomb", forge_zip({**listing, "a/data/0": bytes(200 * MB)}, deflated), foreign
    yield "pickle-bomb", forge_zip({**listing, "a/data.pkl": b"\x80\x02" + b"]0" * (5 * MB) + b"]."}), foreign
    yield "operation-bomb", forge_zip({**listing, "a/data.pkl": b"\x80\x02" + b"]0" * MB + b"]."}), foreign
    yield "directory-bomb", forge_zip({**listing, **{f"a/{n}": b"" for n in range(20_000)}}), foreign
    yield "two-pickles", forge_zip({**listing, "b/data.pkl": b"\x80\x02}."}), foreign
    bomb = pickle.dumps(PickledCall(bytearray, 1000 * MB), protocol=2)
    yield from make_ambiguous_archives(bomb)
    stack_global = pickle.dumps(PickledCall(bytearray, 1000 * MB), protocol=4)
    yield "stack-global", forge_zip({**listing, "a/data.pkl": stack_global}), foreign
    yield "no-pickle", forge_zip({"a/version": b"3\n"}), foreign
    yield "not-a-zip", seal(bytes(1000)), foreign
    yield "no-mapping", forge([1, 2]), "format 'list', this version reads 1"
    size = "size mismatch"
    yield "wrong-shape", forge(weights(**{"output.weight": torch.zeros(1000, 65)})), size
    yield "wrong-type", forge(weights(**{"output.weight": torch.zeros(1000, 64).double()})), size
    yield "no-tensor", forge(weights(**{"output.weight": 3})), size
    yield "other-names", forge(weights(**{"evil.weight": torch.zeros(1)})), size
    yield "no-weights", forge(make_content(model_state_dict=[1])), size
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
    yield "laughing-config", forge(config(summary={"epochs": make_laughing_list(9)})), "no valid config"
    yield "tensor-config", forge(config(summary={"epochs": torch.zeros(3)})), "no valid config"


def make_ambiguous_archives(bomb: bytes) -> Iterator[tuple[str, bytes, str]]:
    """Yield archives in which torch and Python's zipfile find different pickles; with the error."""
    foreign = "is not an archive that tinyedge writes"
    harmless = b"\x80\x02}."
    # torch takes the folder of the first record, and ignores the case of names.
    first = {"a/DATA.PKL": bomb, "a/version": b"3\n", "b/data.pkl": harmless}
    yield "other-case", forge_zip(first), "cannot be read as a checkpoint"
    yield "other-folder", forge_zip({"a/x": b"", "b/data.pkl": harmless, "a/data.pkl": bomb}), foreign
    # A file that does not start as a zip is a bare pickle to torch, whatever follows.
    archive = forge_zip({"a/version": b"3\n", "a/data.pkl": harmless})
    yield "pickle-before-zip", seal(bomb + archive[: -len(LABEL) - 64 - 2] + b"\0\0"), foreign
    # Python looks for zip64's record before its locator, torch where the locator says.
    inner = add_zip64_records(make_zip({"a/version": b"3\n", "a/data.pkl": bomb}))
    outer = bytearray(add_zip64_records(make_zip({"a/version": b"3\n", "a/data.pkl": harmless}, inner)))
    at = outer.rindex(b"PK\x06\x07")
    outer[at + 8 : at + 16] = inner.rindex(b"PK\x06\x06").to_bytes(8, "little")
    yield "other-directory", seal(bytes(outer)), "is a checkpoint of format None"


# Reads each file and prints the result, and at the end how much memory all of them took.
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


def test_hostile_archives_are_refused_with_a_message(tmp_path: Path) -> None:
    folder, mark = tmp_path / "hostile", tmp_path / "mark"
    folder.mkdir()
    words = {}
    for name, data, expected in make_hostile_archives(mark):
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


def test_a_missing_checkpoint_names_the_earlier_runs_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "previous").mkdir()
    with pytest.raises(CheckpointError) as caught:
        archive.read(tmp_path / "best_model.pt")
    assert str(tmp_path / "previous") in caught.value.hint
