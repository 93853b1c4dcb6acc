"""Checkpoints of plain torch.save: the guide's are loaded, files of other programs are named."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.forgery import SMALL, PickledCall

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.bundle.bundle import load_bundle  # noqa: E402
from tinyedge.core.errors import CheckpointError  # noqa: E402
from tinyedge.text.tokenizer import model_name  # noqa: E402
from tinyedge.train.model import TinyTransformer  # noqa: E402
from tinyedge.train.storage import checkpoint  # noqa: E402
from tinyedge.train.storage.checkpoint import load_model, load_tokenizer  # noqa: E402

HYPERPARAMETERS = {"vocab_size": 1000, "d_model": 64, "nhead": 2, "num_layers": 1, "learning_rate": 0.0003}


def make_guide_checkpoint(**changes: Any) -> dict[str, Any]:
    """Return the guide's dictionary after a step of AdamW, so that the optimizer has its state."""
    torch.manual_seed(0)
    model = TinyTransformer(SMALL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0003)
    model(torch.zeros((1, 4), dtype=torch.int64)).sum().backward()
    optimizer.step()
    value = {
        "epoch": 10,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "train_loss": 2.5,
        "val_loss": 2.6,
        "config": HYPERPARAMETERS,
    }
    return value | changes


def test_the_guides_checkpoint_is_loaded(tmp_path: Path, micro_bundle: Path) -> None:
    path = tmp_path / "checkpoint_epoch_10.pt"
    torch.save(make_guide_checkpoint(), path)
    trained = load_model(path)
    assert trained.config == SMALL
    assert trained.training == {"epochs": 10, "train_loss": 2.5, "val_loss": 2.6}
    expected = make_guide_checkpoint()["model_state_dict"]
    assert all(torch.equal(value, expected[name]) for name, value in trained.model.state_dict().items())
    (tmp_path / model_name(1000)).write_bytes(load_bundle(micro_bundle).tokenizer)
    assert load_tokenizer(path, trained).vocab_size == 1000
    with pytest.raises(CheckpointError, match=r"plain torch\.save checkpoint") as caught:
        checkpoint.load_resumable(path)
    assert "tinyedge export" in caught.value.hint


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module."])
def test_bare_weights_need_the_number_of_heads(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "pytorch_model.bin"
    weights = make_guide_checkpoint()["model_state_dict"]
    torch.save({prefix + name: value for name, value in weights.items()}, path)
    with pytest.raises(CheckpointError, match="does not record its number of attention heads") as caught:
        load_model(path)
    assert "--nhead" in caught.value.hint
    assert load_model(path, nhead=2).config == SMALL


def other_model() -> dict[str, Any]:
    return {"transformer.h.0.attn.c_attn.weight": torch.zeros(4, 12)}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (make_guide_checkpoint(config={"nhead": 3}), "nhead 3 does not divide d_model 64"),
        (make_guide_checkpoint(config={"nhead": "2"}), "nhead"),
        (make_guide_checkpoint(config=[1]), "does not record its number of attention heads"),
        (make_guide_checkpoint(config=PickledCall(bytearray, 1 << 30)), "would call __builtin__.bytearray"),
        (make_guide_checkpoint(model_state_dict={}), "has no weights under model_state_dict"),
        (other_model(), "torch checkpoint of another model: 1 entries such as 'transformer.h.0.attn.c_attn"),
        ([1, 2], "holds a list, not a dictionary"),
    ],
)
def test_what_cannot_be_loaded_is_named(tmp_path: Path, content: Any, expected: str) -> None:
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"other\.pt") as caught:
        load_model(path)
    assert expected in caught.value.message
    assert len(caught.value.message) < 400


def test_weights_of_another_shape_or_with_nan_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    content = make_guide_checkpoint()
    content["model_state_dict"]["output.weight"] = torch.zeros(1000, 32)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="size mismatch"):
        load_model(path)
    content["model_state_dict"]["output.weight"] = torch.full((1000, 64), torch.nan)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        load_model(path)


def test_damage_of_a_plain_file_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(make_guide_checkpoint(), path)
    intact = bytearray(path.read_bytes())
    for place in (len(intact) // 4, len(intact) // 2, 3 * len(intact) // 4):
        changed = bytearray(intact)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(CheckpointError, match=r"x\.pt"):
            load_model(path)
        path.write_bytes(intact[:place])
        with pytest.raises(CheckpointError, match=r"x\.pt is truncated"):
            load_model(path)


def make_legacy(path: Path) -> None:
    torch.save(make_guide_checkpoint(), path, _use_new_zipfile_serialization=False)


def make_torchscript(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"):
            archive.writestr(name, b"")


def make_zip_file(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (make_legacy, "is in torch's legacy format"),
        (make_torchscript, "is a TorchScript program"),
        (make_zip_file, "is a zip file, not a checkpoint"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "is a Python pickle"),
        (lambda path: path.write_bytes(b"GGUF" + bytes(60)), "is a GGUF file"),
        (
            lambda path: path.write_bytes((40).to_bytes(8, "little") + b"{}" + bytes(60)),
            "is a safetensors file",
        ),
        (
            lambda path: path.write_text("<html>not found</html>"),
            "is truncated or was not written by tinyedge",
        ),
    ],
)
def test_files_of_other_programs_are_named(tmp_path: Path, make: Any, expected: str) -> None:
    path = tmp_path / "model.pt"
    make(path)
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert expected in caught.value.message
    assert caught.value.hint
