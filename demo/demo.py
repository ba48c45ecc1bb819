#!/usr/bin/env python3
"""`make demo`: a real application backed up, downloaded, and read by stock tools, all on this machine.

Everything it says is read from the things themselves: sizes, classes and checksums from S3, row counts from
both databases, hashes from the unpacked files. It stops at the first thing that is not as it must be, and
ends with another code than 0. It may be repeated; the stack and its PostgreSQL stay up until `make down`.
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from local.built import TRIED  # noqa: E402
from local.postgres import Postgres, PostgresError, recorded, stop_recorded  # noqa: E402
from local.stack import DEFAULT_STATE, Stack, StackError  # noqa: E402

import restored_database  # noqa: E402
import stored_objects  # noqa: E402
import unpacked_media  # noqa: E402
from holdfast_cli import Holdfast  # noqa: E402
from report import Failure, first_lines, heading, line, size, table  # noqa: E402
from shop import APPLICATION, DATABASE, DATABASE_SERVICE, MEDIA_SERVICE, Shop  # noqa: E402

RESTORED = "shop_restored"
LISTED = 12


class Demo:
    """The parts of the demo, in order, over one state folder."""

    def __init__(self, state_dir: Path) -> None:
        self.stack = Stack(state_dir)
        self.state = self.stack.state_dir
        self.folder = self.state / "demo"
        self.started_stack = False
        self.started_server = False

    def run(self) -> None:
        """All of it; a Failure tells where it stopped."""
        self.bring_up_stack()
        self.bring_up_server()
        self.prepare_shop()
        self.register()
        backup = self.back_up()
        self.download(backup)
        self.show_artifacts(backup)
        self.restore_database()
        self.unpack_media()
        self.say_what_next(backup)

    def clean_up(self) -> None:
        """Stop what this run has started; what was up before stays up."""
        if self.started_server:
            stop_recorded(self.state)
        if self.started_stack:
            self.stack.stop()

    def bring_up_stack(self) -> None:
        """Start the stack and deploy the template, unless the running one is what was built last."""
        heading("Holdfast, deployed from template.yaml")
        if not self.stack.running:
            self.started_stack = True
            self.stack.start()
        deployed = self.state / "outputs.json"
        made = TRIED.template.exists() and TRIED.template.stat().st_mtime
        if self.started_stack or not deployed.exists() or deployed.stat().st_mtime < made:
            self.stack.deploy()
        line(f"API           {self.stack.api_url}/v1")
        line(f"AWS endpoint  {self.stack.endpoint}")
        line(f"bucket        {self.stack.bucket}")

    def bring_up_server(self) -> None:
        """Use the PostgreSQL that an earlier run left, or make one."""
        heading("A PostgreSQL server")
        server = recorded(self.state)
        if server is None:
            # Clears away one that died.
            stop_recorded(self.state)
            self.started_server = True
            server = Postgres(self.state / "postgres", tls=True, outlive=True)
            try:
                server.start()
                server.record(self.state)
            except BaseException:
                server.stop()
                raise
        self.server = server
        line(f"PostgreSQL {server.version} on localhost:{server.port}, with TLS")

    def prepare_shop(self) -> None:
        """Migrate and seed the Django site."""
        heading("An application: a Django shop")
        self.shop = Shop(self.server, self.stack, self.folder / "shop.env")
        for said in self.shop.prepare().splitlines():
            line(said)

    def register(self) -> None:
        """Tell Holdfast of the application."""
        heading("Register it")
        document = self.folder / "app.json"
        document.write_text(json.dumps(self.shop.registration(), indent=2) + "\n")
        self.holdfast = Holdfast(TRIED.holdfast, self.stack.api_url, self.stack.env)
        # Overwriting: an earlier run's database had another port.
        line(f"holdfast apps put {APPLICATION} --file {shown(document)} --overwrite")
        self.holdfast.show("apps", "put", APPLICATION, "--file", str(document), "--overwrite")

    def back_up(self) -> dict:
        """Back it up on demand, and list its backups."""
        heading("Back it up")
        # What the restored database is compared with, taken before; nobody else writes to this one.
        self.rows = restored_database.contents(self.server, DATABASE)
        self.keys = self.shop.media_keys()
        line(f"holdfast backup create {APPLICATION}")
        began = time.monotonic()
        backup = self.holdfast.ask("backup", "create", APPLICATION)
        line(f"{backup['id']} {backup['state']} after {time.monotonic() - began:.1f} s")
        if backup["state"] != "succeeded":
            reason = (backup.get("failure") or {}).get("message", "no reason given")
            raise Failure(f"the backup is {backup['state']}: {reason}")
        line()
        line(f"holdfast backup list {APPLICATION}")
        self.holdfast.show("backup", "list", APPLICATION)
        return backup

    def download(self, backup: dict) -> None:
        """Download both artifacts."""
        heading("Download it")
        folder = fresh(self.folder / "download")
        line(f"holdfast backup download {APPLICATION} {backup['id']} --to {shown(folder)}")
        report = self.holdfast.ask("backup", "download", APPLICATION, backup["id"], "--to", str(folder))
        self.files = {file["service"]: Path(file["path"]) for file in report["files"]}
        for path in self.files.values():
            line(shown(path))

    def show_artifacts(self, backup: dict) -> None:
        """Read each artifact's object back from S3, and the downloads with it."""
        heading("What S3 says of the artifacts")
        stored = stored_objects.read_back(self.stack.client("s3"), self.stack.bucket, backup)
        by_service = {artifact.service: artifact for artifact in stored}
        if set(by_service) != {DATABASE_SERVICE, MEDIA_SERVICE}:
            raise Failure(f"the backup has artifacts of {sorted(by_service)}, not of both services")
        self.dump = self.downloaded(by_service[DATABASE_SERVICE])
        self.archive = self.downloaded(by_service[MEDIA_SERVICE])
        table(
            ["artifact", "size", "seconds", "storage class", "encryption", "checksum (CRC64NVME)"],
            [
                [
                    f"{artifact.service}/{artifact.file_name}", size(artifact.size), f"{artifact.seconds:.2f}",
                    artifact.storage_class, f"{artifact.encryption}, bucket key", artifact.checksum,
                ]
                for artifact in stored
            ],
            right=["size", "seconds"],
        )
        line()
        line("The record agrees with each of these, and the downloads have these sizes and checksums.")

    def downloaded(self, stored: stored_objects.Stored) -> Path:
        """The download of an artifact, checked against it."""
        path = self.files.get(stored.service)
        if path is None or not path.is_file():
            raise Failure(f"there is no download of the service {stored.service}")
        stored_objects.check_download(path, stored)
        return path

    def restore_database(self) -> None:
        """Read the dump with `pg_restore`, restore it, and compare."""
        heading(f"pg_restore -l {self.dump.name}")
        first_lines(restored_database.contents_list(self.server, self.dump), LISTED + 12)
        heading("Restore it into a fresh database with pg_restore, and compare")
        restored_database.restore(self.server, self.dump, RESTORED)
        after = restored_database.contents(self.server, RESTORED)
        restored_database.compare(self.rows, after)
        table(
            ["table", "rows", "restored"],
            [[name, f"{content.rows:,}", f"{after[name].rows:,}"] for name, content in sorted(self.rows.items())],
            right=["rows", "restored"],
        )
        total = sum(content.rows for content in self.rows.values())
        line()
        line(f"{len(self.rows)} tables, {total:,} rows: as many in each, and every row the same.")

    def unpack_media(self) -> None:
        """Read the archive with `tar`, unpack it, and check every file."""
        heading(f"tar tf {self.archive.name}")
        first_lines(unpacked_media.contents_list(self.archive), LISTED)
        heading("Unpack it with tar, and check it against its MANIFEST.jsonl")
        folder = fresh(self.folder / "unpacked")
        unpacked_media.unpack(self.archive, folder)
        count = unpacked_media.check(folder, self.keys)
        line(f"{count} files: every checksum matches, and they are the {len(self.keys)} objects of the bucket.")

    def say_what_next(self, backup: dict) -> None:
        """Commands for the running stack."""
        heading("Where to go next")
        line("The stack and its PostgreSQL are still up. In a shell:")
        line()
        for command in (
            f". {shown(self.shop.env_file)}",
            f"export HOLDFAST_API={self.stack.api_url}",
            f"{shown(TRIED.holdfast)} backup show {APPLICATION} {backup['id']}",
            f"{shown(TRIED.holdfast)} backup create {APPLICATION}",
            f"{shown(TRIED.holdfast)} retention simulate --policy gfs:7/4/12 --from 2026-01-01 --days 400",
            f"SHOP_DEBUG=1 {shown(ROOT / '.tools/venv/bin/python')} {shown(ROOT / 'demo/site/manage.py')} runserver",
        ):
            line(f"  {command}")
        line()
        line(f"Downloads, the unpacked files and the registration are in {shown(self.folder)}. `make down` stops both.")


def shown(path: Path) -> str:
    """A path as one would type it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def fresh(folder: Path) -> Path:
    """An empty folder, whatever an earlier run left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def main() -> int:
    """Run the demo; the exit code is 0 only when all of it was as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state", type=Path, default=DEFAULT_STATE, help="the stack's state folder")
    demo = Demo(parser.parse_args().state)
    try:
        demo.run()
    except (Failure, StackError, PostgresError) as error:
        print(f"\ndemo failed: {error}", file=sys.stderr)
        print(f"The stack's log is {demo.stack.log}. What runs is left up; `make down` stops it.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: stopping what this run has started", file=sys.stderr)
        demo.clean_up()
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
