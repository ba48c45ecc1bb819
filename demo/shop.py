"""The demo's application: a Django site with a PostgreSQL database and uploads in S3."""

import hashlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

from botocore.exceptions import ClientError

from local.postgres import Postgres
from local.stack import Stack
from report import Failure

SITE = Path(__file__).resolve().parent / "site"
APPLICATION = "shop"
DATABASE = "shop"
DATABASE_SERVICE = "DEFAULT"
MEDIA_SERVICE = "MEDIA"
MEDIA_BUCKET = "shop-media"
MEDIA_PREFIX = "media"
# Reads everything and changes nothing: all that a backup needs.
BACKUP_ROLE = "shop_backup"
BACKUP_SECRET = "holdfast/shop-database"


class Shop:
    """The site on a running PostgreSQL and a running stack.

    Once prepared, its `settings` are environment variables, and `env_file` has them for a shell.
    """

    # What Django and Holdfast call the kind of database.
    engine, kind = "postgresql", "postgres"

    def __init__(self, server: Postgres, stack: Stack, env_file: Path) -> None:
        self.server = server
        self.stack = stack
        self.env_file = env_file
        self.settings: dict[str, str] = {}

    def prepare(self) -> str:
        """Create what the site needs, then migrate and seed it; gives what seeding said. Harmless to repeat."""
        password = self._secret(DATABASE)
        self._create_database(password)
        self._create_media_bucket()
        self._write_env({
            "SHOP_DATABASE_ENGINE": self.engine,
            "SHOP_DATABASE_HOST": "localhost",
            "SHOP_DATABASE_PORT": str(self.server.port),
            "SHOP_DATABASE_NAME": DATABASE,
            "SHOP_DATABASE_USER": DATABASE,
            "SHOP_DATABASE_PASSWORD": password,
            "SHOP_DATABASE_CA": str(self.server.ca_file),
            "SHOP_MEDIA_BUCKET": MEDIA_BUCKET,
            "SHOP_MEDIA_PREFIX": MEDIA_PREFIX,
            "SHOP_SECRET_KEY": self._secret("sessions"),
            **{name: value for name, value in self.stack.env.items() if name.startswith("AWS_")},
        })
        self._manage("migrate", "--verbosity", "0")
        return self._manage("seed").strip()

    def registration(self) -> dict[str, object]:
        """The application as Holdfast is told of it; makes the backup's role and its secret."""
        password = self._secret(BACKUP_ROLE)
        self._create_backup_role(password)
        return {
            "time_zone": "Europe/Zurich",
            "services": [
                {
                    "kind": self.kind,
                    "name": DATABASE_SERVICE,
                    "host": "localhost",
                    "port": self.server.port,
                    "database": DATABASE,
                    "secret_arn": self._put_secret({"username": BACKUP_ROLE, "password": password}),
                    "tls": {"mode": "verify_full", "ca_pem": self.server.ca_pem},
                },
                {"kind": "storage", "name": MEDIA_SERVICE, "bucket": MEDIA_BUCKET, "prefix": f"{MEDIA_PREFIX}/"},
            ],
        }

    def media_keys(self) -> set[str]:
        """The key of every file, relative to the prefix."""
        prefix = f"{MEDIA_PREFIX}/"
        pages = self.stack.client("s3").get_paginator("list_objects_v2").paginate(Bucket=MEDIA_BUCKET, Prefix=prefix)
        return {found["Key"].removeprefix(prefix) for page in pages for found in page.get("Contents", [])}

    def _create_database(self, password: str) -> None:
        self.server.create_role(DATABASE, password)
        self.server.create_database(DATABASE, owner=DATABASE)

    def _create_backup_role(self, password: str) -> None:
        self.server.create_role(BACKUP_ROLE, password)
        self.server.run_sql(f"GRANT pg_read_all_data TO {BACKUP_ROLE}")

    def _secret(self, purpose: str) -> str:
        # Made up with the cluster, and the same as long as it lives: a second run must not lock out a site
        # that has been serving since the first.
        return hashlib.sha256(f"{self.server.password} {purpose}".encode()).hexdigest()

    def _create_media_bucket(self) -> None:
        s3 = self.stack.client("s3")
        region = self.stack.region
        # us-east-1 is the one region that must not be named.
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            s3.head_bucket(Bucket=MEDIA_BUCKET)
        except ClientError:
            s3.create_bucket(Bucket=MEDIA_BUCKET, **where)

    def _put_secret(self, content: dict[str, str]) -> str:
        manager = self.stack.client("secretsmanager")
        text = json.dumps(content)
        try:
            return manager.create_secret(Name=BACKUP_SECRET, SecretString=text)["ARN"]
        except manager.exceptions.ResourceExistsException:
            return manager.put_secret_value(SecretId=BACKUP_SECRET, SecretString=text)["ARN"]

    def _write_env(self, values: dict[str, str]) -> None:
        self.env_file.parent.mkdir(parents=True, exist_ok=True)
        self.env_file.touch(mode=0o600)
        self.env_file.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items()))
        self.settings = values

    def _manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=SITE, env=self.stack.env | self.settings, stdout=subprocess.PIPE, text=True, check=False,
        )
        if done.returncode:
            raise Failure(f"the shop's `manage.py {arguments[0]}` failed; its message is above")
        return done.stdout
