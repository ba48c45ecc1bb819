//! The header: `WriteHead` and `ReadHead` in `pg_backup_archiver.c`.

use bytes::Bytes;

use super::{
    codec::Compression,
    fields::{Fields, Malformed, write_int, write_string},
    version::{Unsupported, Version},
};

/// What every archive begins with.
const MAGIC: &[u8] = b"PGDMP";

/// Bytes of an integer's magnitude; those of the machine that dumped, and 4 on every one there is.
const INT_BYTES: u8 = 4;

/// Bytes of a position; 8 on every machine with large files.
const OFFSET_BYTES: u8 = 8;

/// `archCustom`: the other formats have the same header.
const FORMAT_CUSTOM: u8 = 1;

/// What stands before the table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Version of the format.
    pub version: Version,
    /// How the data are compressed.
    pub compression: Compression,
    /// When the dump began, in the dumping machine's local time, as `struct tm` has it: second, minute, hour, day, month
    /// from 0, years since 1900, whether daylight saving time was in force.
    pub created: [i32; 7],
    /// Name of the database.
    pub database: Option<Bytes>,
    /// Version of the server.
    pub server_version: Option<Bytes>,
    /// Version of `pg_dump`.
    pub pg_dump_version: Option<Bytes>,
}

impl Header {
    /// Reads a header.
    pub fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        // Told apart as early as possible: what is no archive may be shorter than its magic.
        for expected in MAGIC {
            if fields.byte()? != *expected {
                return Err(Malformed::Invalid("it does not begin with PGDMP".to_owned()));
            }
        }
        let version = Version::from_bytes([fields.byte()?, fields.byte()?, fields.byte()?])?;
        for (what, expected) in [
            ("integers", INT_BYTES),
            ("offsets", OFFSET_BYTES),
            // `-Ft` and `-Fd` write other numbers here.
            ("format code", FORMAT_CUSTOM),
        ] {
            let found = fields.byte()?;
            if found != expected {
                return Err(Unsupported(format!("{what} {found} (and not {expected})")).into());
            }
        }
        let compression = Compression::read(version, fields)?;
        let mut created = [0; 7];
        for field in &mut created {
            *field = fields.int()?;
        }
        Ok(Self {
            version,
            compression,
            created,
            database: fields.string()?,
            server_version: fields.string()?,
            pg_dump_version: fields.string()?,
        })
    }

    /// Appends the header as it is read.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.version.to_bytes());
        out.extend_from_slice(&[INT_BYTES, OFFSET_BYTES, FORMAT_CUSTOM]);
        self.compression.write(self.version, out);
        for field in self.created {
            write_int(out, field);
        }
        for text in [&self.database, &self.server_version, &self.pg_dump_version] {
            write_string(out, text.as_deref());
        }
    }
}
