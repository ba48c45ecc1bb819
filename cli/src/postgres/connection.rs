//! Where the database is and who connects: a DSN in either of `PostgreSQL`'s forms, over its environment variables, over
//! their defaults: <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING>.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use holdfast_domain::application::{Login, PostgresService, Tls};

use super::{
    environment::{self, Environment},
    passfile,
};
use crate::failure::Failure;

/// Where servers of this machine listen: Debian's folder, and that of the source.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Parameters that are understood.
const KNOWN: [&str; 9] =
    ["host", "port", "dbname", "user", "password", "passfile", "sslmode", "sslrootcert", "application_name"];

/// Those that are not, of all that there are: they are told by name. Anything else may be a part of a password.
const UNKNOWN: [&str; 30] = [
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "options",
    "replication",
    "require_auth",
    "requirepeer",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcompression",
    "sslcrl",
    "sslkey",
    "sslnegotiation",
    "sslpassword",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// Parameters by their names.
type Parameters = BTreeMap<String, String>;

/// A database, and who connects to it.
pub(crate) struct Connection {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
    pub(crate) user: String,
    password: Option<String>,
    passfile: Option<PathBuf>,
    sslmode: Option<String>,
    sslrootcert: Option<String>,
}

impl Connection {
    /// The connection that `dsn` and the environment describe.
    pub(crate) fn of(dsn: Option<&str>, environment: &Environment) -> Result<Self, Failure> {
        let given = dsn.map(parse).transpose()?.unwrap_or_default();
        if let Some(name) = environment::NOT_SUPPORTED.iter().find(|name| environment.contains_key(*name)) {
            return Err(Failure::usage(format!("{name} is set, and is not supported")).fix(
                "unset it, so that nobody takes this for another database than it is; \
                 see --help for what is supported",
            ));
        }
        let value =
            |name: &str, variable: &str| given.get(name).or_else(|| environment.get(variable)).cloned();
        let user = value("user", "PGUSER").or_else(|| environment.get("USER").cloned()).ok_or_else(|| {
            Failure::usage("nobody is named to connect as").fix("set user in --dsn, or PGUSER")
        })?;
        let port = value("port", "PGPORT").unwrap_or_else(|| "5432".to_owned());
        let port: u16 = port.parse().map_err(|_| {
            // In a DSN that was not understood it may be a part of the password.
            Failure::usage("the port is no number from 0 to 65535").fix("check port in --dsn, or PGPORT")
        })?;
        let host = match value("host", "PGHOST") {
            Some(host) if host.contains(',') => {
                return Err(Failure::usage(format!("{host:?} names several hosts")).fix("name one of them"));
            }
            Some(host) => host,
            None => local_socket(port).unwrap_or_else(|| "localhost".to_owned()),
        };
        let home = environment.get("HOME").map(|home| Path::new(home).join(".pgpass"));
        Ok(Self {
            host,
            port,
            database: value("dbname", "PGDATABASE").unwrap_or_else(|| user.clone()),
            user,
            password: value("password", "PGPASSWORD"),
            passfile: value("passfile", "PGPASSFILE").map(PathBuf::from).or(home),
            sslmode: value("sslmode", "PGSSLMODE"),
            sslrootcert: value("sslrootcert", "PGSSLROOTCERT"),
        })
    }

    /// The password: given, or in the password file; empty where the server may ask for none.
    pub(crate) fn password(&self) -> Result<String, Failure> {
        if let Some(password) = &self.password {
            return Ok(password.clone());
        }
        let Some(file) = &self.passfile else { return Ok(String::new()) };
        // libpq looks sockets up under this name.
        let host = if self.host.starts_with('/') { "localhost" } else { &self.host };
        let wanted = [host, &self.port.to_string(), &self.database, &self.user];
        passfile::look_up(file, &wanted).map(Option::unwrap_or_default)
    }

    /// As the engine takes it.
    pub(crate) fn service(&self) -> Result<PostgresService, Failure> {
        let name =
            "DEFAULT".parse().map_err(|_| Failure::new("the name DEFAULT is refused; please report this"))?;
        Ok(PostgresService {
            name,
            host: self.host.clone(),
            port: self.port,
            database: self.database.clone(),
            secret_arn: String::new(),
            restore_secret_arn: None,
            isolated: None,
            login: Login::Password,
            tls: self.tls()?,
        })
    }

    /// A server elsewhere is verified unless somebody says otherwise; one on this machine is not far enough for that.
    fn tls(&self) -> Result<Tls, Failure> {
        let is_local =
            self.host.starts_with('/') || ["localhost", "127.0.0.1", "::1"].contains(&self.host.as_str());
        let verified = match self.sslmode.as_deref() {
            _ if self.host.starts_with('/') => false,
            None => !is_local,
            Some("disable") => false,
            Some("verify-full") => true,
            Some(other) => {
                return Err(Failure::usage(format!(
                    "sslmode={other} does not say whether the server is to be verified"
                ))
                .fix("use verify-full, or disable on a network you trust"));
            }
        };
        if !verified {
            return Ok(Tls::Disable);
        }
        let ca_pem = match self.sslrootcert.as_deref() {
            None | Some("system") => None,
            Some(file) => Some(fs::read_to_string(file).map_err(|error| {
                Failure::new(format!("the certificates in {file} cannot be read: {error}"))
                    .fix("check sslrootcert")
            })?),
        };
        Ok(Tls::VerifyFull { ca_pem })
    }
}

fn local_socket(port: u16) -> Option<String> {
    let folder =
        SOCKET_FOLDERS.iter().find(|folder| Path::new(folder).join(format!(".s.PGSQL.{port}")).exists());
    folder.map(|folder| (*folder).to_owned())
}

/// The parameters of a DSN. Errors never repeat it: it may hold a password.
fn parse(dsn: &str) -> Result<Parameters, Failure> {
    if dsn.starts_with("mysql://") || dsn.starts_with("mariadb://") {
        return Err(Failure::usage("this is for PostgreSQL only").fix(
            "dump MySQL and MariaDB with mariadb-dump or mysqldump, or register them as services of kind mysql, whose backups are \
             SQL; restore them with mariadb or mysql",
        ));
    }
    let parameters = match dsn.strip_prefix("postgresql://").or_else(|| dsn.strip_prefix("postgres://")) {
        Some(rest) => of_url(rest),
        None if dsn.contains('=') => of_words(dsn),
        // As `psql` takes it.
        None => Some([("dbname".to_owned(), dsn.to_owned())].into()),
    };
    let parameters = parameters.ok_or_else(cannot_be_read)?;
    match parameters.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        Some(unknown) if UNKNOWN.contains(&unknown.as_str()) => {
            Err(Failure::usage(format!("the parameter {unknown:?} of the DSN is not supported"))
                .fix(format!("use only {}", KNOWN.join(", "))))
        }
        Some(_) => Err(cannot_be_read()),
        None => Ok(parameters),
    }
}

fn cannot_be_read() -> Failure {
    Failure::usage("the DSN cannot be read").fix(
        "write it as postgresql://user@host:5432/database or as host=… port=… dbname=… user=…, with what has spaces in \
         single quotes",
    )
}

/// `[user[:password]@][host][:port][/dbname][?name=value[&…]]`
fn of_url(rest: &str) -> Option<Parameters> {
    let mut parameters = Parameters::new();
    let mut set = |name: &str, value: &str| {
        let value = decoded(value)?;
        if !value.is_empty() {
            parameters.insert(name.to_owned(), value);
        }
        Some(())
    };
    let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    set("dbname", database)?;
    let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    set("user", user)?;
    set("password", password)?;
    let (host, port) = match place.strip_prefix('[') {
        Some(address) => {
            let (address, port) = address.split_once(']')?;
            (address, if port.is_empty() { "" } else { port.strip_prefix(':')? })
        }
        None => place.split_once(':').unwrap_or((place, "")),
    };
    set("host", host)?;
    set("port", port)?;
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=')?;
        set(&decoded(name)?, value)?;
    }
    Some(parameters)
}

/// `name = value …`, where a value with spaces stands in single quotes, and a backslash takes the next character as it is.
fn of_words(dsn: &str) -> Option<Parameters> {
    let mut parameters = Parameters::new();
    let mut rest = dsn.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let mut characters = after.trim_start().chars();
        let quoted = after.trim_start().starts_with('\'');
        if quoted {
            characters.next();
        }
        let mut value = String::new();
        loop {
            match characters.next() {
                Some('\\') => value.push(characters.next()?),
                Some('\'') if quoted => break,
                Some(space) if !quoted && space.is_whitespace() => break,
                Some(other) => value.push(other),
                None if quoted => return None,
                None => break,
            }
        }
        rest = characters.as_str().trim_start();
        if !value.is_empty() {
            parameters.insert(name.trim().to_owned(), value);
        }
    }
    Some(parameters)
}

/// `text` with its percent-encoded bytes.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        bytes.push(u8::from_str_radix(after.get(..2)?, 16).ok()?);
        rest = after.get(2..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
