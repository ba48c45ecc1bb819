"""Whom a database server runs as: servers refuse to be root."""

from __future__ import annotations

import os
import pwd


def of_server(server: str, name: str, error: type[Exception]) -> pwd.struct_passwd | None:
    """The account `name` or `nobody` where this is root; none where it is not, and `error` where neither is there."""
    if os.geteuid() != 0:
        return None
    for candidate in (name, "nobody"):
        try:
            return pwd.getpwnam(candidate)
        except KeyError:
            continue
    raise error(f"{server} refuses to run as root, and there is no user `{name}` or `nobody` for it")


def running_as(account: pwd.struct_passwd | None) -> dict[str, object]:
    """The options of `subprocess` for that."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
