"""Ends programs of a stack with SIGKILL: those that a connection comes from, and whoever runs at an instant."""

import os
import signal
import threading
from collections import Counter
from pathlib import Path
from random import Random

from chaos.plan import Kill, Plan
from stack_processes import children, functions

DATABASE_TOOLS = ("pg_dump", "pg_restore")


class Killer:
    """Of one stack, whose process has the id `stack`."""

    def __init__(self, stack: int) -> None:
        self.stack = stack
        self.done = Counter()

    def kill_who_calls_from(self, port: int) -> bool:
        """Ends the function that a connection from that local port belongs to. Says whether there is one."""
        inode = inode_of(port)
        pid = next((pid for pid in children("bootstrap", self.stack) if inode and holds(pid, inode)), None)
        return pid is not None and self.end(pid, "call", alone=False)

    def at(self, kills: tuple[Kill, ...], plan: Plan) -> "Instants":
        """Ends whom it meets at each of the instants, counted from now."""
        instants = Instants(self, kills, plan)
        instants.start()
        return instants

    def end(self, pid: int, what: str, alone: bool) -> bool:
        """Ends a process; unless `alone` with all it has started, as when its machine goes away."""
        ended = False
        for one in [pid] if alone else [pid, *descendants(pid)]:
            try:
                os.kill(one, signal.SIGKILL)
                ended = True
            except ProcessLookupError:
                continue
        self.done[f"kill {what}"] += ended
        return ended


class Instants(threading.Thread):
    """Kills that come with time, until it is told to stop."""

    def __init__(self, killer: Killer, kills: tuple[Kill, ...], plan: Plan) -> None:
        super().__init__(daemon=True)
        self.killer, self.kills = killer, sorted(kills, key=lambda kill: kill.seconds)
        self.draw = Random(f"{plan.seed} kills")
        self._stopped = threading.Event()

    def run(self) -> None:
        passed = 0.0
        for kill in self.kills:
            if self._stopped.wait(kill.seconds - passed):
                return
            passed = kill.seconds
            tool = kill.victim in DATABASE_TOOLS
            found = (children if tool else functions)(kill.victim, self.killer.stack)
            if found:
                self.killer.end(self.draw.choice(found), kill.victim, kill.alone or tool)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def descendants(pid: int) -> list[int]:
    """Processes that it has started, and that these have."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        started = [int(one) for task in tasks for one in (task / "children").read_text().split()]
    except OSError:
        return []
    return started + [below for one in started for below in descendants(one)]


def inode_of(port: int) -> str | None:
    """The inode of the socket that is connected from 127.0.0.1:`port`."""
    local = f"0100007F:{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == local and fields[9] != "0":
            return fields[9]
    return None


def holds(pid: int, inode: str) -> bool:
    """Whether the process has that socket open."""
    try:
        return any(os.readlink(one) == f"socket:[{inode}]" for one in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
