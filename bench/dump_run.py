"""One dump, measured: time, CPU of everybody who takes part, memory, and what is stored."""

import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
SAMPLED_EVERY = 0.1


@dataclass
class Run:
    """What one dump cost: seconds by the wall, seconds of CPU, the most bytes of memory, bytes stored."""

    wall: float
    client: float
    server: float
    endpoint: float
    memory: int
    size: int

    @property
    def bound(self) -> float:
        """How long it takes at the least, if all cores do all of that work and never wait."""
        return (self.client + self.server + self.endpoint) / (os.cpu_count() or 1)


def run(command: str, environment: dict[str, str], postmaster: int, endpoint: int | None) -> Run:
    """Runs a shell command, all parts of which have to succeed; its size is not known yet."""
    server, stored = cpu_of_server(postmaster), cpu_of(endpoint)
    began = time.monotonic()
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", command], env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    memory = Memory(process.pid)
    memory.start()
    # The shell waits for all that it starts, so that theirs is in its usage.
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    memory.done.set()
    memory.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"`{command}` ended with {process.returncode}")
    # Sessions end a moment after the client.
    time.sleep(0.3)
    client = usage.ru_utime + usage.ru_stime
    return Run(wall, client, cpu_of_server(postmaster) - server, cpu_of(endpoint) - stored, memory.bytes, 0)


def cpu_of(pid: int | None) -> float:
    """Seconds of CPU of a process; none of no process."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:13]) / TICK


def cpu_of_server(postmaster: int) -> float:
    """Seconds of CPU of the server: its processes that have ended, and those that run."""
    total = 0
    for pid, fields in processes():
        own = pid == postmaster
        if own or int(fields[1]) == postmaster:
            total += sum(int(ticks) for ticks in fields[11 : 15 if own else 13])
    return total / TICK


def processes():
    """All processes, with the fields of their /proc/PID/stat from the state on."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            yield int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue


class Memory(threading.Thread):
    """The most that a process and all that it has started hold together."""

    def __init__(self, leader: int) -> None:
        super().__init__(daemon=True)
        self.leader = leader
        self.bytes = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(SAMPLED_EVERY):
            # Of one process group: what the command has started, and nothing else.
            held = sum(int(fields[21]) * PAGE for _, fields in processes() if int(fields[2]) == self.leader)
            self.bytes = max(self.bytes, held)
