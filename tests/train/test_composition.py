"""Rows that share parts: features of pieces, tables, and that a fold is what was learned."""

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.train.composition import Table  # noqa: E402
from tinyedge.train.morphology import features_of, shared_features  # noqa: E402


def test_relatives_share_features_and_strangers_do_not() -> None:
    walked, capital, song = (set(features_of(piece)) for piece in ("▁walked", "▁Walked", "▁canción"))
    assert ("letters", "walked") in walked & capital
    assert ("letters", "cancion") in song
    assert ("ending", "ed") in walked - song
    assert ("capital", "True") in capital - walked
    assert features_of("") == []


def test_only_shared_features_count_and_their_numbers_have_no_gaps() -> None:
    rows = shared_features(["", "▁walked", "▁talked", "▁xyz"])
    assert rows[0] == []
    numbers = {number for row in rows for number in row}
    assert numbers == set(range(len(numbers)))
    assert all(sum(number in row for row in rows) >= 2 for number in numbers)


def test_a_row_is_its_own_vector_and_its_parts() -> None:
    weight = torch.nn.Parameter(torch.randn(3, 4))
    before = weight.detach().clone()
    table = Table(weight, [[], [0], [0, 1]])
    assert table.parts is not None
    torch.testing.assert_close(table.all_rows(), before)  # the parts start at zero
    with torch.no_grad():
        table.parts.copy_(torch.arange(8.0).view(2, 4))
    expected = before + torch.stack(
        [torch.zeros(4), table.parts[0], (table.parts[0] + table.parts[1]) / 2**0.5]
    )
    torch.testing.assert_close(
        table.rows(torch.tensor([[2, 1], [0, 2]])), expected[[2, 1, 0, 2]].view(2, 2, 4)
    )
    torch.testing.assert_close(weight.detach(), before)
    table.fold()
    torch.testing.assert_close(weight.detach(), expected)


def test_without_features_the_table_is_the_weight_itself() -> None:
    weight = torch.nn.Parameter(torch.randn(3, 4))
    table = Table(weight, None)
    table.rows(torch.tensor([1])).sum().backward()
    assert weight.grad is not None
    assert [name for name, _ in table.named_parameters()] == ["own"]
    table.fold()
    assert weight.requires_grad


def test_learning_one_piece_moves_its_relative() -> None:
    weight = torch.nn.Parameter(torch.zeros(3, 4))
    table = Table(weight, [[0], [0], []])
    table.rows(torch.tensor([0])).sum().backward()
    assert table.parts is not None
    with torch.no_grad():
        for parameter in table.parameters():
            assert parameter.grad is not None
            parameter -= parameter.grad
    table.fold()
    assert weight[1].abs().sum() > 0
    assert weight[2].abs().sum() == 0
