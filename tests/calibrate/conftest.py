"""A calibration as a Raspberry Pi Zero 2 W would write it, and loops with known times."""

import importlib.util
from typing import Any

import pytest

from tests.support.engines import STAND_INS
from tinyedge.calibrate.calibration import (
    CalibratedMachine,
    Calibration,
    CalibrationConditions,
    CoreWork,
    Figure,
)

ZERO_2_W = CalibratedMachine(
    "Raspberry Pi Zero 2 W Rev 1.0", "aarch64", "Cortex-A53", 4, ("asimd",), 436436992
)
CALM = CalibrationConditions("ondemand", 1000.0, 44.0, 51.5, "0x0", "0x0", 0.1, 0.4)


@pytest.fixture
def calibration() -> Calibration:
    """Figures that nobody measured."""
    return Calibration(
        created="2026-11-29T12:00:00+00:00",
        machine=ZERO_2_W,
        clock_mhz=Figure(999.5, 1000.0, 15),
        ns_per_l1_line=Figure(9.0, 8.9, 15),
        ns_per_streamed_line=Figure(27.5, 27.25, 15),
        ns_per_l1_hit=Figure(3.0, 3.0, 15),
        ns_per_l2_hit=Figure(12.0, 11.5, 15),
        ns_per_random_line=Figure(160.5, 158.0, 15),
        core=CoreWork("int8 product, neon", Figure(2000.0, 1990.0, 15)),
        conditions=CALM,
        doubts=(),
        versions={"tinyedge": "0.1.0"},
    )


@pytest.fixture
def kernels() -> Any:
    """The stand-in of the kernels, whose loops have the same times in every round."""
    spec = importlib.util.spec_from_file_location("stand_in", STAND_INS / "tinyedge_kernels" / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
