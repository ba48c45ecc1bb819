//! Where the client programs of a server's family are.

use std::{path::PathBuf, str::FromStr};

use super::greeting::{Family, Greeting};
use crate::{engines::process::version, error::SliceError};

/// Folders of `MySQL`'s and `MariaDB`'s client programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MysqlPrograms {
    /// The preferred ones first.
    folders: Vec<PathBuf>,
}

/// A list without a folder in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no folder of MySQL's or MariaDB's client programs; write it as in /opt/mariadb/bin:/usr/bin"
)]
pub struct InvalidMysqlDirs(pub String);

impl FromStr for MysqlPrograms {
    type Err = InvalidMysqlDirs;

    /// Absolute folders, separated by colons.
    fn from_str(text: &str) -> Result<Self, InvalidMysqlDirs> {
        let folders: Vec<PathBuf> =
            text.split(':').filter(|folder| !folder.is_empty()).map(PathBuf::from).collect();
        if folders.is_empty() || folders.iter().any(|folder| !folder.is_absolute()) {
            return Err(InvalidMysqlDirs(text.to_owned()));
        }
        Ok(Self { folders })
    }
}

/// The two programs of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) family: Family,
    /// Writes the dump.
    pub(super) dump: PathBuf,
    /// Asks questions.
    pub(super) client: PathBuf,
    /// What the dump program says of itself, such as `mariadb-dump Ver 10.19 Distrib 10.11.19-MariaDB, for Linux (x86_64)`.
    pub(super) version: String,
}

impl MysqlPrograms {
    /// The programs of the server's own family. Those of the other one connect, but what they write is not what the server
    /// itself is restored from.
    pub(super) async fn of_family(&self, server: &Greeting) -> Result<Pair, SliceError> {
        // `MariaDB` had the names of MySQL first, and Debian still has them as links.
        let names: &[(&str, &str)] = match server.family {
            Family::MariaDb => &[("mariadb-dump", "mariadb"), ("mysqldump", "mysql")],
            Family::MySql => &[("mysqldump", "mysql")],
        };
        let mut broken = None;
        for folder in &self.folders {
            for (dump, client) in names {
                let (dump, client) = (folder.join(dump), folder.join(client));
                if !dump.is_file() || !client.is_file() {
                    continue;
                }
                match version(&dump, &["--no-defaults", "--version"]).await.map(|said| version_in(&said)) {
                    Ok(version) if Family::of(&version) == server.family => {
                        return Ok(Pair { family: server.family, dump, client, version });
                    }
                    Ok(_) => {}
                    Err(error) => broken = Some(format!("{} cannot be used: {error}", dump.display())),
                }
            }
        }
        if let Some(broken) = broken {
            let words =
                format!("{broken}; install {}'s client programs in the worker again", server.family.name());
            return Err(SliceError::permanent("client_broken", words));
        }
        Err(self.missing(server))
    }

    fn missing(&self, server: &Greeting) -> SliceError {
        let folders: Vec<_> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        let (family, version) = (server.family.name(), &server.version);
        let (dump, client) = match server.family {
            Family::MariaDb => ("mariadb-dump", "mariadb"),
            Family::MySql => ("mysqldump", "mysql"),
        };
        SliceError::permanent(
            "client_missing",
            format!(
                "the server is {family} {version}, and the worker has no {dump} and {client} of {family} (looked in: {}); \
                 add {family}'s client programs to the worker. Those of the other family are not used",
                folders.join(", ")
            ),
        )
    }
}

/// The line by which a program names itself: without its folder, and with single spaces.
fn version_in(said: &str) -> String {
    let mut words = said.split_whitespace();
    let name = words.next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or(name);
    [name].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use rstest::rstest;

    use super::*;

    const MARIADB: &str = "mysqldump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)";
    const MYSQL: &str = "mysqldump  Ver 8.0.44 for Linux on x86_64 (Source distribution)";

    fn server(family: Family) -> Greeting {
        Greeting { family, version: "8.4.7".to_owned(), speaks_tls: true }
    }

    fn install(folder: &Path, name: &str, says: &str) {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[rstest]
    #[case(Family::MySql, MYSQL, true)]
    #[case(Family::MariaDb, MARIADB, true)]
    #[case(Family::MySql, MARIADB, false)]
    #[case(Family::MariaDb, MYSQL, false)]
    #[tokio::test]
    async fn a_program_serves_its_own_family(#[case] family: Family, #[case] says: &str, #[case] good: bool) {
        let folder = tempfile::tempdir().unwrap();
        install(folder.path(), "mysqldump", says);
        install(folder.path(), "mysql", says);
        let programs: MysqlPrograms = folder.path().to_str().unwrap().parse().unwrap();
        match programs.of_family(&server(family)).await {
            Ok(pair) => {
                assert!(good);
                assert_eq!(pair.version, says.replace("  ", " "));
            }
            Err(SliceError::Failed(failure)) => {
                assert!(!good, "{}", failure.message);
                assert_eq!((failure.code.as_str(), failure.transient), ("client_missing", false));
                assert!(failure.message.contains(family.name()), "{}", failure.message);
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[rstest]
    #[case("/opt/mariadb/bin:/usr/bin", true)]
    #[case("/usr/bin:", true)]
    #[case("", false)]
    #[case("bin", false)]
    fn folders_are_absolute(#[case] text: &str, #[case] good: bool) {
        assert_eq!(text.parse::<MysqlPrograms>().is_ok(), good);
    }
}
