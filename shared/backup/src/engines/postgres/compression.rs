//! What compression is asked for, and what `pg_dump` of a version can write.

use std::{fmt, str::FromStr};

use super::tools::PgDump;
use crate::error::SliceError;

/// The first major version whose archives name their algorithm.
pub(super) const ALGORITHM_SINCE: u32 = 16;

/// The level where none is asked for. zstd at 1 gives archives smaller than those of `pg_dump`'s own default, in a fifth of
/// the time.
const ZSTD_LEVEL: i32 = 1;

/// The level where none is asked for; `pg_dump`'s own default.
const GZIP_LEVEL: i32 = 6;

/// How the rows in an archive are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DumpCompression {
    /// zstd where the archive can hold it, else gzip.
    #[default]
    Auto,
    /// zstd at a level from 1 to 19: servers from 16 on.
    Zstd(i32),
    /// gzip at a level from 1 to 9: every server.
    Gzip(i32),
    /// Not at all.
    None,
}

/// A compression that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no compression; use auto, zstd, zstd:1 to zstd:19, gzip, gzip:1 to gzip:9, or none")]
pub struct InvalidCompression(String);

impl FromStr for DumpCompression {
    type Err = InvalidCompression;

    fn from_str(text: &str) -> Result<Self, InvalidCompression> {
        let invalid = || InvalidCompression(text.to_owned());
        let (method, level) = match text.split_once(':') {
            None => (text, None),
            Some((method, level)) => (method, Some(level.parse::<i32>().map_err(|_| invalid())?)),
        };
        match (method, level) {
            ("auto", None) => Ok(Self::Auto),
            ("none", None) => Ok(Self::None),
            ("zstd", level) => Some(level.unwrap_or(ZSTD_LEVEL))
                .filter(|level| (1..=19).contains(level))
                .map(Self::Zstd)
                .ok_or_else(invalid),
            ("gzip", level) => Some(level.unwrap_or(GZIP_LEVEL))
                .filter(|level| (1..=9).contains(level))
                .map(Self::Gzip)
                .ok_or_else(invalid),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for DumpCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Zstd(level) => write!(f, "zstd:{level}"),
            Self::Gzip(level) => write!(f, "gzip:{level}"),
            Self::None => f.write_str("none"),
        }
    }
}

/// A compression that a `pg_dump` can write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Its option `--compress`.
    pub(super) option: String,
    /// The level.
    pub(super) level: i32,
}

impl DumpCompression {
    /// What `pg_dump` is told, and the level at which the rows are compressed.
    pub(super) fn choose(self, pg_dump: &PgDump, major: u32) -> Result<Chosen, SliceError> {
        let chosen = |option: String, level| Ok(Chosen { option, level });
        let level_only = major < ALGORITHM_SINCE;
        match self {
            Self::Auto if pg_dump.zstd => Self::Zstd(ZSTD_LEVEL).choose(pg_dump, major),
            Self::Auto => Self::Gzip(GZIP_LEVEL).choose(pg_dump, major),
            Self::Zstd(level) if pg_dump.zstd => chosen(format!("zstd:{level}"), level),
            Self::Zstd(_) if level_only => Err(SliceError::permanent(
                "compression_unsupported",
                format!(
                    "archives of PostgreSQL {major} cannot hold zstd, only those of {ALGORITHM_SINCE} and later; use gzip"
                ),
            )),
            Self::Zstd(_) => Err(SliceError::permanent(
                "compression_unsupported",
                format!(
                    "{} was built without zstd; use gzip, or another build of it",
                    pg_dump.path.display()
                ),
            )),
            Self::Gzip(level) if level_only => chosen(level.to_string(), level),
            Self::Gzip(level) => chosen(format!("gzip:{level}"), level),
            Self::None if level_only => chosen("0".to_owned(), 0),
            Self::None => chosen("none".to_owned(), 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("auto", DumpCompression::Auto)]
    #[case("zstd:3", DumpCompression::Zstd(3))]
    #[case("gzip:6", DumpCompression::Gzip(6))]
    #[case("none", DumpCompression::None)]
    fn a_compression_reads_back(#[case] text: &str, #[case] compression: DumpCompression) {
        assert_eq!(text.parse(), Ok(compression));
        assert_eq!(compression.to_string(), text);
    }

    #[rstest]
    #[case("zstd:0")]
    #[case("zstd:20")]
    #[case("gzip:10")]
    #[case("lz4")]
    #[case("none:1")]
    #[case("zstd:")]
    fn another_is_refused(#[case] text: &str) {
        let refused = text.parse::<DumpCompression>().unwrap_err();
        assert!(refused.to_string().contains("zstd:1 to zstd:19"));
    }

    #[rstest]
    #[case(DumpCompression::Auto, 15, false, Some("6"))]
    #[case(DumpCompression::Auto, 16, false, Some("gzip:6"))]
    #[case(DumpCompression::Auto, 17, true, Some("zstd:1"))]
    #[case(DumpCompression::Zstd(3), 15, false, None)]
    #[case(DumpCompression::Zstd(3), 18, false, None)]
    #[case(DumpCompression::Zstd(3), 18, true, Some("zstd:3"))]
    #[case(DumpCompression::Gzip(9), 14, false, Some("9"))]
    #[case(DumpCompression::None, 15, false, Some("0"))]
    #[case(DumpCompression::None, 17, true, Some("none"))]
    fn pg_dump_is_told_what_it_understands(
        #[case] compression: DumpCompression,
        #[case] major: u32,
        #[case] zstd: bool,
        #[case] option: Option<&str>,
    ) {
        let pg_dump = PgDump { path: "/bin/pg_dump".into(), version: String::new(), zstd };
        let chosen = compression.choose(&pg_dump, major).ok();
        assert_eq!(chosen.map(|chosen| chosen.option).as_deref(), option);
    }
}
