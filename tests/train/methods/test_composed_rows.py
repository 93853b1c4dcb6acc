"""Composed rows: features of pieces, tables, and the materialized weights."""

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch

from tinyedge.core.config import ModelConfig
from tinyedge.train.methods.composed_rows import ComposedTable, EmbeddingTables
from tinyedge.train.methods.features import Features
from tinyedge.train.methods.morphology import extract_features, number_shared_features
from tinyedge.train.model import TinyTransformer


def test_related_pieces_share_features_and_others_do_not() -> None:
    walked, capital, song = (set(extract_features(piece)) for piece in ("▁walked", "▁Walked", "▁canción"))
    assert ("letters", "walked") in walked & capital
    assert ("letters", "cancion") in song
    assert ("ending", "ed") in walked - song
    assert ("capital", "True") in capital - walked
    assert extract_features("") == []


def test_only_shared_features_are_numbered_without_gaps() -> None:
    rows = number_shared_features(["", "▁walked", "▁talked", "▁xyz"])
    assert rows[0] == []
    numbers = {number for row in rows for number in row}
    assert numbers == set(range(len(numbers)))
    assert all(sum(number in row for row in rows) >= 2 for number in numbers)


def make_model() -> TinyTransformer:
    torch.manual_seed(0)
    model = TinyTransformer(
        ModelConfig(
            vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
        )
    )
    model.initialize(0.02)
    return model


def make_features(*rows: list[int]) -> Features:
    """Return features of the first pieces. The others have none."""
    count = 1 + max((number for row in rows for number in row), default=-1)
    return Features([*rows, *([] for _ in range(1000 - len(rows)))], count)


def test_a_row_is_the_sum_of_its_own_vector_and_its_parts() -> None:
    weight = torch.randn(3, 4)
    table = ComposedTable(weight, 2, scale=2.0)
    given = Features([[], [0], [0, 1]], 2)

    def rows(*ids: int) -> torch.Tensor:
        found: torch.Tensor = table(torch.tensor(ids), given.index[[*ids]], given.share[[*ids]])
        return found

    torch.testing.assert_close(rows(0, 1, 2), weight / 2)  # the parts start at zero
    with torch.no_grad():
        table.parts.copy_(torch.arange(8.0).view(2, 4))
    expected = weight / 2 + torch.stack(
        [torch.zeros(4), table.parts[0], (table.parts[0] + table.parts[1]) / 2**0.5]
    )
    torch.testing.assert_close(rows(2, 1, 2), expected[[2, 1, 2]])


def test_without_features_the_tables_are_the_models_weights() -> None:
    model = make_model()
    tables = EmbeddingTables(model, None)
    before = [weight.clone() for weight in model.parameters()]
    assert not [*tables.parameters()]
    assert tables()[1] is model.output.weight
    embedding, output = tables(torch.tensor([1]))
    (embedding.sum() + output.sum()).backward()
    assert model.token_embedding.weight.grad is not None
    assert model.output.weight.grad is not None
    tables.materialize()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_materialized_weights_are_what_was_learned() -> None:
    model = make_model()
    start = model.token_embedding.weight.clone()
    tables = EmbeddingTables(model, make_features([0], [0, 1], [1]))
    torch.testing.assert_close(tables()[0], start)  # the initial table is that of the model
    with torch.no_grad():
        for parameter in tables.parameters():
            parameter.add_(torch.randn(parameter.shape))
    tables.materialize()
    embedding, output = tables(torch.tensor([7, 0, 3]))
    torch.testing.assert_close(model.token_embedding.weight[[7, 0, 3]], embedding)
    torch.testing.assert_close(model.output.weight[[7, 0, 3]], output)
    assert not torch.allclose(embedding, start[[7, 0, 3]])


def test_training_one_piece_changes_related_pieces_and_its_output_row() -> None:
    model = make_model()
    tables = EmbeddingTables(model, make_features([0], [0], []))
    tables.materialize()
    before = model.token_embedding.weight.clone(), model.output.weight.clone()
    tables(torch.tensor([0]))[0].sum().backward()
    with torch.no_grad():
        for parameter in tables.parameters():
            if parameter.grad is not None:
                parameter.sub_(parameter.grad)
    tables.materialize()
    for old, new in zip(before, (model.token_embedding.weight, model.output.weight), strict=True):
        moved = (new - old).abs().sum(dim=1) > 1e-6
        assert moved[:3].tolist() == [True, True, False]
        assert not moved[3:].any()
