"""The processes that a local stack has started: its functions, and what they start."""

import os
from pathlib import Path


def processes(name):
    """Ids of the processes of that name."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.path.basename(command[0]).decode(errors="replace") == name:
                found.append(int(folder.name))
    return found


def children(name, of_stack):
    """Processes of that name whose session belongs to the stack."""
    def parent(pid):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

    mine = []
    for pid in processes(name):
        try:
            above = pid
            while above > 1 and above != of_stack:
                above = parent(above)
        except OSError:
            continue
        if above == of_stack:
            mine.append(pid)
    return mine


def functions(name, of_stack):
    """Processes of the stack that run the function whose name in the template begins so."""
    def variables(pid):
        try:
            return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return []

    def runs(pid):
        names = [one for one in variables(pid) if one.startswith("AWS_LAMBDA_FUNCTION_NAME=")]
        return any(f"{name}Function" in one for one in names)

    return [pid for pid in children("bootstrap", of_stack) if runs(pid)]
