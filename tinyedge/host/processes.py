"""Other processes of this machine."""


def is_running(pid: int) -> bool:
    """Return whether a process with this ID exists."""
    import psutil  # 0.4 MB, and seldom needed

    try:
        return bool(psutil.pid_exists(pid))
    except OverflowError:  # no system has IDs this large
        return False
