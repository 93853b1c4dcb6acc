"""Errors of a connection to a board, each with its reason and a remedy.

In: what ssh, rsync or the board printed. Out: a DeployError of one line without control characters. Starts
nothing.
"""

import re

from tinyedge.core.errors import DeployError
from tinyedge.core.printable import printable

SSH_FAILED = 255  # exit code of ssh itself
SHOWN_CHARACTERS = 200  # of a board's answer in an error
REPEAT_HINT = "run the same command again: it continues"
REASONS = {
    "Could not resolve hostname": ("its name cannot be resolved", "check the name, or use the address"),
    "Permission denied": ("it refuses this user and key", "check user@, --identity, or run: ssh-copy-id"),
    "Too many authentication failures": ("it refuses all keys", "select the right one with --identity"),
    "REMOTE HOST IDENTIFICATION HAS CHANGED": (
        "its host key has changed",
        "after a new installation of its system: {remove}; else the connection may be intercepted",
    ),
    "Host key verification failed": ("its host key is unknown", "log in once with ssh and compare the key"),
    "Connection refused": (
        "no SSH server listens on this port",
        "check --port; on the board: sudo systemctl enable --now ssh",
    ),
    "timed out": ("it does not answer", "is it switched on, and in this network?"),
    "No route to host": ("there is no route to it", "is it switched on, and in this network?"),
    "Network is unreachable": ("there is no route to it", "is this machine connected to a network?"),
    "Bad configuration option": ("ssh does not accept its configuration", "correct the file: {line}"),
    "Bad owner or permissions": ("ssh does not accept its configuration", "correct the file: {line}"),
    "no matching host key type": (
        "its SSH server is too old for this ssh",
        "update the board's system, or allow its algorithms in ~/.ssh/config: {line}",
    ),
    "Connection reset": ("it closed the connection", "see its log: journalctl -u ssh"),
    "Connection closed": ("it closed the connection", "see its log: journalctl -u ssh"),
}
# What ssh suggests after a host key has changed; it knows the name under which the old key is stored.
REMOVE_KEY = re.compile(r'ssh-keygen -f "?[^"\n]+"? -R "?[^"\s]+"?')
NO_SPACE = ("No space left", "Disk quota exceeded")
READ_ONLY = "Read-only file system"
DEAD_CARD = "a failing SD card becomes read-only: see `dmesg` on the board, and replace the card"


def explain_connection(destination: str, errors: str) -> DeployError:
    """Explain why ssh could not connect.

    Args:
        destination: user@host.
        errors: What ssh printed on standard error.
    """
    for sign, (reason, hint) in REASONS.items():
        if sign in errors:
            command = REMOVE_KEY.search(errors)
            remove = printable(command[0]) if command else "ssh-keygen -R HOST"
            line = get_last_line("\n".join(line for line in errors.splitlines() if sign in line))
            return DeployError(
                f"{destination} cannot be reached: {reason}", hint.format(remove=remove, line=line)
            )
    return DeployError(
        f"{destination} cannot be reached: {get_last_line(errors)}", f"try: ssh {destination} true"
    )


def explain_no_shell(destination: str, output: str, errors: str) -> DeployError:
    """Explain a login that ran no command: an account without a shell, or a start-up file that ended it."""
    said = show_answer(output) or show_answer(errors)
    return DeployError(
        f"{destination} did not run a command; " + (f"it said: {said}" if said else "it said nothing"),
        "use an account with a login shell, whose start-up files neither end it nor read input; "
        f"test it: echo echo ok | ssh {destination} sh",
    )


def explain_limit(destination: str, limit: str, seconds: float, output: str, errors: str) -> DeployError:
    """Explain why an answer was cut off.

    Args:
        destination: user@host.
        limit: "time" or "size".
        seconds: The time limit.
        output: What the board printed on standard output.
        errors: And on standard error.
    """
    said = show_answer(output) or show_answer(errors)
    reason = f"did not finish within {seconds:.0f} s" if limit == "time" else "printed too much"
    return DeployError(
        f"{destination} {reason}" + (f"; it said: {said}" if said else ""),
        "check its load and the start-up files of this account (~/.profile, ~/.bashrc): they must end by "
        "themselves",
    )


def explain_lost_connection(destination: str, code: int | None) -> DeployError:
    """Explain a command that was ended before its end.

    Args:
        destination: user@host.
        code: Exit code of ssh.
    """
    if code is None or code < 0 or code == SSH_FAILED:
        return DeployError(
            f"the connection to {destination} was lost",
            f"{REPEAT_HINT}; if the board has restarted, check its power supply",
        )
    return DeployError(
        f"a command on {destination} was ended (exit code {code})",
        "if the board is out of memory (see `dmesg` on it), stop other programs there; then try again",
    )


def explain_copy(destination: str, errors: str) -> DeployError:
    """Explain a failed copy by what rsync or tar printed."""
    if any(sign in errors for sign in NO_SPACE):
        return DeployError(f"{destination} has no space left", "free some space there and try again")
    if READ_ONLY in errors:
        return DeployError(f"{destination} has a read-only file system", DEAD_CARD)
    return DeployError(f"the kit cannot be copied to {destination}: {get_last_line(errors)}", REPEAT_HINT)


def show_answer(text: str) -> str:
    """Return the end of a board's answer on one line; empty if it has no text."""
    line = " ".join(text.split())
    if len(line) > SHOWN_CHARACTERS:
        line = f"...{line[-SHOWN_CHARACTERS:]}"
    return printable(line)


def get_last_line(errors: str) -> str:
    """Return the last line that has text, without control characters."""
    lines = [line for line in errors.splitlines() if line.strip()]
    return printable(lines[-1].strip(), SHOWN_CHARACTERS) if lines else "no error message"
