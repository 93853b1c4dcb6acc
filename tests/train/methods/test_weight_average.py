"""The average of the weights: its shape over the steps, and that training does not notice it."""

import copy

import pytest
import torch
from torch import nn

from tinyedge.train.methods.weight_average import STEPS, WeightAverage


def make_parameters() -> dict[str, nn.Parameter]:
    return {"a": nn.Parameter(torch.zeros(3, 2)), "b": nn.Parameter(torch.zeros(4))}


def run(average: WeightAverage, parameters: dict[str, nn.Parameter], first: int, last: int) -> None:
    """Take steps after each of which a parameter is the number of the step."""
    for step in range(first, last + 1):
        with torch.no_grad():
            for parameter in parameters.values():
                parameter.fill_(step)
        average.update(step)


@pytest.mark.parametrize("exponent", [2.0, 8.0])
def test_a_step_counts_by_its_number_to_the_power_of_the_exponent(exponent: float) -> None:
    parameters = make_parameters()
    average = WeightAverage(parameters, exponent)
    run(average, parameters, 1, 4000)
    with average.applied():
        found = parameters["a"][0, 0].item()
    # The mean of t with the weights t^exponent, of t from 0 to 4000.
    assert found == pytest.approx(4000 * (exponent + 1) / (exponent + 2), rel=2 * STEPS / 4000)
    assert parameters["a"][0, 0].item() == 4000


def test_a_run_shorter_than_an_update_ends_with_its_own_weights() -> None:
    for last in range(1, STEPS + 1):
        parameters = make_parameters()
        average = WeightAverage(parameters, 8.0)
        run(average, parameters, 1, last)
        with average.applied():
            assert parameters["b"].tolist() == 4 * [last]


def test_before_the_first_step_it_is_the_initial_weights() -> None:
    parameters = make_parameters()
    with WeightAverage(parameters, 8.0).applied():
        assert parameters["b"].tolist() == 4 * [0]


def test_an_error_while_it_is_applied_brings_the_trained_weights_back() -> None:
    parameters = make_parameters()
    average = WeightAverage(parameters, 8.0)
    run(average, parameters, 1, 100)
    with pytest.raises(RuntimeError, match="stop"), average.applied():
        raise RuntimeError("stop")
    assert parameters["b"].tolist() == 4 * [100]


def test_a_restored_average_goes_on_to_the_bit() -> None:
    parameters, others = make_parameters(), make_parameters()
    average, other = WeightAverage(parameters, 8.0), WeightAverage(others, 8.0)
    run(average, parameters, 1, 100)
    with average.applied(), torch.no_grad():
        trained = copy.deepcopy(average.other_state_dict())
        for name, value in parameters.items():
            others[name].copy_(value)
    other.restore(trained, is_applied=True)
    for one, its in ((average, parameters), (other, others)):
        assert its["b"].tolist() == 4 * [100]
        run(one, its, 101, 200)
    with average.applied(), other.applied():
        for name, value in parameters.items():
            assert torch.equal(value, others[name])


@pytest.mark.parametrize(
    "trained",
    [
        None,
        {},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(3, 2), "b": torch.zeros(5)},
        {"a": torch.zeros(3, 2), "b": torch.full((4,), torch.nan)},
    ],
)
def test_trained_weights_of_another_model_are_refused(trained: object) -> None:
    average = WeightAverage(make_parameters(), 8.0)
    with pytest.raises(ValueError, match="its other weights"):
        average.restore(trained, is_applied=False)
