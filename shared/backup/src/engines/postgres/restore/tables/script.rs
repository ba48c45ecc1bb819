//! The SQL that makes tables and what belongs to them: written by `pg_restore`, which talks to no server for it.

use std::{path::Path, process::Stdio};

use holdfast_archive::pg_custom::Contents;
use holdfast_domain::application::PostgresService;
use tokio::process::Command;

use crate::{
    engines::{
        postgres::{
            failure::Fault,
            process::library_path,
            restore::failure::{failure, of_restore},
        },
        temporary::temporary,
    },
    error::SliceError,
};

/// Words with which `pg_restore` tells `psql` to take no commands from what follows, and that it may again (from the minor
/// versions of August 2025 on).
const RESTRICT: &[u8] = b"\\restrict ";
const UNRESTRICT: &[u8] = b"\\unrestrict ";

/// The statements of a section of `contents`, such as `pre-data`.
pub(super) async fn script(
    service: &PostgresService,
    program: &Path,
    contents: &Contents,
    section: &str,
) -> Result<Vec<u8>, SliceError> {
    let archive = temporary(&contents.to_bytes())?;
    let output = Command::new(program)
        .env_clear()
        .envs(library_path(program))
        .env("LC_ALL", "C")
        .args([format!("--section={section}").as_str(), "--file=-"])
        .arg(archive.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| {
            failure(service, Fault::DumpFailed, &format!("{} could not be run: {error}", program.display()))
        })?;
    if !output.status.success() {
        return Err(of_restore(service, output.status, &String::from_utf8_lossy(&output.stderr)));
    }
    Ok(without_restriction(&output.stdout))
}

/// `sql` without the commands for `psql` around it.
fn without_restriction(sql: &[u8]) -> Vec<u8> {
    let lines = || sql.split_inclusive(|byte| *byte == b'\n');
    let Some(key) = lines().find_map(|line| line.strip_prefix(RESTRICT)) else { return sql.to_vec() };
    let (begin, end) = ([RESTRICT, key].concat(), [UNRESTRICT, key].concat());
    lines().filter(|line| *line != begin && *line != end).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_restriction_itself_is_left_out() {
        let sql = b"--\n\\restrict abc\nSELECT 1;\nCOMMENT ON TABLE t IS '\n\\unrestrict other\n';\n\\unrestrict abc\n\n";
        let expected = &b"--\nSELECT 1;\nCOMMENT ON TABLE t IS '\n\\unrestrict other\n';\n\n"[..];
        assert_eq!(without_restriction(sql), expected);
        assert_eq!(without_restriction(b"SELECT 1;\n"), b"SELECT 1;\n");
    }
}
