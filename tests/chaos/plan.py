"""What a seed comes to: an application, what is asked of it, and what goes wrong meanwhile. No I/O, no clock.

A call's fate depends on the seed, on which operation it is, and on how many of it there were, so that it is the same whatever
else happens at the moment. Instants, of kills and cancellations, are drawn too; where they fall is the machine's affair.
"""

from dataclasses import dataclass
from random import Random

# How a call fails, and how often one kind is drawn against another.
BEFORE = {"reset": 3, "error": 3, "throttled": 4}
AFTER = {"answer_lost": 5, "error_afterwards": 3, "truncated": 2, "late": 1}
AROUND = {"delayed": 4}
CALL_FAULTS = BEFORE | AFTER | AROUND

# How a connection to the database fails.
CONNECTION_FAULTS = {"refused": 2, "cut": 4, "slow": 2, "stalled": 2, "commit_unheard": 3}

# What a storm of failures may hit: more of them in a row than a program bears with patience.
STORMY = (
    "dynamodb.GetItem", "dynamodb.Query", "dynamodb.TransactWriteItems", "dynamodb.PutItem", "s3.UploadPart", "s3.PutObject",
    "s3.CreateMultipartUpload", "s3.CompleteMultipartUpload", "s3.HeadObject", "s3.ListMultipartUploads", "s3.GetObject",
    "s3.ListObjectsV2", "s3.AbortMultipartUpload", "s3.DeleteObjects", "secretsmanager.GetSecretValue", "states.StartExecution",
)

# Programs and functions that are killed at an instant.
VICTIMS = {"Worker": 6, "Restore": 3, "Api": 1, "Retention": 1, "Scheduler": 1, "pg_dump": 3, "pg_restore": 2}

# Who is killed in a single run, at most: a state of the state machine is tried five times.
MOST_KILLS = 4


@dataclass(frozen=True)
class Fault:
    """What happens to one call or connection; `seconds` and `size` mean something to some kinds only."""

    kind: str
    seconds: float = 0.0
    size: int = 0


@dataclass(frozen=True)
class Storm:
    """So many calls of an operation in a row that all fail alike."""

    operation: str
    first: int
    length: int
    kind: str


@dataclass(frozen=True)
class Kill:
    """Somebody is killed, so many seconds after a step has begun; with all that it has started, or alone."""

    seconds: float
    victim: str
    alone: bool


@dataclass(frozen=True)
class Step:
    """One thing that is asked for; what the fields mean depends on it."""

    what: str
    cancel_after: float | None = None
    requests: int = 1
    days: int = 0
    options: tuple[str, ...] = ()
    kills: tuple[Kill, ...] = ()


@dataclass(frozen=True)
class Shape:
    """What the application consists of."""

    database: bool
    storages: int
    rows: int
    files: int
    large_file: int
    divided: bool
    transfers: bool


@dataclass(frozen=True)
class Plan:
    """All that a seed decides."""

    seed: int
    shape: Shape
    steps: tuple[Step, ...]
    rate: float
    kill_rate: float
    storms: tuple[Storm, ...]
    connection_rate: float

    @classmethod
    def of(cls, seed: int) -> "Plan":
        draw = Random(f"chaos {seed}")
        shape = draw_shape(draw)
        return cls(
            seed=seed,
            shape=shape,
            steps=draw_steps(draw, shape),
            rate=draw.choices([0, 0.02, 0.05, 0.1, 0.2], [2, 4, 4, 2, 1])[0],
            kill_rate=draw.choices([0, 0.005, 0.02], [3, 2, 1])[0],
            storms=tuple(draw_storm(draw) for _ in range(draw.choices([0, 1, 2, 3], [4, 4, 2, 1])[0])),
            connection_rate=draw.choices([0, 0.1, 0.3, 0.6], [4, 3, 2, 1])[0],
        )

    def of_call(self, operation: str, number: int) -> Fault | None:
        """What happens to the call of that number, from 0, of an operation."""
        draw = Random(f"{self.seed} {operation} {number}")
        for storm in self.storms:
            if storm.operation == operation and storm.first <= number < storm.first + storm.length:
                return drawn(draw, storm.kind)
        if draw.random() < self.kill_rate:
            return Fault(draw.choice(["killed_before", "killed_after"]))
        if draw.random() < self.rate:
            return drawn(draw, draw.choices(list(CALL_FAULTS), list(CALL_FAULTS.values()))[0])
        return None

    def of_connection(self, number: int) -> Fault | None:
        """What happens to the connection of that number, from 0, to the database."""
        draw = Random(f"{self.seed} postgresql {number}")
        if draw.random() >= self.connection_rate:
            return None
        kind = draw.choices(list(CONNECTION_FAULTS), list(CONNECTION_FAULTS.values()))[0]
        # Bytes of the server's: from its first words to the middle of a table.
        return Fault(kind, seconds=draw.uniform(0.2, 1.5), size=int(10 ** draw.uniform(1.5, 5.5)))


def drawn(draw: Random, kind: str) -> Fault:
    return Fault(kind, seconds=draw.uniform(0.02, 0.6))


def draw_shape(draw: Random) -> Shape:
    database, storages = draw.choices([(True, 0), (False, 1), (True, 1), (True, 2), (False, 3)], [4, 3, 8, 2, 1])[0]
    return Shape(
        database=database,
        storages=storages,
        rows=draw.choice([0, 20, 300, 3000]),
        files=draw.choice([0, 3, 12, 40]),
        large_file=draw.choice([0, 0, 0, 0, 6, 13]) if storages else 0,
        divided=bool(storages) and draw.random() < 0.25,
        transfers=database and draw.random() < 0.2,
    )


def draw_steps(draw: Random, shape: Shape) -> tuple[Step, ...]:
    kinds = [draw.choice(["backup", "backup", "scheduled"])]
    kinds += draw.choices(
        ["backup", "scheduled", "restore", "delete", "verify", "history"], [2, 3, 5, 1, 1, 1], k=draw.choice([0, 0, 1, 1, 2])
    )
    return tuple(draw_step(draw, kind) for kind in kinds)


def draw_step(draw: Random, kind: str) -> Step:
    kills = tuple(
        Kill(draw.uniform(0, 1.5), draw.choices(list(VICTIMS), list(VICTIMS.values()))[0], draw.random() < 0.3)
        for _ in range(draw.choices([0, 1, 2], [5, 3, 1])[0])
    )
    cancellable = kind in ("backup", "scheduled", "restore")
    options = ()
    if kind == "restore":
        options = ("--mirror",) if draw.random() < 0.2 else ()
        options += ("--no-safety-backup",) if draw.random() < 0.3 else ()
    return Step(
        what=kind,
        cancel_after=draw.uniform(0, 1.0) if cancellable and draw.random() < 0.12 else None,
        requests=draw.choices([1, 2, 4], [5, 2, 1])[0],
        days=draw.randint(5, 40),
        options=options,
        kills=kills,
    )


def draw_storm(draw: Random) -> Storm:
    kind = draw.choices(list(CALL_FAULTS), list(CALL_FAULTS.values()))[0]
    return Storm(draw.choice(STORMY), draw.choice([0, 1, 2, 4, 8, 15]), draw.choice([2, 4, 5, 9, 16]), kind)
