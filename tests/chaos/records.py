"""An application's records, read from the table itself."""

from dataclasses import dataclass, field

from boto3.dynamodb.types import TypeDeserializer
from chaos.application import items_of

OPEN = ("queued", "running")


@dataclass
class Records:
    """What the table says of one application."""

    application: dict = field(default_factory=dict)
    backups: dict[str, dict] = field(default_factory=dict)
    restores: dict[str, dict] = field(default_factory=dict)
    turns: list[str] = field(default_factory=list)
    slots: list[str] = field(default_factory=list)
    trail: list[dict] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, stack, application: str) -> "Records":
        found, read = cls(), TypeDeserializer().deserialize
        for item in items_of(stack.client("dynamodb"), stack.table, application):
            kind, _, rest = item["sk"]["S"].partition("#")
            record = read(item["record"]) if "record" in item else {name: read(value) for name, value in item.items()}
            match kind:
                case "APP":
                    found.application = record
                case "BACKUP":
                    found.backups[rest] = record
                case "RESTORE":
                    found.restores[rest] = record
                case "TURN":
                    found.turns.append(rest)
                case "SLOT":
                    found.slots.append(rest)
                case "AUDIT":
                    found.trail.append(record)
                case _:
                    found.others.append(item["sk"]["S"])
        return found

    def open_jobs(self) -> list[tuple[str, dict]]:
        """Jobs that have not ended, each as its kind and record; a verification as that of its backup."""
        backups = [("backup", one) for one in self.backups.values() if one["state"] in OPEN]
        restores = [("restore", one) for one in self.restores.values() if one["state"] in OPEN]
        looks = [("verify", one) for one in self.backups.values() if (one.get("verification") or {}).get("state") == "running"]
        return backups + restores + looks

    def succeeded(self) -> list[dict]:
        """Backups that succeeded, newest first."""
        return sorted((one for one in self.backups.values() if one["state"] == "succeeded"), key=lambda one: one["id"], reverse=True)


def seats_of(stack, server: str) -> list[dict]:
    """Who dumps databases of a server, known by its host and port, or has not given that up."""
    key = {"pk": {"S": f"SERVER#{server}"}, "sk": {"S": "SEATS"}}
    item = stack.client("dynamodb").get_item(TableName=stack.table, Key=key, ConsistentRead=True).get("Item")
    return TypeDeserializer().deserialize(item["record"])["taken"] if item else []
