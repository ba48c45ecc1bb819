"""Running other people's programs, the ones a reader of the backup would use."""

import os
import subprocess
from pathlib import Path

from report import Failure


def output_of(program: str | Path, *arguments: str | Path, env: dict[str, str] | None = None) -> str:
    """What `program` wrote to its output. Any warning or failure of it is a Failure of ours."""
    shown = " ".join(map(str, [Path(program).name, *arguments]))
    try:
        done = subprocess.run(
            [str(program), *map(str, arguments)],
            env=os.environ | (env or {}), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )
    except FileNotFoundError as error:
        raise Failure(f"{program} is not installed; run `make install`") from error
    if done.returncode or done.stderr.strip():
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise Failure(f"`{shown}` ended with {done.returncode} and said:\n{said}")
    return done.stdout
