"""Conversations that share a window: none sees another, and training equals inference."""

import itertools

import numpy as np
import pytest
import torch

from tests.train.conftest import SMALL
from tinyedge.core.arrays import TokenIds
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID
from tinyedge.train.data import Batch
from tinyedge.train.hardware import choose_hardware
from tinyedge.train.model import TinyTransformer
from tinyedge.train.packing import PackedBatches, find_ends, pack_tightly
from tinyedge.train.recipe import resolve
from tinyedge.train.step import TrainingObjective, TrainStep

LENGTH = SMALL.max_seq_length
CPU = choose_hardware("cpu", "fp32")


def make_conversations(count: int, longest: int = 20) -> list[list[int]]:
    """Conversations of different lengths, each with tokens of its own."""
    random = np.random.default_rng(0)
    found = []
    for number in range(count):
        prompt = random.integers(10, 1000, 1 + number % longest).tolist()
        completion = random.integers(10, 1000, 1 + number % 5).tolist()
        found.append([BOS_ID, *prompt, BOS_ID, *completion, EOS_ID])
    return found


def join(conversations: list[list[int]]) -> TokenIds:
    return np.array([token for each in conversations for token in (*each, PAD_ID)], dtype=np.uint16)


def make_batches(conversations: list[list[int]], batch_size: int = 4) -> PackedBatches:
    return PackedBatches(join(conversations), batch_size, LENGTH, seed=1)


def read_epoch(batches: PackedBatches, epoch: int = 0) -> list[Batch]:
    return [batches.batch(epoch, step) for step in range(batches.steps_per_epoch)]


def split_rows(batch: Batch) -> list[list[int]]:
    """The conversations in a batch, from its inputs, targets and segments."""
    assert batch.layout
    found = []
    for row in range(len(batch.inputs)):
        segments = batch.layout.segments[row]
        for segment in segments.unique().tolist():
            if segment >= 0:
                part = segments == segment
                inputs, targets = batch.inputs[row, part].tolist(), batch.targets[row, part].tolist()
                assert inputs[1:] == targets[:-1]
                assert batch.layout.positions[row, part].tolist() == list(range(len(inputs)))
                found.append([*inputs, targets[-1]])
    return found


def test_an_epoch_has_every_conversation_once_and_several_in_a_window() -> None:
    conversations = make_conversations(50)
    batches = make_batches(conversations)
    for epoch in (0, 1):
        read = [each for batch in read_epoch(batches, epoch) for each in split_rows(batch)]
        assert sorted(read) == sorted(conversations)
    assert batches.windows < len(conversations) / 2
    assert batches.batch(0, 0).inputs.tolist() != batches.batch(1, 0).inputs.tolist()
    again = make_batches(conversations)
    assert batches.batch(1, 0).inputs.equal(again.batch(1, 0).inputs)


def test_windows_are_filled_tightly() -> None:
    rows = pack_tightly([3, 9, 5, 7, 1, 10, 2], 10)
    sizes = [3, 9, 5, 7, 1, 10, 2]
    assert [[sizes[item] for item in row] for row in rows] == [[10], [9, 1], [7, 3], [5, 2]]
    random = np.random.default_rng(0)
    many = random.integers(5, 40, 2000).tolist()
    rows = pack_tightly(many, 128)
    assert sorted(item for row in rows for item in row) == list(range(2000))
    assert max(sum(many[item] for item in row) for row in rows) <= 128
    assert len(rows) <= 1.02 * sum(many) / 128


def test_a_conversation_that_fills_the_window_is_kept_and_a_longer_one_is_not() -> None:
    exact = [BOS_ID, *range(10, 10 + LENGTH - 3), BOS_ID, 5, EOS_ID]
    assert len(exact) - 1 == LENGTH
    longer = [BOS_ID, *range(10, 10 + LENGTH - 2), BOS_ID, 5, EOS_ID]
    short = [BOS_ID, 7, BOS_ID, 8, EOS_ID]
    (batch,) = read_epoch(make_batches([longer, exact, longer, short]))
    assert sorted(split_rows(batch)) == sorted([exact, short])


def test_only_completions_and_their_eos_count() -> None:
    conversations = make_conversations(30)
    for batch in read_epoch(make_batches(conversations)):
        assert batch.layout
        counted = batch.targets[batch.layout.counted].tolist()
        expected = [t for each in split_rows(batch) for t in each[each.index(BOS_ID, 1) + 1 :]]
        assert sorted(counted) == sorted(expected)
        assert batch.predictions == len(expected)


def test_the_ends_of_conversations_are_found_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    conversations = make_conversations(20)
    tokens = join(conversations)
    monkeypatch.setattr("tinyedge.train.packing.CHUNK_TOKENS", 7)
    ends = [end - 1 for end in itertools.accumulate(len(each) + 1 for each in conversations)]
    assert find_ends(tokens).tolist() == ends


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_packed_conversation_is_computed_as_if_it_were_alone(precision: str) -> None:
    torch.manual_seed(0)
    model = TinyTransformer(SMALL)
    batch = make_batches(make_conversations(40)).batch(0, 0)
    layout = batch.layout
    assert layout
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype, enabled=precision == "bf16"):
        packed = model.body(model.token_embedding(batch.inputs), layout.positions, layout.segments)
        compared = 0
        for row in range(len(batch.inputs)):
            for segment in layout.segments[row].unique().tolist():
                part = layout.segments[row] == segment
                if segment < 0:
                    continue
                alone = model.hidden(batch.inputs[row, part][None])[0]  # as at inference
                close = torch.allclose(packed[row, part], alone, atol=0.05 if precision == "bf16" else 1e-5)
                assert close
                compared += 1
    assert compared > len(batch.inputs)  # several in a row


def test_the_loss_is_the_mean_over_completions_alone() -> None:
    torch.manual_seed(0)
    model = TinyTransformer(SMALL)
    batch = make_batches(make_conversations(40)).batch(0, 0)
    objective = TrainingObjective(model, None, CPU)
    nats, count = 0.0, 0
    with torch.no_grad():
        for tokens in split_rows(batch):
            first = tokens.index(BOS_ID, 1)
            logits = model(torch.tensor([tokens[:-1]]))[0, first:]
            targets = torch.tensor(tokens[first + 1 :])
            nats += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
            count += len(targets)
        loss = float(objective(batch, None, 0.0))
    assert loss == pytest.approx(nats / count, rel=1e-5)


def test_parts_of_a_step_weigh_as_many_completion_tokens_as_they_have() -> None:
    conversations = [[BOS_ID, *[20] * 20, BOS_ID, *[30] * (1 + 8 * (n % 2)), EOS_ID] for n in range(8)]
    batch = make_batches(conversations, batch_size=8).batch(0, 0)
    assert batch.layout
    assert len(set(batch.layout.counted.sum(dim=1).tolist())) > 1
    weights = []
    for parts in (1, 4):
        torch.manual_seed(0)
        model = TinyTransformer(SMALL)
        config = resolve("guide", {"grad_accumulation": parts})
        loss, _ = TrainStep(model, config, CPU, is_packed=True).run(batch, 0, 1.0)
        weights.append((loss, model.output.weight.detach().clone()))
    assert weights[0][0] == pytest.approx(weights[1][0], rel=1e-5)
    assert torch.allclose(weights[0][1], weights[1][1], atol=1e-5)
