#!/usr/bin/env bash
# Unicorn's memory hooks see a 128-bit load of AArch64 as two accesses, and DC ZVA, which clears 64 bytes, as 66 or 68.
#
# Version:   unicorn 2.1.4, Linux x86-64, processor models Cortex-A53 and "max".
# Guess:     one event for each register: LDR Q is one access of 16 bytes, LDP Q two, LD1 of four registers four; only LD4,
#            which de-interleaves, comes element by element. DC ZVA is one event of 64 bytes, or none, as PRFM.
# Reality:   no event is larger than 8 bytes, so a vector access counts twice: LDP of two X registers is two events, LDP of two
#            Q registers four. DC ZVA is 64 events of 1 byte, and four more in front of them: the operand's address twice, and
#            the line's first address twice; only two more where the line is the first of a KiB. So the sum of sizes is too
#            large, and these hooks count neither the loads and stores of a program nor the bytes that it moves.
# Output seen (the same for both models):
#   ldp x0, x2               2 events  16 bytes  sizes [8]
#   ldr q0                   2 events  16 bytes  sizes [8]
#   str q0                   2 events  16 bytes  sizes [8]
#   ldp q0, q1               4 events  32 bytes  sizes [8]
#   ld1 {v0-v3}.16b          8 events  64 bytes  sizes [8]
#   ld4 {v0-v3}.4s          16 events  64 bytes  sizes [4]
#   ld4 {v0-v3}.16b         64 events  64 bytes  sizes [1]
#   prfm                     0 events   0 bytes  sizes []
#   dc zva, line + 4        68 events  68 bytes  sizes [1]  several times: {4: 3, 0: 3}
#   dc zva, first line + 4  66 events  66 bytes  sizes [1]  several times: {4: 3}
# Exits with 0 while this is so, with 1 when it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check unicorn==2.1.4

"$folder/env/bin/python" - <<'PYTHON'
from collections import Counter

from unicorn import UC_ARCH_ARM64, UC_HOOK_MEM_READ, UC_HOOK_MEM_WRITE, UC_MODE_ARM, Uc
from unicorn.arm64_const import UC_ARM64_REG_X1, UC_CPU_ARM64_A53, UC_CPU_ARM64_MAX

CODE, LINE, FIRST_LINE = 0x10000, 0x18FC0, 0x18400  # multiples of 64; the second one of 1024, too
CASES = (  # name, instruction (its operand is x1), x1, events, their sizes
    ("ldp x0, x2", 0xA9400820, LINE, 2, [8]),
    ("ldr q0", 0x3DC00020, LINE, 2, [8]),
    ("str q0", 0x3D800020, LINE, 2, [8]),
    ("ldp q0, q1", 0xAD400420, LINE, 4, [8]),
    ("ld1 {v0-v3}.16b", 0x4C402020, LINE, 8, [8]),
    ("ld4 {v0-v3}.4s", 0x4C400820, LINE, 16, [4]),
    ("ld4 {v0-v3}.16b", 0x4C400020, LINE, 64, [1]),
    ("prfm", 0xF9800020, LINE, 0, []),
    ("dc zva, line + 4", 0xD50B7421, LINE + 4, 68, [1]),
    ("dc zva, first line + 4", 0xD50B7421, FIRST_LINE + 4, 66, [1]),
)


def events(model, instruction, operand):
    """Run one instruction and return (address, size) of each access that the hooks see."""
    emulator = Uc(UC_ARCH_ARM64, UC_MODE_ARM)
    emulator.ctl_set_cpu_model(model)
    emulator.mem_map(CODE, 0x10000)
    emulator.mem_write(CODE, instruction.to_bytes(4, "little"))
    emulator.reg_write(UC_ARM64_REG_X1, operand)
    seen = []
    hook = UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE
    emulator.hook_add(hook, lambda _, kind, address, size, value, data: seen.append((address, size)))
    emulator.emu_start(CODE, CODE + 4)
    return seen


for name, instruction, operand, count, sizes in CASES:
    seen = events(UC_CPU_ARM64_A53, instruction, operand)
    assert seen == events(UC_CPU_ARM64_MAX, instruction, operand), f"{name}: the models differ"
    found = sorted({size for _, size in seen})
    line = f"{name:23} {len(seen):2} events  {sum(size for _, size in seen):2} bytes  sizes {found}"
    if name.startswith("dc zva"):
        places = Counter(address % 64 for address, _ in seen)
        line += f"  several times: {dict(item for item in places.items() if item[1] > 1)}"
        assert set(places) == set(range(64)), "dc zva does not cover its line"
    print(line)
    assert (len(seen), found) == (count, sizes), f"{name}: other events"
PYTHON
