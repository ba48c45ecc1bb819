//! Archives that nobody has dumped: written, read, and written again byte for byte the same.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::Bytes;
use holdfast_archive::pg_custom::{
    ArchiveReader, BlockKind, Compression, Entry, Event, Fields, Header, Malformed, Offset, Version,
    block_head, chunk, end_of_data, write_int,
};
use proptest::prelude::*;

fn text() -> impl Strategy<Value = Option<Bytes>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from))
}

fn int() -> impl Strategy<Value = i32> {
    -i32::MAX..=i32::MAX
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V1_14), Just(Version::V1_15), Just(Version::V1_16)]
}

prop_compose! {
    fn header()(
        version in version(),
        level in prop_oneof![Just(-1), 1..=9],
        algorithm in 0..3,
        created in prop::array::uniform7(int()),
        texts in (text(), text(), text()),
    ) -> Header {
        let compression = match (version, algorithm) {
            (_, 0) => Compression::None,
            (Version::V1_14, _) => Compression::Zlib { level: Some(level) },
            (_, 1) => Compression::Zlib { level: None },
            _ => Compression::Zstd,
        };
        let (database, server_version, pg_dump_version) = texts;
        Header { version, compression, created, database, server_version, pg_dump_version }
    }
}

prop_compose! {
    fn entry()(
        ints in (int(), int(), int(), int()),
        head in (text(), text(), text(), text()),
        body in (text(), text(), text(), text(), text(), text()),
        foot in (text(), text(), prop::collection::vec(text().prop_map(Option::unwrap_or_default), 0..4)),
        offset in prop_oneof![
            any::<u64>().prop_map(Offset::Unknown),
            any::<u64>().prop_map(Offset::At),
            any::<u64>().prop_map(Offset::NoData),
        ],
    ) -> Entry {
        Entry {
            dump_id: ints.0,
            had_dumper: ints.1,
            table_oid: head.0,
            oid: head.1,
            tag: head.2,
            description: head.3,
            section: ints.2,
            definition: body.0,
            drop_statement: body.1,
            copy_statement: body.2,
            namespace: body.3,
            tablespace: body.4,
            table_access_method: body.5,
            relation_kind: Some(ints.3),
            owner: foot.0,
            with_oids: foot.1,
            dependencies: foot.2,
            offset,
        }
    }
}

/// A header, its entries, and what they are as bytes.
fn archive(header: &Header, entries: &mut [Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    write_int(&mut bytes, i32::try_from(entries.len()).unwrap());
    for entry in entries {
        if header.version != Version::V1_16 {
            entry.relation_kind = None;
        }
        entry.write(&mut bytes);
    }
    bytes
}

/// All events of `bytes`, which arrive in pieces of `step`.
fn events(bytes: &[u8], step: usize) -> Result<Vec<(Event, Bytes)>, Malformed> {
    let mut reader = ArchiveReader::new();
    let mut events = Vec::new();
    for piece in bytes.chunks(step) {
        reader.push(piece);
        while let Some(event) = reader.next_event()? {
            events.push(event);
        }
    }
    reader.finish()?;
    assert_eq!(reader.position(), bytes.len() as u64);
    Ok(events)
}

proptest! {
    #[test]
    fn a_table_of_contents_is_written_as_it_was_read(
        header in header(),
        mut entries in prop::collection::vec(entry(), 0..6),
        step in 1_usize..700,
    ) {
        let bytes = archive(&header, &mut entries);
        let (mut again, mut read) = (Vec::new(), Vec::new());
        let mut raw = Vec::new();
        for (event, its_bytes) in events(&bytes, step).unwrap() {
            raw.extend_from_slice(&its_bytes);
            match event {
                Event::Header(header) => header.write(&mut again),
                Event::Entries(count) => write_int(&mut again, i32::try_from(count).unwrap()),
                Event::Entry { entry, offset_field } => {
                    entry.write(&mut again);
                    prop_assert_eq!(again.len() as u64, offset_field + 9);
                    let field = &bytes[usize::try_from(offset_field).unwrap()..][..9];
                    prop_assert_eq!(field, &entry.offset.to_bytes());
                    read.push(*entry);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert!(again == bytes);
        prop_assert!(raw == bytes, "every byte belongs to an event");
        prop_assert_eq!(read, entries);
    }

    #[test]
    fn an_archive_that_is_cut_off_is_not_whole(
        header in header(),
        mut entries in prop::collection::vec(entry(), 0..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = archive(&header, &mut entries);
        bytes.extend(block_head(BlockKind::Data, 7));
        bytes.extend(chunk(b"abc"));
        bytes.extend(end_of_data());
        events(&bytes, 64).unwrap();
        let toc_end = archive(&header, &mut entries).len();
        let cut = cut.index(bytes.len());
        // An archive without blocks is whole; one that ends anywhere else is not.
        prop_assert_eq!(events(&bytes[..cut], 64).is_ok(), cut == toc_end);
    }
}

#[test]
fn blocks_come_with_their_data() {
    let header = Header {
        version: Version::V1_16,
        compression: Compression::None,
        created: [0, 30, 12, 24, 10, 126, 0],
        database: Some(Bytes::from_static(b"shop")),
        server_version: Some(Bytes::from_static(b"17.6")),
        pg_dump_version: Some(Bytes::from_static(b"17.6")),
    };
    let mut bytes = archive(&header, &mut []);
    bytes.extend(block_head(BlockKind::Data, 300));
    bytes.extend(chunk(b"1\n2\n"));
    bytes.extend(chunk(b"\\.\n"));
    bytes.extend(end_of_data());
    bytes.extend(block_head(BlockKind::LargeObjects, 301));
    write_int(&mut bytes, 16_400);
    bytes.extend(chunk(b"large"));
    bytes.extend(end_of_data());
    // An OID of 3,000,000,000 as `WriteInt` leaves it.
    write_int(&mut bytes, 3_000_000_000_u32.cast_signed());
    bytes.extend(end_of_data());
    write_int(&mut bytes, 0);

    for step in [1, 7, 10_000] {
        let found: Vec<Event> = events(&bytes, step).unwrap().into_iter().map(|(event, _)| event).collect();
        let data = |text: &'static str| Event::Chunk(Bytes::from_static(text.as_bytes()));
        let expected = [
            Event::Header(header.clone()),
            Event::Entries(0),
            Event::Block { kind: BlockKind::Data, dump_id: 300 },
            data("1\n2\n"),
            data("\\.\n"),
            Event::EndOfData,
            Event::Block { kind: BlockKind::LargeObjects, dump_id: 301 },
            Event::LargeObject(16_400),
            data("large"),
            Event::EndOfData,
            Event::LargeObject(3_000_000_000_u32.cast_signed()),
            Event::EndOfData,
            Event::EndOfLargeObjects,
        ];
        assert_eq!(found, expected);
    }
}

#[test]
fn what_is_no_archive_is_told_at_once() {
    for (bytes, words) in [
        (&b"PGDUMMY"[..], "does not begin with PGDMP"),
        (b"PGDMP\x01\x0d\x00", "format version 1.13"),
        (b"PGDMP\x01\x0e\x00\x08", "integers 8"),
        (b"PGDMP\x01\x0e\x00\x04\x04", "offsets 4"),
        (b"PGDMP\x01\x0e\x00\x04\x08\x03", "format code 3"),
    ] {
        let refused = Header::read(&mut Fields::new(bytes)).unwrap_err();
        assert!(refused.to_string().contains(words), "{refused}");
    }
}
