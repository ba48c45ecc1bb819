//! Entries of the table of contents: `WriteToc` and `ReadToc` in `pg_backup_archiver.c`, `_WriteExtraToc` in
//! `pg_backup_custom.c`.

use bytes::Bytes;

use super::{
    fields::{Fields, Malformed, write_int, write_string},
    version::Version,
};

/// Bytes of an offset field, which is the last field of an entry.
pub const OFFSET_BYTES: usize = 9;

/// Where an entry's block is (`K_OFFSET_*` in `pg_backup_archiver.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offset {
    /// It has a block, and nobody has written down where. The eight bytes are kept; `pg_dump` writes zeros.
    Unknown(u64),
    /// At this distance from the start of the archive, in bytes.
    At(u64),
    /// It has no block. The eight bytes are kept; `pg_dump` writes zeros.
    NoData(u64),
}

impl Offset {
    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let state = fields.byte()?;
        let mut position = [0; 8];
        position.copy_from_slice(fields.take(8)?);
        let position = u64::from_le_bytes(position);
        match state {
            1 => Ok(Self::Unknown(position)),
            2 => Ok(Self::At(position)),
            3 => Ok(Self::NoData(position)),
            other => Err(Malformed::Invalid(format!("an offset in state {other}"))),
        }
    }

    /// The field, to put in the place of the one that is there.
    pub fn to_bytes(self) -> [u8; OFFSET_BYTES] {
        let (state, position) = match self {
            Self::Unknown(position) => (1, position),
            Self::At(position) => (2, position),
            Self::NoData(position) => (3, position),
        };
        let mut bytes = [0; OFFSET_BYTES];
        bytes[0] = state;
        bytes[1..].copy_from_slice(&position.to_le_bytes());
        bytes
    }
}

/// One entry of the table of contents. Strings are in the encoding of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What other entries and the blocks name it by.
    pub dump_id: i32,
    /// Whether it has data, as an integer: 0 or 1.
    pub had_dumper: i32,
    /// OID of the catalog it is from, in decimal.
    pub table_oid: Option<Bytes>,
    /// OID within the catalog, in decimal.
    pub oid: Option<Bytes>,
    /// Its name.
    pub tag: Option<Bytes>,
    /// What it is, such as `TABLE DATA`.
    pub description: Option<Bytes>,
    /// `SECTION_*` in `pg_backup.h`.
    pub section: i32,
    /// The statement that makes it.
    pub definition: Option<Bytes>,
    /// The statement that drops it.
    pub drop_statement: Option<Bytes>,
    /// The statement that its block is fed to, such as `COPY public.t (a) FROM stdin;`.
    pub copy_statement: Option<Bytes>,
    /// Its schema.
    pub namespace: Option<Bytes>,
    /// Its tablespace.
    pub tablespace: Option<Bytes>,
    /// Its table access method.
    pub table_access_method: Option<Bytes>,
    /// `pg_class.relkind`; from 1.16 on.
    pub relation_kind: Option<i32>,
    /// Its owner.
    pub owner: Option<Bytes>,
    /// `false`; once said whether rows had OIDs.
    pub with_oids: Option<Bytes>,
    /// Dump ids of the entries it depends on, in decimal.
    pub dependencies: Vec<Bytes>,
    /// Where its block is.
    pub offset: Offset,
}

impl Entry {
    /// Reads an entry.
    pub fn read(version: Version, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            dump_id: fields.int()?,
            had_dumper: fields.int()?,
            table_oid: fields.string()?,
            oid: fields.string()?,
            tag: fields.string()?,
            description: fields.string()?,
            section: fields.int()?,
            definition: fields.string()?,
            drop_statement: fields.string()?,
            copy_statement: fields.string()?,
            namespace: fields.string()?,
            tablespace: fields.string()?,
            table_access_method: fields.string()?,
            relation_kind: version.has_relation_kind().then(|| fields.int()).transpose()?,
            owner: fields.string()?,
            with_oids: fields.string()?,
            dependencies: std::iter::from_fn(|| fields.string().transpose()).collect::<Result<_, _>>()?,
            offset: Offset::read(fields)?,
        })
    }

    /// Appends the entry as it is read.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_int(out, self.dump_id);
        write_int(out, self.had_dumper);
        for text in [&self.table_oid, &self.oid, &self.tag, &self.description] {
            write_string(out, text.as_deref());
        }
        write_int(out, self.section);
        for text in [
            &self.definition,
            &self.drop_statement,
            &self.copy_statement,
            &self.namespace,
            &self.tablespace,
            &self.table_access_method,
        ] {
            write_string(out, text.as_deref());
        }
        if let Some(kind) = self.relation_kind {
            write_int(out, kind);
        }
        write_string(out, self.owner.as_deref());
        write_string(out, self.with_oids.as_deref());
        for dependency in &self.dependencies {
            write_string(out, Some(dependency));
        }
        write_string(out, None);
        out.extend_from_slice(&self.offset.to_bytes());
    }

    /// Whether its block holds the rows of a table.
    pub fn is_table_data(&self) -> bool {
        self.description.as_deref() == Some(b"TABLE DATA")
    }
}
