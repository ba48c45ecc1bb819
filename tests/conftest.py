"""What every test shares: the repository on the path, and one local stack with the built template deployed."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from local.postgres import Postgres  # noqa: E402
from local.stack import Stack  # noqa: E402
from platform_under_test import Platform  # noqa: E402


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


@pytest.fixture(scope="session")
def platform(tmp_path_factory):
    """A platform with a PostgreSQL of its own. Jobs that are tried again wait a fiftieth of the time."""
    stack = Stack(tmp_path_factory.mktemp("platform"))
    with stack.start(SFN_WAIT_SCALE="0.02"), Postgres(tmp_path_factory.mktemp("postgres") / "cluster") as server:
        stack.deploy()
        yield Platform(stack, server)
