"""Throttling of a Raspberry Pi, as its firmware reports it: 0 to 3 are bits for now, 16 to 19 since boot.

In: `vcgencmd get_throttled`. Out: the bits and their names.
"""

import subprocess
from dataclasses import dataclass

VCGENCMD_SECONDS = 5  # it answers in milliseconds unless the firmware hangs
# Bits of `vcgencmd get_throttled`, from the Raspberry Pi documentation.
UNDER_VOLTAGE = 1 << 0
STATE_NAMES = {
    UNDER_VOLTAGE: "under-voltage",
    1 << 1: "frequency capped",
    1 << 2: "throttled",
    1 << 3: "soft temperature limit",
}
SINCE_BOOT_SHIFT = 16  # the same bits, shifted by this, are set if the state occurred since boot
# Temperatures in degrees Celsius: the firmware of every Raspberry Pi lowers the clock from 80 on. A 3B+ goes
# from 1.4 to 1.2 GHz at 60 already, and then reports the soft temperature limit.
HOT_C, TOO_HOT_C = 70.0, 80.0


@dataclass(frozen=True)
class Throttling:
    """Decoded throttling bits."""

    now: tuple[str, ...]
    """Names of the states that are active now."""
    since_boot: tuple[str, ...]
    """Names of the states that were active at any time since boot."""
    is_under_voltage: bool
    """Whether the supply voltage is or was too low; otherwise heat is the cause."""

    @classmethod
    def from_bits(cls, bits: int) -> "Throttling":
        """Decode the firmware's bits."""
        return cls(
            now=tuple(name for bit, name in STATE_NAMES.items() if bits & bit),
            since_boot=tuple(name for bit, name in STATE_NAMES.items() if bits >> SINCE_BOOT_SHIFT & bit),
            is_under_voltage=bool((bits | bits >> SINCE_BOOT_SHIFT) & UNDER_VOLTAGE),
        )


def read_throttling_bits(vcgencmd: str = "vcgencmd") -> int | None:
    """Ask the firmware for its throttling bits, by starting a program.

    Returns:
        None if the program is missing, hangs or prints something unexpected.
    """
    try:
        answer = subprocess.run(
            [vcgencmd, "get_throttled"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=VCGENCMD_SECONDS,
            text=True,
            check=True,
        ).stdout
        return int(answer.strip().removeprefix("throttled="), 16)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
