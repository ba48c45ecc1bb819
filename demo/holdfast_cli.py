"""The demo as a user of the command line program `holdfast`."""

import json
import subprocess
from pathlib import Path

from report import Failure


class Holdfast:
    """The program, told which API to talk to; `env` is its whole environment, credentials included."""

    def __init__(self, program: Path, api_url: str, env: dict[str, str]) -> None:
        if not program.exists():
            raise Failure(f"{program} is missing; run `make build`")
        self.program = program
        self.api_url = api_url
        self.env = env

    def show(self, *arguments: str) -> None:
        """Run a command whose output is for people."""
        self._run(arguments, capture=False)

    def ask(self, *arguments: str) -> dict[str, object]:
        """Run a command and read its JSON; its progress goes to the terminal."""
        text = self._run(("--output", "json", *arguments), capture=True)
        try:
            return json.loads(text)
        except ValueError as error:
            raise Failure(f"`holdfast {' '.join(arguments)}` answered what is not JSON:\n{text[:500]}") from error

    def _run(self, arguments: tuple[str, ...], *, capture: bool) -> str:
        done = subprocess.run(
            [self.program, "--api", self.api_url, *arguments],
            env=self.env, stdout=subprocess.PIPE if capture else None, text=True, check=False,
        )
        if done.returncode:
            written = (done.stdout or "").strip()[-2000:]
            said = f"it wrote:\n{written}" if written else "its message is above"
            raise Failure(f"`holdfast {' '.join(arguments)}` ended with {done.returncode}; {said}")
        return done.stdout or ""
