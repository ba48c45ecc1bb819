"""The shop of the whole story on either kind of database server: what is done to the server, each in its own words."""

from certificates import certify
from mariadb_shop import MariaDbShop
from shop import DATABASE, Shop

from local.mariadb import MariaDb
from local.postgres import Postgres

RESTORER = "restorer"


class OnPostgres:
    """The shop on PostgreSQL."""

    shop = Shop
    name, copy = "shop", "copy"

    @staticmethod
    def server(folder):
        return Postgres(folder / "pg", tls=True)

    @staticmethod
    def restorer(server):
        """The account that restores: one that may make databases."""
        return {"username": "postgres", "password": server.password}

    @staticmethod
    def drop(server):
        server.run_sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")

    @staticmethod
    def let_in(server, database):
        """Gives the site a database that somebody else has restored: its objects are the site's already."""
        server.run_sql(f"GRANT ALL ON DATABASE {database} TO {DATABASE}")

    @staticmethod
    def left(server):
        return server.run_sql("SELECT datname FROM pg_database WHERE datname LIKE 'holdfast%'").split()


class OnMariaDb:
    """The shop on MariaDB."""

    shop = MariaDbShop
    name, copy = "shop-mariadb", "copied"

    @staticmethod
    def server(folder):
        return MariaDb(certify(folder))

    @staticmethod
    def restorer(server):
        """An account with the rights that docs/mysql-restore.md names, and no others."""
        databases = [f"ALL PRIVILEGES ON {name}.*" for name in (DATABASE, OnMariaDb.copy, r"`holdfast\_%`")]
        server.create_account(RESTORER, server.password, *databases, "SELECT ON mysql.proc", "SET USER ON *.*")
        return {"username": RESTORER, "password": server.password}

    @staticmethod
    def drop(server):
        server.run_sql(f"DROP DATABASE {DATABASE}")

    @staticmethod
    def let_in(server, database):
        server.run_sql(f"GRANT ALL PRIVILEGES ON {database}.* TO {DATABASE}")

    @staticmethod
    def left(server):
        return server.run_sql("SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'holdfast%'").split()
