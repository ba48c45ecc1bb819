//! Where the `pg_dump` and the `pg_restore` of each major version are.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    str::FromStr,
};

use tokio::process::Command;

use super::{compression::ALGORITHM_SINCE, connect::Server};
use crate::{engines::process, error::SliceError};

/// The place of the major version in a directory's name.
const MAJOR: &str = "{major}";

/// Major versions that are looked for. `pg_dump` of 10 was the first whose version has two numbers.
const MAJORS: std::ops::RangeInclusive<u32> = 10..=99;

/// Servers that the `pg_dump` of another major version dumps as well, where their own is not there: what it writes has
/// to be an archive that the server's own `pg_restore` reads, of statements that the server takes back. Both write format
/// 1.14 (`K_VERS_SELF` in `pg_backup_archiver.h`), and what `pg_dump` 15 asks and writes differs by what a server of 14
/// does not have; `docs/database-tools.md` has the one exception, `pg_restore --create`. From 16 on each differs.
const ALSO_DUMPS: [(u32, u32); 1] = [(14, 15)];

/// Directories of `PostgreSQL`'s client programs, one for each major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTools {
    /// Directories with `{major}` in them, the preferred ones first.
    patterns: Vec<String>,
}

/// A list of directories that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a directory of PostgreSQL's client programs; write it with {MAJOR}, as in /usr/lib/postgresql/{MAJOR}/bin"
)]
pub struct InvalidClientDirs(pub String);

impl FromStr for ClientTools {
    type Err = InvalidClientDirs;

    /// Directories separated by colons, each with `{major}` for the major version.
    fn from_str(text: &str) -> Result<Self, InvalidClientDirs> {
        let patterns: Vec<String> =
            text.split(':').filter(|pattern| !pattern.is_empty()).map(str::to_owned).collect();
        match patterns.iter().find(|pattern| !pattern.contains(MAJOR)) {
            Some(bad) => Err(InvalidClientDirs(bad.clone())),
            None if patterns.is_empty() => Err(InvalidClientDirs(text.to_owned())),
            None => Ok(Self { patterns }),
        }
    }
}

/// A `pg_dump` that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgDump {
    /// The program.
    pub path: PathBuf,
    /// What it says of itself, such as `pg_dump (PostgreSQL) 15.18`.
    pub version: String,
    /// Whether it can write zstd: from 16 on, if it was built with it.
    pub zstd: bool,
}

impl ClientTools {
    /// The `pg_dump` of each major version that is there.
    pub fn available(&self) -> BTreeMap<u32, PathBuf> {
        self.all("pg_dump")
    }

    fn all(&self, program: &str) -> BTreeMap<u32, PathBuf> {
        let path = |major: u32| {
            let dirs = self.patterns.iter().map(|pattern| pattern.replace(MAJOR, &major.to_string()));
            dirs.map(|dir| PathBuf::from(dir).join(program)).find(|path| path.is_file())
        };
        MAJORS.filter_map(|major| Some((major, path(major)?))).collect()
    }

    /// Looks whether there is a `pg_dump` for a server of `version`, as in `17.6`.
    pub(crate) fn check(&self, version: &str) -> Result<(), SliceError> {
        let majors: Vec<u32> = self.all("pg_dump").into_keys().collect();
        match version.split('.').next().and_then(|major| major.parse().ok()) {
            Some(major) if fitting(major, &majors).is_none() => {
                Err(missing("pg_dump", major, version, &majors))
            }
            // What is no version of PostgreSQL is told apart when there is a server to ask.
            _ => Ok(()),
        }
    }

    /// The `pg_dump` of the server's own major version: an older one refuses it, and what a newer one writes may need a
    /// newer server to restore. Where that does not hold, [`ALSO_DUMPS`], the newer one will do.
    pub(super) async fn for_server(&self, server: &Server) -> Result<PgDump, SliceError> {
        let Found { major, path, version } = self.find("pg_dump", server).await?;
        let zstd = major >= ALGORITHM_SINCE
            && writes_zstd(&path).await.map_err(|error| broken(&path, major, &error.to_string()))?;
        Ok(PgDump { path, version, zstd })
    }

    /// The `pg_restore` for what the `pg_dump` for the same server writes.
    pub(super) async fn restorer_for(&self, server: &Server) -> Result<PathBuf, SliceError> {
        Ok(self.find("pg_restore", server).await?.path)
    }

    async fn find(&self, program: &str, server: &Server) -> Result<Found, SliceError> {
        let mut available = self.all(program);
        let majors: Vec<u32> = available.keys().copied().collect();
        let Some((major, path)) =
            fitting(server.major(), &majors).and_then(|major| Some((major, available.remove(&major)?)))
        else {
            return Err(missing(program, server.major(), &server.version(), &majors));
        };
        let version = process::version(&path, &["--version"])
            .await
            .map_err(|error| broken(&path, major, &error.to_string()))?;
        if major_of(program, &version) != Some(major) {
            return Err(broken(&path, major, &format!("it says of itself that it is {version:?}")));
        }
        Ok(Found { major, path, version })
    }
}

/// A program that is there.
struct Found {
    major: u32,
    path: PathBuf,
    version: String,
}

fn broken(path: &Path, major: u32, why: &str) -> SliceError {
    let message = format!(
        "{} cannot be used: {why}; install PostgreSQL {major}'s client programs in the worker again",
        path.display()
    );
    SliceError::permanent("client_broken", message)
}

/// Which of the versions that are there dumps a server of `major`.
fn fitting(major: u32, available: &[u32]) -> Option<u32> {
    let others = ALSO_DUMPS.into_iter().filter(|(server, _)| *server == major).map(|(_, program)| program);
    std::iter::once(major).chain(others).find(|program| available.contains(program))
}

/// Whether a `pg_dump` was built with zstd: without, it says so before it tries to connect, here to nowhere.
async fn writes_zstd(path: &Path) -> std::io::Result<bool> {
    let output = Command::new(path)
        .args(["--format=custom", "--compress=zstd", "--no-password", "--host=/nonexistent", "--dbname=none"])
        .env_clear()
        .envs(process::library_path(path))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    Ok(!String::from_utf8_lossy(&output.stderr).contains("does not support compression"))
}

/// The major version in `pg_dump (PostgreSQL) 15.18 (Debian 15.18-1)` or `pg_dump (PostgreSQL) 18beta1`.
fn major_of(program: &str, version: &str) -> Option<u32> {
    let number = version.strip_prefix(program)?.strip_prefix(" (PostgreSQL) ")?;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..digits].parse().ok()
}

fn missing(program: &str, major: u32, version: &str, available: &[u32]) -> SliceError {
    let list = match available {
        [] => "none".to_owned(),
        majors => majors.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
    };
    let code = match (available.first(), available.last()) {
        (Some(oldest), _) if major < *oldest => "server_too_old",
        (_, Some(newest)) if major <= *newest => "client_missing",
        _ => "server_too_new",
    };
    SliceError::permanent(
        code,
        format!(
            "the server is PostgreSQL {version}, and the worker has no {program} of version {major} (it has: {list}); add \
             PostgreSQL {major}'s client programs to the worker, or move the database to a version it has"
        ),
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some(15))]
    #[case("pg_dump (PostgreSQL) 18beta1", Some(18))]
    #[case("pg_dump (PostgreSQL) 17", Some(17))]
    #[case("pg_dump (EnterpriseDB) 15.1", None)]
    #[case("", None)]
    fn a_program_says_its_version(#[case] text: &str, #[case] major: Option<u32>) {
        assert_eq!(major_of("pg_dump", text), major);
    }

    #[rstest]
    #[case("/opt/postgresql/{major}/bin:/usr/lib/postgresql/{major}/bin", true)]
    #[case("/usr/lib/postgresql/{major}/bin:", true)]
    #[case("", false)]
    #[case("/usr/bin", false)]
    #[case("/opt/{major}/bin:/usr/bin", false)]
    fn directories_name_the_major_version(#[case] text: &str, #[case] good: bool) {
        assert_eq!(text.parse::<ClientTools>().is_ok(), good);
    }

    #[rstest]
    #[case(15, &[14, 15, 16], Some(15))]
    #[case(14, &[14, 15], Some(14))]
    #[case(14, &[15, 16, 17, 18], Some(15))]
    // A newer archive than its own pg_restore reads, or statements that it does not take.
    #[case(14, &[16, 17], None)]
    #[case(16, &[15, 17, 18], None)]
    #[case(17, &[18], None)]
    #[case(13, &[14, 15], None)]
    // An older pg_dump refuses the server.
    #[case(18, &[15, 16, 17], None)]
    #[case(15, &[], None)]
    fn a_server_is_dumped_by_its_own_version_or_one_that_writes_the_same(
        #[case] server: u32,
        #[case] available: &[u32],
        #[case] program: Option<u32>,
    ) {
        assert_eq!(fitting(server, available), program);
    }

    #[rstest]
    #[case(&[13, 15, 17], 18, "server_too_new", "13, 15, 17")]
    #[case(&[13, 15, 17], 12, "server_too_old", "13, 15, 17")]
    #[case(&[13, 15, 17], 16, "client_missing", "13, 15, 17")]
    #[case(&[], 15, "server_too_new", "none")]
    fn a_server_without_its_program_is_told_what_there_is(
        #[case] available: &[u32],
        #[case] major: u32,
        #[case] code: &str,
        #[case] named: &str,
    ) {
        let server = Server { version_number: major * 10_000 + 3, database_bytes: 0 };
        let SliceError::Failed(failure) = missing("pg_dump", server.major(), &server.version(), available)
        else {
            panic!("not a failure")
        };
        assert_eq!(failure.code, code);
        assert!(failure.message.contains(&format!("it has: {named}")), "{}", failure.message);
        assert!(failure.message.contains(&format!("PostgreSQL {major}.3")), "{}", failure.message);
    }
}
