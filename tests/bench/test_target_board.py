"""A bundle measured on another machine than its target: said, and modelled where that is possible."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tinyedge.bench import table
from tinyedge.bench.report import Report
from tinyedge.bench.target_board import BundleTarget, describe_target, is_board
from tinyedge.boards.load import load_board
from tinyedge.bundle.bundle import load_bundle
from tinyedge.core.config import ModelConfig
from tinyedge.fit.cost_model import CostModel, require_cost_data
from tinyedge.host.machine import Device

Make = Callable[..., Report]
ZERO_2W = load_board("pi-zero-2w")
TARGET = BundleTarget("pi-zero-2w", ModelConfig(), "int8")
ERROR_PERCENT = require_cost_data(ZERO_2W).latency_model.error_percent
PROMPTS = [7] * 75 + [85] * 25


@pytest.fixture
def computer(device: Device) -> Device:
    return replace(device, model=None, machine="x86_64")


def test_the_board_itself_needs_no_remark(device: Device, report: Make) -> None:
    found = describe_target(TARGET, device, PROMPTS, 20, 250)
    assert (found.is_this_machine, found.modelled, found.sentence) == (True, None, "")
    assert table.render(report(target=TARGET)).endswith("verdict: pass")


def test_another_machine_is_named_with_the_modelled_p95_of_the_same_work(computer: Device) -> None:
    found = describe_target(TARGET, computer, PROMPTS, 20, 250)
    modelled = found.modelled
    assert modelled is not None
    costs = CostModel.from_data("pi-zero-2w", require_cost_data(ZERO_2W))
    assert modelled.p95_ms == costs.response_ms(ModelConfig(), 85, 20)
    assert modelled.p95_ms == costs.p95_ms(ModelConfig(), 20)  # the benchmark's longest prompt
    assert modelled.p95_with_margin_ms == pytest.approx(modelled.p95_ms * modelled.margin)
    assert found.is_this_machine is False
    assert found.sentence.startswith(
        "measured on this machine, not on the bundle's target, Raspberry Pi Zero 2 W; modelled there"
    )
    assert f"p95 of 20 tokens {modelled.p95_ms:.1f} ms (+-{ERROR_PERCENT:g}%)" in found.sentence
    assert found.sentence.endswith(f"with margin {modelled.p95_with_margin_ms:.0f} ms of 250 ms")
    limit = (modelled.p95_ms + modelled.p95_with_margin_ms) / 2  # that the bound exceeds, not the estimate
    slow = describe_target(TARGET, computer, PROMPTS, 20, limit)
    assert slow.sentence.endswith(f"of {limit:g} ms, which is over it")
    short = describe_target(TARGET, computer, [7] * 96 + [85] * 4, 20, 250).modelled
    assert short is not None
    assert short.p95_ms == costs.response_ms(ModelConfig(), 7, 20)


def test_the_time_of_ngrams_is_modelled_too_and_that_is_said(computer: Device, micro_bundle: Path) -> None:
    manifest = {**load_bundle(micro_bundle).manifest, "target": "pi-zero-2w"}
    assert not BundleTarget.from_manifest(manifest).has_ngrams
    target = BundleTarget.from_manifest({**manifest, "ngrams": {"size": 1, "root": "0" * 64}})
    found = describe_target(target, computer, PROMPTS, 20, 250)
    assert "; modelled there, with its n-grams, with one thread: p95 of 20 tokens" in found.sentence
    alone = describe_target(BundleTarget.from_manifest(manifest), computer, PROMPTS, 20, 250)
    assert found.modelled
    assert alone.modelled
    assert found.modelled.p95_ms > alone.modelled.p95_ms


def test_as_many_cores_are_modelled_as_were_measured(computer: Device) -> None:
    found = [describe_target(TARGET, computer, PROMPTS, 20, 250, threads) for threads in (1, 2, 4, 16)]
    modelled = [target.modelled for target in found if target.modelled]
    assert [one.threads for one in modelled] == [1, 2, 4, 4]
    assert modelled[0].p95_ms > modelled[1].p95_ms > modelled[2].p95_ms == modelled[3].p95_ms
    assert "; modelled there, with one thread: p95" in found[0].sentence
    assert "; modelled there, with 4 threads: p95" in found[3].sentence
    several = found[3].modelled
    assert several is not None
    assert several.error_percent > ERROR_PERCENT == modelled[0].error_percent  # those of threads come on top
    assert several.margin > modelled[0].margin
    assert f" ms (+-{several.error_percent:g}%), with margin" in found[3].sentence


@pytest.mark.parametrize(
    "target",
    [replace(TARGET, precision="fp32"), replace(TARGET, board="x86-64"), replace(TARGET, board="my-board")],
)
def test_a_target_without_a_model_says_that_nothing_is_known(device: Device, target: BundleTarget) -> None:
    found = describe_target(target, replace(device, model="Raspberry Pi 4"), PROMPTS, 20, 250)
    assert found.modelled is None
    assert "nothing is known" in found.sentence


def test_a_single_board_is_recognized_by_its_device_tree_and_a_class_by_its_architecture(
    device: Device, computer: Device
) -> None:
    assert is_board("aarch64", device.model, ZERO_2W)
    assert not is_board("aarch64", "Raspberry Pi 3 Model B", ZERO_2W)
    assert not is_board("aarch64", None, ZERO_2W)
    assert not is_board("x86_64", None, ZERO_2W)
    assert is_board("x86_64", None, load_board("x86-64"))
    assert not is_board("aarch64", device.model, load_board("x86-64"))


def test_the_report_ends_with_the_remark_and_its_json_has_it(computer: Device, report: Make) -> None:
    found = report()
    target = describe_target(TARGET, computer, PROMPTS, 20, 250)
    found = replace(found, target=target)
    assert " ".join(table.render(found).split()).endswith(f"verdict: pass on this machine {target.sentence}")
    assert found.to_dict()["target"]["modelled"]["error_percent"] == ERROR_PERCENT
    assert report().to_dict()["target"] is None
