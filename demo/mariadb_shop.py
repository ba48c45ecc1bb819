"""The demo's application on MariaDB."""

from shop import BACKUP_ROLE, DATABASE, Shop


class MariaDbShop(Shop):
    """The same site; its `server` is a `local.mariadb.MariaDb` with TLS."""

    engine, kind = "mysql", "mysql"

    def _create_database(self, password: str) -> None:
        self.server.run_sql(f"CREATE DATABASE IF NOT EXISTS `{DATABASE}` CHARACTER SET utf8mb4")
        self.server.create_account(DATABASE, password, f"ALL PRIVILEGES ON `{DATABASE}`.*")

    def _create_backup_role(self, password: str) -> None:
        # As docs/mysql-dump.md says.
        grants = f"SELECT, SHOW VIEW, TRIGGER, EVENT ON `{DATABASE}`.*", "SELECT ON mysql.proc"
        self.server.create_account(BACKUP_ROLE, password, *grants)
