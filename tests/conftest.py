"""What every test shares: the repository on the path, and one local stack with the built template deployed."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from local.stack import Stack  # noqa: E402


@pytest.fixture(scope="session")
def bare_stack(tmp_path_factory):
    """A local stack of the tests' own, with nothing deployed. Waits of the state machines are a hundredth as long."""
    stack = Stack(tmp_path_factory.mktemp("bare"))
    with stack.start(SFN_WAIT_SCALE="0.01"):
        yield stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """A local stack of the tests' own, with template.yaml deployed as `sam build` left it."""
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        stack.deploy()
        yield stack
