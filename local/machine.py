"""Facts about this machine that change under one's feet: processes and ports."""

import socket
from pathlib import Path


def start_time(pid: int) -> str | None:
    """When the process began, in the kernel's clock ticks (field 22 of /proc/PID/stat), or None once it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command's name, in parentheses, may itself hold spaces: the fields are counted from behind it.
    state, *fields = text.rpartition(")")[2].split()
    return None if state == "Z" else fields[18]


def free_port() -> int:
    """A port nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        # As servers do it: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
