"""Check whether the kernel enforces a service's MemoryMax=, and find the reason if it does not.

In: a Device and a SystemState. Out: a Finding. Reads no files.

The Raspberry Pi firmware passes `cgroup_disable=memory` to the kernel, then the words of cmdline.txt. A
kernel of Raspberry Pi applies `cgroup_disable=` and `cgroup_enable=` in the order of its command line
(raspberrypi/linux, issue 6980). Some of its 6.6 and 6.12 kernels, and those of other systems, ignore
`cgroup_enable=` (pull request 6439 there).
"""

from collections.abc import Iterable

from tinyedge.doctor.finding import Finding
from tinyedge.doctor.state import SystemState
from tinyedge.host.machine import Device

NAME = "memory limits"
ENABLE, DISABLE = "cgroup_enable", "cgroup_disable"
ARGUMENT = f"{ENABLE}=memory"
DEFAULT_BOOT_FILE = "/boot/firmware/cmdline.txt"
NO_EFFECT = "MemoryMax= of a service has no effect"


def check_memory_controller(device: Device, state: SystemState) -> Finding:
    """Check the memory controller of the kernel's control groups."""
    if state.platform != "linux":
        return Finding(NAME, "MemoryMax= of a service needs Linux")
    if device.memory_controller:
        return Finding(NAME, "the memory controller is on")
    arguments = find_arguments(state.kernel_arguments)
    is_disabled = f"{DISABLE}=memory" in arguments
    cause = f"{DISABLE}=memory" if is_disabled else "no memory controller"
    if ARGUMENT in arguments:
        cause = f"the memory controller is off despite {ARGUMENT}"
    is_pi = state.boot_file is not None or "Raspberry Pi" in (device.model or "")
    remedy = _find_remedy_of_pi(arguments, state) if is_pi else _find_remedy(arguments)
    return Finding(NAME, f"{cause}: {NO_EFFECT}", "warning", remedy)


def find_arguments(words: Iterable[str]) -> list[str]:
    """Find the words about the memory controller.

    Args:
        words: Kernel arguments, such as `cgroup_enable=cpuset,memory`.

    Returns:
        `cgroup_enable=memory` and `cgroup_disable=memory`, as often and in the order in which they are there.
    """
    pairs = (word.strip('"').partition("=") for word in words)
    names = (ENABLE, DISABLE)
    return [f"{name}=memory" for name, _, value in pairs if name in names and "memory" in value.split(",")]


def _find_remedy(arguments: list[str]) -> str:
    """Find what to do on a system without the Raspberry Pi firmware."""
    if f"{DISABLE}=memory" in arguments:
        return f"remove {DISABLE}=memory from the kernel's command line (/etc/default/grub), and reboot"
    return "use a kernel with CONFIG_MEMCG; in a container, its host must delegate the memory controller"


def _find_remedy_of_pi(arguments: list[str], state: SystemState) -> str:
    """Find what to do next: a kernel argument, its place, a reboot, or another kernel."""
    file = state.boot_file or DEFAULT_BOOT_FILE
    first, *others = state.boot_lines or ("",)
    configured = find_arguments(first.split())
    if ARGUMENT not in arguments:
        if ARGUMENT in configured:
            return f"reboot: {ARGUMENT} is in {file}, but the running kernel was started without it"
        if any(ARGUMENT in find_arguments(line.split()) for line in others):
            return (
                f"move {ARGUMENT} to the end of the first line of {file}, the only one that is read; reboot"
            )
        return f"append {ARGUMENT} to the single line of {file}, and reboot"
    if arguments[-1] != ARGUMENT:
        if configured and configured[-1] == ARGUMENT:
            return f"reboot: {file} has {ARGUMENT} in the right place now"
        return f"the last one counts: remove {DISABLE}=memory after {ARGUMENT} in {file}, and reboot"
    if state.boot_file and ARGUMENT not in configured:
        return f"the next start is without it: append {ARGUMENT} to the first line of {file}, and reboot"
    return (
        f"this kernel ignores {ARGUMENT}: sudo apt full-upgrade, and reboot; "
        "in a container, its host must delegate the memory controller"
    )
