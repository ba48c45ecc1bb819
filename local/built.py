"""Where `make` puts what it builds."""

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Built:
    """What is built of one profile of Cargo."""

    profile: str

    @property
    def programs(self) -> Path:
        return ROOT / "target" / ("debug" if self.profile == "dev" else self.profile)

    @property
    def holdfast(self) -> Path:
        """The command line."""
        return self.programs / "holdfast"

    @property
    def examples(self) -> Path:
        return self.programs / "examples"

    @property
    def functions(self) -> Path:
        """What `sam build` made of the template: a folder for each function and the layer."""
        return ROOT / ".aws-sam" / self.profile

    @property
    def template(self) -> Path:
        return self.functions / "template.yaml"


# As it deploys, which is what benchmarks measure.
RELEASE = Built("release")
# What the demo and the tests take.
TRIED = Built(os.environ.get("HOLDFAST_PROFILE", "dev"))
