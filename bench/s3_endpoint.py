"""The S3 endpoint of the benchmarks, and `aws`, which talks to it as the programs that are measured do.

The endpoint is shared/aws/examples/synthetic_s3, on loopback; it answers each request so many milliseconds later, as S3 does.
awscli is put into `.tools/awscli`, in the version that is pinned here.
"""

import os
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from local.built import RELEASE  # noqa: E402
from local.machine import free_port  # noqa: E402

AWSCLI = "awscli==1.46.2"
AWSCLI_FOLDER = ROOT / ".tools" / "awscli"
AWS = AWSCLI_FOLDER / "bin" / "aws"
EXAMPLES = RELEASE.examples


class Endpoint:
    """The S3 that all contestants talk to."""

    def __init__(self, latency: int) -> None:
        self.port = free_port()
        self.process = subprocess.Popen([EXAMPLES / "synthetic_s3", f"127.0.0.1:{self.port}", str(latency)], stdout=subprocess.PIPE)
        self.process.stdout.readline()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a program that talks to it, and to no other."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return kept | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            # The rival's own checksums would cost it more.
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            "NO_PROXY": "127.0.0.1",
        }

    def counts(self) -> dict[str, int]:
        """What was asked since the last time; what was stored is forgotten."""
        return self._numbers("_counts")

    def stored(self) -> dict[str, int]:
        """The size of each object that was uploaded whole, by bucket and key."""
        return self._numbers("_stored")

    def _numbers(self, of: str) -> dict[str, int]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}/{of}") as answer:
            lines = (line.rpartition(" ") for line in answer.read().decode().splitlines())
            return {name: int(number) for name, _, number in lines}

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()


def install_awscli() -> None:
    """Puts the pinned awscli in place, if it is not there."""
    version = AWSCLI.partition("==")[2]
    if AWS.exists() and version in subprocess.run([AWS, "--version"], capture_output=True, text=True).stdout:
        return
    venv.create(AWSCLI_FOLDER, with_pip=True, clear=True)
    subprocess.run([AWSCLI_FOLDER / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", AWSCLI], check=True)
