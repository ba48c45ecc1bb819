//! Parts of archives, for tests.

use holdfast_archive::pg_custom::{Compression, Entry, Header, Offset, Version};

/// A header that says as little as one can.
pub(super) fn header() -> Header {
    Header {
        version: Version::V1_15,
        compression: Compression::None,
        created: [0; 7],
        database: None,
        server_version: None,
        pg_dump_version: None,
    }
}

/// The rows of a table, whose block nobody has placed yet.
pub(super) fn table_data(dump_id: i32) -> Entry {
    Entry {
        dump_id,
        had_dumper: 1,
        table_oid: None,
        oid: None,
        tag: Some("t".into()),
        description: Some("TABLE DATA".into()),
        section: 3,
        definition: None,
        drop_statement: None,
        copy_statement: None,
        namespace: None,
        tablespace: None,
        table_access_method: None,
        relation_kind: None,
        owner: None,
        with_oids: None,
        dependencies: Vec::new(),
        offset: Offset::Unknown(0),
    }
}
