"""The shape of a model: ranges, presets and the mapping that files contain."""

import pytest

from tinyedge.core.config import PRESETS, ModelConfig, resolve_shape
from tinyedge.core.errors import UsageError


def test_default_is_the_guides_sum() -> None:
    # 8000*128 + 128*128 + 2*(4*128*128 + 2*128*256 + 2*2*128) + 128*8000, added up by hand
    assert ModelConfig().parameters == 2_327_552


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vocab_size", 999),
        ("d_model", 513),
        ("nhead", 1),
        ("num_layers", 7),
        ("dim_feedforward", 64),
        ("max_seq_length", 1024),
    ],
)
def test_a_value_out_of_range_names_the_parameter(field: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"^{field} {value} is outside") as caught:
        ModelConfig(**{field: value})
    assert caught.value.parameters == (field,)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(UsageError) as caught:
        ModelConfig(d_model=128, nhead=3)
    assert "nhead 3 does not divide d_model 128" in caught.value.message
    assert "2, 4, 8" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        ModelConfig(d_model=101, nhead=4)
    assert caught.value.hint == "with d_model 101, no nhead fits"


def test_mapping_round_trip_and_unknown_keys() -> None:
    config = ModelConfig(d_model=64, nhead=2)
    assert ModelConfig.from_dict(config.to_dict()) == config
    with pytest.raises(UsageError, match="dropout"):
        ModelConfig.from_dict({**config.to_dict(), "dropout": 0})
    with pytest.raises(UsageError, match="is not a whole number"):
        ModelConfig.from_dict({**config.to_dict(), "d_model": 64.0})


def test_presets_are_shapes_that_flags_change() -> None:
    assert PRESETS["tiny"] == ModelConfig()
    assert PRESETS["tiny"].parameters < PRESETS["small"].parameters < PRESETS["base"].parameters
    assert resolve_shape("small", {"num_layers": 2, "d_model": None}).num_layers == 2
    assert resolve_shape("small", {"num_layers": 2, "d_model": None}).d_model == PRESETS["small"].d_model
    with pytest.raises(UsageError, match="preset huge is unknown"):
        resolve_shape("huge", {})
