"""An application of a seed: a small database, a few files, and what was in them when."""

import hashlib
import threading
from random import Random

import psycopg
import restored_database
from chaos.plan import Plan
from psycopg import sql

OWNER = "chaos"
TOTAL = 10_000
KEPT = "accounts"

# What the seed and its number of rows come to. `noise` differs from seed to seed.
SCHEMA = """
CREATE TABLE customers (id bigserial PRIMARY KEY, name text NOT NULL UNIQUE, noise text);
CREATE TABLE orders (id bigserial PRIMARY KEY, customer bigint NOT NULL REFERENCES customers, data jsonb, tags text[]);
CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
CREATE TABLE "Select" ("from" int, "wh""ere" bytea);
CREATE VIEW recent AS SELECT * FROM orders WHERE id > {rows} / 2;
INSERT INTO customers (name, noise) SELECT 'customer ' || n, md5('{seed} ' || n) FROM generate_series(1, {rows}) n;
INSERT INTO orders (customer, data, tags)
    SELECT n, jsonb_build_object('n', md5(n || ' {seed}')), ARRAY['a', 'b' || n] FROM generate_series(1, {rows}) n;
INSERT INTO accounts SELECT n, {total} / 10 FROM generate_series(1, 10) n;
INSERT INTO "Select" VALUES ({seed}, '\\x00ff'), (NULL, NULL);
"""

# What an application does to its database between a backup and a restore.
CHANGES = (
    "UPDATE customers SET noise = noise || '!' WHERE id % 2 = 0",
    "DROP TABLE orders CASCADE",
    "CREATE TABLE later (id int); INSERT INTO later VALUES (1), (2)",
    "DELETE FROM \"Select\"",
    "TRUNCATE customers CASCADE",
)


class Application:
    """The application of a plan, on a platform. What is changed here is changed without any fault."""

    def __init__(self, platform, database_port: int, secret_arn: str, plan: Plan, folder) -> None:
        self.platform, self.plan, self.folder = platform, plan, folder
        self.name = f"chaos-{plan.seed}"
        self.draw = Random(f"{plan.seed} contents")
        shape = plan.shape
        self.buckets = {f"MEDIA{number}": f"{self.name}-{number}-media" for number in range(shape.storages)}
        self.database = self.name if shape.database else None
        self._database_port, self._secret_arn = database_port, secret_arn

    def make(self) -> None:
        """Makes database and buckets, fills them, and registers the application."""
        services = []
        if self.database:
            self._as_superuser(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(
                sql.Identifier(self.database), sql.Identifier(OWNER)))
            self.run_sql(SCHEMA.format(seed=self.plan.seed, rows=self.plan.shape.rows, total=TOTAL))
            services.append({
                "kind": "postgres", "name": "DEFAULT", "host": self.platform.server.host, "port": self._database_port,
                "database": self.database, "secret_arn": self._secret_arn, "tls": {"mode": "disable"},
            })
        for name, bucket in self.buckets.items():
            files = {f"media/{n % 3}/{n}.bin": self.draw.randbytes(self.draw.randrange(2000)) for n in range(self.plan.shape.files)}
            if self.plan.shape.large_file:
                files["media/large.bin"] = self.draw.randbytes(self.plan.shape.large_file << 20)
            self.platform.bucket(bucket, files)
            services.append(self.platform.storage(bucket, "media/") | {"name": name})
        self.platform.register(self.name, self.folder, *services)

    def contents(self) -> dict[str, object]:
        """What is in each service now."""
        return ({"DEFAULT": self.tables()} if self.database else {}) | {name: self.files(name) for name in self.buckets}

    def tables(self) -> dict[str, object]:
        """Rows and digest of each table; of accounts that are being changed, the sum."""
        return tables_of(self.platform.server, self.database)

    def files(self, service: str) -> dict[str, str]:
        """Digest of each file below the prefix, by the rest of its key."""
        s3, bucket = self.platform.s3, self.buckets[service]
        found = {}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="media/"):
            for one in page.get("Contents", []):
                body = s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
                found[one["Key"].removeprefix("media/")] = hashlib.sha256(body).hexdigest()
        return found

    def change(self) -> None:
        """Something is done to everything."""
        if self.database:
            for change in self.draw.sample(CHANGES, 2):
                try:
                    self.run_sql(change)
                except psycopg.Error:
                    # It was done before.
                    continue
        for bucket in self.buckets.values():
            keys = [one["Key"] for one in self.platform.s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
            for key in self.draw.sample(keys, min(3, len(keys))):
                self.platform.s3.delete_object(Bucket=bucket, Key=key)
            for key in self.draw.sample(keys, min(2, len(keys))):
                self.platform.s3.put_object(Bucket=bucket, Key=key, Body=self.draw.randbytes(50))
            self.platform.s3.put_object(Bucket=bucket, Key="media/new.bin", Body=b"new")

    def run_sql(self, text: str) -> None:
        """As the owner would, whole or not at all."""
        with self._connect(self.database) as connection:
            connection.execute(f'SET ROLE "{OWNER}"')
            connection.execute(text)

    def remove(self) -> None:
        """Takes database, buckets and records away, so that many fit beside each other."""
        stack, s3 = self.platform.stack, self.platform.s3
        for name in self.databases():
            self._as_superuser(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        for bucket in [*self.buckets.values(), stack.bucket]:
            prefix = "" if bucket in self.buckets.values() else f"applications/{self.name}/"
            found = s3.list_object_versions(Bucket=bucket, Prefix=prefix)
            for one in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]:
                s3.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
            if bucket in self.buckets.values():
                s3.delete_bucket(Bucket=bucket)
        table = stack.client("dynamodb")
        for item in items_of(table, stack.table, self.name):
            table.delete_item(TableName=stack.table, Key={"pk": item["pk"], "sk": item["sk"]})
        table.delete_item(TableName=stack.table, Key={"pk": {"S": "APPS"}, "sk": {"S": self.name}})

    def databases(self) -> list[str]:
        """Every database of the server that has to do with the application."""
        if not self.database:
            return []
        with self._connect("postgres") as connection:
            rows = connection.execute("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'").fetchall()
        return [name for (name,) in rows if name == self.name or name.startswith(f"{self.name}_") or f"_{self.name}_" in name]

    def _as_superuser(self, statement) -> None:
        with self._connect("postgres") as connection:
            connection.autocommit = True
            connection.execute(statement)

    def _connect(self, database: str):
        server = self.platform.server
        return psycopg.connect(server.dsn_for(database, "postgres", server.password))


class Transfers(threading.Thread):
    """Moves amounts between accounts until it is told to stop: their sum is the same at every moment."""

    def __init__(self, application: Application) -> None:
        super().__init__(daemon=True)
        self.application = application
        self.draw = Random(f"{application.plan.seed} transfers")
        self._stopped = threading.Event()

    def run(self) -> None:
        server = self.application.platform.server
        with psycopg.connect(server.dsn_for(self.application.database, "postgres", server.password)) as connection:
            while not self._stopped.wait(0.01):
                one, other = self.draw.sample(range(1, 11), 2)
                amount = self.draw.randint(1, 50)
                connection.execute("UPDATE accounts SET balance = balance - %s WHERE id = %s", (amount, one))
                connection.execute("UPDATE accounts SET balance = balance + %s WHERE id = %s", (amount, other))
                connection.commit()

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def tables_of(server, database: str) -> dict[str, object]:
    """Each table with its content. Of the accounts only how many there are and their sum, which transfers do not change."""
    found = dict(restored_database.contents(server, database))
    if f"public.{KEPT}" in found:
        with psycopg.connect(server.dsn_for(database, "postgres", server.password)) as connection:
            found[f"public.{KEPT}"] = connection.execute(f"SELECT count(*), sum(balance) FROM {KEPT}").fetchone()
    return found


def items_of(table, name: str, application: str) -> list[dict]:
    """Every item of the application's partition."""
    pages = table.get_paginator("query").paginate(
        TableName=name, ConsistentRead=True, KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": f"APP#{application}"}},
    )
    return [item for page in pages for item in page["Items"]]
