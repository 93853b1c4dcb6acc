"""What a learner types, as the guide shows it: a model by keywords, batches of a run, its checkpoint."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from tinyedge.core.config import PRESETS, ModelConfig
from tinyedge.core.errors import CorpusError, UsageError
from tinyedge.text.shards import FOLDER, Shards
from tinyedge.train.data import load_windows
from tinyedge.train.limits import RunLimits
from tinyedge.train.methods.optimizer import group_by_decay
from tinyedge.train.model import TinyTransformer
from tinyedge.train.storage.checkpoint import BEST_FILE


def test_a_model_is_made_from_keywords() -> None:
    model = TinyTransformer(vocab_size=8000, d_model=128, nhead=4, num_layers=2, dim_feedforward=256)
    assert sum(p.numel() for p in model.parameters()) == 2_327_552
    assert model(torch.zeros((1, 32), dtype=torch.int64)).shape == (1, 32, 8000)
    assert model.config == TinyTransformer().config == ModelConfig()


def test_keywords_replace_fields_of_a_config() -> None:
    model = TinyTransformer(PRESETS["small"], vocab_size=1000, num_layers=1)
    assert model.config == ModelConfig(
        vocab_size=1000, d_model=256, num_layers=1, dim_feedforward=512, max_seq_length=256
    )
    assert len(model.blocks) == 1


def test_a_wrong_shape_is_refused_with_its_name() -> None:
    with pytest.raises(UsageError, match="nhead 3 does not divide d_model 128"):
        TinyTransformer(nhead=3)
    with pytest.raises(TypeError, match="n_layer"):
        TinyTransformer(n_layer=2)


def test_every_parameter_has_a_gradient_after_backward() -> None:
    torch.manual_seed(0)
    model = TinyTransformer()
    tokens = torch.randint(0, 8000, (4, 33))
    loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()
    norms = {name: p.grad.norm().item() for name, p in model.named_parameters() if p.grad is not None}
    assert norms.keys() == dict(model.named_parameters()).keys()
    assert all(0 < norm < 10 for norm in norms.values()), norms


@pytest.fixture
def run_dir(shards: Shards, tmp_path: Path) -> Path:
    (tmp_path / FOLDER).symlink_to(shards.folder)
    return tmp_path


@pytest.mark.parametrize("held_out", [False, True])
def test_the_windows_of_a_run_are_a_dataset_of_inputs_and_targets(
    run_dir: Path, shards: Shards, held_out: bool
) -> None:
    windows = load_windows(run_dir, held_out=held_out, length=32)
    input_ids, target_ids = next(iter(DataLoader(windows, batch_size=16, shuffle=True)))
    assert input_ids.shape == target_ids.shape == (16, 32)
    assert torch.equal(input_ids[:, 1:], target_ids[:, :-1])
    # One after the other, they are the text.
    text = torch.cat([input_ids for input_ids, _ in (windows[i] for i in range(len(windows)))])
    expected = (shards.open_held_out() if held_out else shards.training())[: 32 * len(windows)]
    assert text.tolist() == expected.tolist()
    whole = shards.validation_tokens if held_out else shards.train_tokens
    assert whole - 33 <= len(text) < whole


def test_windows_end_as_other_sequences_do(run_dir: Path) -> None:
    windows = load_windows(run_dir, length=32)
    assert torch.equal(windows[-1][0], windows[len(windows) - 1][0])
    with pytest.raises(IndexError):
        windows[len(windows)]
    assert len(list(DataLoader(windows, batch_size=None))) == len(windows)


def test_stride_one_gives_a_window_for_each_token(run_dir: Path, shards: Shards) -> None:
    windows = load_windows(run_dir, length=32, stride=1)
    assert len(windows) == shards.train_tokens - 32
    assert torch.equal(windows[0][1], windows[1][0])


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"shards\.json"):
        load_windows(tmp_path)


def test_a_short_loop_of_ones_own_lowers_the_loss(run_dir: Path) -> None:
    torch.manual_seed(0)
    model = TinyTransformer(
        vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
    )
    optimizer = torch.optim.AdamW(group_by_decay(model.named_parameters(), 0.01), lr=3e-3)
    losses = []
    for input_ids, target_ids in DataLoader(load_windows(run_dir, length=32), batch_size=32, shuffle=True):
        loss = F.cross_entropy(model(input_ids).flatten(0, 1), target_ids.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert abs(losses[0] - math.log(1000)) < 0.3
    assert losses[-1] < losses[0] - 1


def test_a_checkpoint_loads_with_plain_torch(make_trainer: Callable[..., Any], tmp_path: Path) -> None:
    """With the recipe `guide`, plain AdamW continues with the optimizer's state too."""
    trainer, _ = make_trainer(tmp_path, recipe="guide", epochs=1)
    trainer.run(RunLimits())
    checkpoint = torch.load(tmp_path / BEST_FILE, weights_only=True)
    assert {
        "epoch",
        "model_state_dict",
        "optimizer_state_dict",
        "train_loss",
        "val_loss",
        "config",
    } <= checkpoint.keys()
    assert checkpoint["epoch"] == 1
    model = TinyTransformer(**checkpoint["config"]["model"])
    model.load_state_dict(checkpoint["model_state_dict"])
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), trainer.model.parameters(), strict=True))
    optimizer = torch.optim.AdamW(group_by_decay(model.named_parameters(), 0.01), lr=3e-4)
    optimizer.load_state_dict(checkpoint["optimizer_state_dict"]["adamw"])
    for parameter in model.parameters():
        assert optimizer.state[parameter]["exp_avg"].shape == parameter.shape
        assert optimizer.state[parameter]["step"] > 0
    model(torch.zeros((1, 4), dtype=torch.int64)).sum().backward()
    optimizer.step()


def test_norms_and_positions_never_decay() -> None:
    model = TinyTransformer(num_layers=1)
    decayed, others = group_by_decay(model.named_parameters(), 0.1)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in others["params"]} == {
        "position_embedding.weight",
        *(f"blocks.0.norm{i}.{part}" for i in (1, 2) for part in ("weight", "bias")),
    }
    assert len(decayed["params"]) + len(others["params"]) == len(names)
