"""Other processes of this machine."""


def is_running(pid: int) -> bool:
    """Return whether a process with this ID exists; True where the system does not tell."""
    import psutil  # 0.4 MB, and seldom needed

    from tinyedge.host.psutil_readings import READING_ERRORS

    try:
        return bool(psutil.pid_exists(pid))
    except OverflowError:  # no system has IDs this large
        return False
    except READING_ERRORS:  # what belongs to a process that may be running must not be removed
        return True
