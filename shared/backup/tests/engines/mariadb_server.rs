//! A throwaway `MariaDB` server in a temporary folder, on loopback, gone with its last owner.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use holdfast_backup::{
    engines::mysql::{MysqlEngine, MysqlPrograms},
    ports::DatabaseCredentials,
};
use holdfast_domain::application::{MysqlService, Tls};
use holdfast_testing::{builders, fakes::FakeClock};
use secrecy::SecretString;
use tempfile::TempDir;

use crate::server::{account, as_account, free_port, hand_over, idle, make_certificates, succeed};

/// The account that may do everything, whose password is awkward on purpose.
pub(crate) const USER: &str = "keeper";
pub(crate) const PASSWORD: &str = r#"pa:ss\w'o"rd =#é"#;

/// Where the client programs of this machine are.
pub(crate) const PROGRAMS: &str = "/usr/bin";

/// Patience with a server that starts or stops.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct MariaDb {
    folder: TempDir,
    pub(crate) port: u16,
    process: Mutex<Child>,
}

impl MariaDb {
    /// The server that tests which run at the same time share; the last one stops it.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<MariaDb>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start(false));
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// A server of its own, with or without TLS.
    pub(crate) fn start(tls: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("holdfast-my-").tempdir().unwrap();
        let account = account();
        if let Some((user, group)) = account {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let mut install = Command::new("mariadb-install-db");
        install
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg(format!("--datadir={}", folder.path().join("data").display()));
        // The script goes to where it was called from.
        // Servers that begin remove what is left of others, where they share the folder of temporary tables.
        succeed(as_account(&mut install, account).current_dir(folder.path()).env("TMPDIR", folder.path()));

        let port = free_port();
        let sql = format!(
            "CREATE USER '{USER}'@'%' IDENTIFIED BY '{}';\nGRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n",
            PASSWORD.replace('\\', "\\\\").replace('\'', "\\'")
        );
        fs::write(folder.path().join("init.sql"), sql).unwrap();
        hand_over(&folder.path().join("init.sql"), account);
        let mut mariadbd = Command::new(server_program());
        mariadbd
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0"])
            .args(["--socket=s", "--pid-file=pid", "--skip-log-bin", "--max-allowed-packet=64M"])
            .args([
                "--innodb-buffer-pool-size=64M",
                "--innodb-log-file-size=256M",
                "--character-set-server=utf8mb4",
            ])
            .arg(format!("--datadir={}", folder.path().join("data").display()))
            .arg(format!("--init-file={}", folder.path().join("init.sql").display()))
            .arg(format!("--port={port}"));
        if tls {
            make_certificates(folder.path(), account);
            for (option, file) in [("cert", "server.pem"), ("key", "server.key"), ("ca", "ca.pem")] {
                mariadbd.arg(format!("--ssl-{option}={}", folder.path().join(file).display()));
            }
            hand_over(&folder.path().join("ca.pem"), account);
        }
        let log = fs::File::create(folder.path().join("server.log")).unwrap();
        mariadbd.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        mariadbd.current_dir(folder.path()).env("TMPDIR", folder.path());
        let process = as_account(&mut mariadbd, account).spawn().unwrap();
        let server = Self { folder, port, process: Mutex::new(process) };
        let started = Instant::now();
        while !server.run("mariadb", "mysql", &["-e", "SELECT 1"], b"").status.success() {
            let log = || fs::read_to_string(server.folder.path().join("server.log")).unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "the server did not start:\n{}", log());
            thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Kills the server, cutting every session.
    pub(crate) fn cut_off(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = process.kill();
        let _ = process.wait();
        *process = idle();
    }

    /// The CA's certificate of a server with TLS.
    pub(crate) fn ca_pem(&self) -> String {
        fs::read_to_string(self.folder.path().join("ca.pem")).unwrap()
    }

    /// The service that a database of this server is.
    pub(crate) fn service(&self, database: &str) -> MysqlService {
        MysqlService {
            name: builders::service_name("DEFAULT"),
            host: "127.0.0.1".to_owned(),
            port: self.port,
            database: database.to_owned(),
            secret_arn: "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop".to_owned(),
            restore_secret_arn: None,
            isolated: None,
            tls: Tls::Disable,
        }
    }

    /// An engine for a database of this server.
    pub(crate) fn engine(&self, database: &str) -> MysqlEngine {
        engine(self.service(database), USER, PASSWORD, PROGRAMS)
    }

    /// Runs SQL; gives what `mariadb` prints, unadorned.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.client("mariadb", database, &["--batch", "--skip-column-names"], sql.as_bytes());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Makes a database and runs SQL in it.
    pub(crate) fn create(&self, database: &str, sql: &str) {
        self.sql("mysql", &format!("CREATE DATABASE `{database}` CHARACTER SET utf8mb4"));
        self.sql(database, sql);
    }

    /// Runs one of the stock programs against a database, which must succeed.
    pub(crate) fn client(&self, program: &str, database: &str, arguments: &[&str], input: &[u8]) -> Output {
        let output = self.run(program, database, arguments, input);
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn run(&self, program: &str, database: &str, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(program)
            .args(["--no-defaults", "--protocol=TCP", "--host=127.0.0.1", "--default-character-set=utf8mb4"])
            .arg(format!("--user={USER}"))
            .arg(format!("--port={}", self.port))
            .args(arguments)
            .args(["--", database])
            .env_clear()
            .env("MYSQL_PWD", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input));
            child.wait_with_output().unwrap()
        })
    }

    /// Waits until no session but the asking one is in `database`.
    pub(crate) fn assert_no_session(&self, database: &str) {
        let query = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{database}'");
        let started = Instant::now();
        while self.sql("mysql", &query) != "0" {
            assert!(started.elapsed() < PATIENCE, "a session in {database} is left");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.cut_off();
    }
}

/// An engine for `service`, with client programs from `folders` and the clock of tests.
pub(crate) fn engine(service: MysqlService, user: &str, password: &str, folders: &str) -> MysqlEngine {
    let credentials =
        DatabaseCredentials { username: user.to_owned(), password: SecretString::from(password.to_owned()) };
    let programs: MysqlPrograms = folders.parse().unwrap();
    MysqlEngine::new(service, credentials, programs, Arc::new(FakeClock::at(builders::now())))
}

/// The server is not on everybody's PATH in Debian.
fn server_program() -> &'static Path {
    ["/usr/sbin/mariadbd", "/usr/bin/mariadbd"]
        .map(Path::new)
        .into_iter()
        .find(|path| path.exists())
        .expect("no MariaDB server: run `make install`, or apt-get install mariadb-server")
}
