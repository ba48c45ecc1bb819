//! A document that a restore writes down on the server: in a table of a database of its own, all of it or nothing.

use std::fmt::Write as _;

use super::session::{self, identifier, literal, text};
use crate::{engines::mysql::access::Access, error::SliceError};

/// How much is written in one row, in bytes: as much as any server takes in a statement, as digits.
const ROW_BYTES: usize = 256 * 1024;

/// The statements that write `document` into the table `name` of `database`, in the place of what it said before.
pub(super) fn statements(database: &str, name: &str, document: &[u8]) -> String {
    let table = table(database, name);
    let mut sql = format!(
        "CREATE TABLE IF NOT EXISTS {table} (number INT PRIMARY KEY, bytes LONGBLOB NOT NULL) ENGINE=InnoDB;\nBEGIN;\n\
         DELETE FROM {table};\n"
    );
    for (number, piece) in document.chunks(ROW_BYTES).enumerate() {
        let _ = writeln!(sql, "INSERT INTO {table} VALUES ({number}, 0x{});", to_hex(piece));
    }
    sql.push_str("COMMIT;\n");
    sql
}

/// What is written there; empty if it was never written to its end. None if there is no such table.
pub(super) async fn read(access: &Access, database: &str, name: &str) -> Result<Option<Vec<u8>>, SliceError> {
    if !is_there(access, database, name).await? {
        return Ok(None);
    }
    let sql = format!("SELECT HEX(bytes) FROM {} ORDER BY number;", table(database, name));
    let rows = session::ask(access, None, sql).await?;
    Ok(Some(rows.iter().flat_map(|row| from_hex(&text(row, 0))).collect()))
}

/// Whether there is such a table.
pub(super) async fn is_there(access: &Access, database: &str, name: &str) -> Result<bool, SliceError> {
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = {} AND table_name = {};",
        literal(database),
        literal(name)
    );
    let rows = session::ask(access, None, sql).await?;
    Ok(rows.first().is_some_and(|row| text(row, 0) != "0"))
}

/// The table as SQL has it.
pub(super) fn table(database: &str, name: &str) -> String {
    format!("{}.{}", identifier(database), identifier(name))
}

/// Bytes as hexadecimal digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes that hexadecimal digits stand for.
pub(super) fn from_hex(digits: &str) -> Vec<u8> {
    let value = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.as_bytes().chunks(2).filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&bytes)), bytes);
        assert_eq!(from_hex("00FF"), [0, 255]);
    }
}
