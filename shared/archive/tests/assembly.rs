//! Any listing, laid out in parts and put together as S3 does, is a tar of the same listing, whatever became of its objects
//! since they were listed.
#![expect(clippy::unwrap_used, reason = "a test may panic, in its own functions too")]

mod listing;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use bytes::Bytes;
use holdfast_archive::assembly::{Entry, LiteralParts, Numbering, Outgrown, Policy, Survey};
use holdfast_archive::checksum::{Crc64Nvme, Sha256};
use holdfast_archive::manifest::{self, ManifestFrames, ManifestLine, unpack};
use holdfast_archive::media_tar::MediaTar;
use holdfast_archive::multipart::Segment;
use holdfast_archive::tar::MANIFEST_NAME;
use listing::{entry, object, source, taken_at};
use proptest::prelude::*;

/// S3's limits in miniature: parts of 1 KiB to 6 KiB.
const SMALL: Policy = Policy {
    part_bytes: 4_096,
    copy_from: 2_048,
    head_bytes: 1_024,
    range_bytes: 3_000,
    max_range_bytes: 6_144,
    max_parts: 400,
};
const LADDER: [Policy; 3] = [
    SMALL,
    Policy { part_bytes: 8_192, copy_from: 8_192, range_bytes: 6_144, ..SMALL },
    Policy { part_bytes: 16_384, copy_from: 16_384, range_bytes: 6_144, ..SMALL },
];

/// An object as it was listed, and what it is when its turn comes; none if it is gone.
#[derive(Debug, Clone)]
struct Listed {
    size: usize,
    now: Option<usize>,
}

fn bytes_of(key: &str, size: usize) -> Vec<u8> {
    key.bytes().chain(0..=250).cycle().take(size).collect()
}

/// The parts of an upload by their numbers.
#[derive(Default)]
struct Parts(BTreeMap<u32, Segment>);

impl Parts {
    fn store(&mut self, segments: impl IntoIterator<Item = Segment>) {
        for segment in segments {
            assert_eq!(segment.crc64nvme, Crc64Nvme::of(&segment.bytes));
            let number = segment.number;
            assert!(self.0.insert(number, segment).is_none(), "part {number} comes twice");
        }
    }
}

/// What became of an archive.
struct Assembled {
    /// The parts by their numbers.
    parts: BTreeMap<u32, Segment>,
    /// Bytes that were read.
    read: usize,
    /// Bytes that say nothing.
    filled: usize,
}

/// Does what the engine does, one object after the other.
fn assemble(policy: Policy, listed: &BTreeMap<String, Listed>) -> Result<Assembled, Outgrown> {
    let (mut numbering, mut literal) = (Numbering::new(policy), LiteralParts::new(policy));
    let (mut tar, mut lines, mut frames) = (MediaTar::new(), ManifestFrames::new(), Vec::new());
    let (mut parts, mut read, mut filled) = (Parts::default(), 0, 0);
    for (key, Listed { size, now }) in listed {
        let planned = numbering.plan(key, *size as u64);
        let (Entry::Read { literal_until } | Entry::Copied { literal_until, .. }) = planned;
        literal.allow(literal_until);
        let Some(now) = *now else {
            frames.extend(lines.push(&tar.skip(key, "gone")).unwrap());
            continue;
        };
        let object = object(bytes_of(key, now));
        let bytes = &object.bytes;
        let entry = entry(key, now as u64, &object);
        let copies = match &planned {
            Entry::Read { .. } => None,
            Entry::Copied { numbers, .. } => {
                policy.copies_within(now as u64, numbers).map(|ranges| (numbers, ranges))
            }
        };
        let archived = if let Some((numbers, ranges)) = copies {
            let head = &bytes[..usize::try_from(policy.head_bytes).unwrap()];
            let (first, next) = (*numbers.start(), ranges.last().unwrap().0 + 1);
            loop {
                let missing = literal.missing(first - 1, head.len() as u64);
                if missing == 0 {
                    break;
                }
                let comment = tar.fill(missing.min(policy.head_bytes));
                filled += comment.len();
                parts.store(literal.push_filler(&comment, first - 1)?);
            }
            let mut whole = Crc64Nvme::of(head);
            for (number, offset, length) in ranges {
                let from = usize::try_from(offset).unwrap();
                let part = Bytes::copy_from_slice(&bytes[from..from + usize::try_from(length).unwrap()]);
                let crc64nvme = Crc64Nvme::of(&part);
                whole = Crc64Nvme::combine(whole, crc64nvme, length);
                parts.store([Segment { number, crc64nvme, bytes: part }]);
            }
            assert_eq!(whole, Crc64Nvme::of(bytes));
            let archived = tar.copied(entry, whole).unwrap();
            parts.store(literal.push_before_copies(&archived.header, head, first, next)?);
            read += head.len();
            archived
        } else {
            let archived = tar.read(entry, bytes).unwrap();
            parts.store(literal.push(&archived.header)?);
            parts.store(literal.push(bytes)?);
            read += bytes.len();
            archived
        };
        parts.store(literal.push(&archived.padding)?);
        frames.extend(lines.push(&archived.line).unwrap());
    }
    literal.allow(policy.max_parts);
    let manifest = lines.finish(source()).unwrap();
    let end = tar.finish(manifest.total_bytes, taken_at());
    parts.store(literal.push(&end.header)?);
    parts.store(literal.push(&manifest.header_line)?);
    for frame in frames.into_iter().chain(manifest.last) {
        parts.store(literal.push(&unpack(&frame).unwrap())?);
    }
    parts.store(literal.push(&end.trailer)?);
    parts.store(literal.finish()?);
    Ok(Assembled { parts: parts.0, read, filled })
}

/// Checks what S3 would: the sizes of parts; and what readers do: the members, and where the manifest says they are.
fn check(policy: Policy, listed: &BTreeMap<String, Listed>, assembled: &Assembled) {
    let last = *assembled.parts.keys().last().unwrap();
    assert!(last <= policy.max_parts);
    assert!(assembled.parts.keys().copied().eq(1..=last), "S3 refuses numbers that are not consecutive");
    let mut whole = Crc64Nvme::EMPTY;
    for (number, segment) in &assembled.parts {
        let shortest = if *number == last { 1 } else { policy.head_bytes };
        let length = segment.bytes.len() as u64;
        assert!(
            (shortest..=policy.max_range_bytes.max(4 * policy.part_bytes)).contains(&length),
            "part {number}: {length}"
        );
        whole = Crc64Nvme::combine(whole, segment.crc64nvme, length);
    }
    let tar: Vec<u8> = assembled.parts.values().flat_map(|segment| segment.bytes.clone()).collect();
    assert_eq!(whole, Crc64Nvme::of(&tar));

    let mut reader = tar::Archive::new(Cursor::new(&tar));
    let mut members = Vec::new();
    for entry in reader.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_pax_global_extensions() {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        members.push((String::from_utf8(entry.path_bytes().into_owned()).unwrap(), bytes));
    }
    let (name, text) = members.pop().unwrap();
    assert_eq!(name, MANIFEST_NAME);
    let (_, lines) = manifest::read(Cursor::new(text)).unwrap();
    let mut members = members.into_iter();
    for (line, (key, Listed { now, .. })) in lines.map(Result::unwrap).zip(listed) {
        assert_eq!(line.key(), key);
        match (line, now) {
            (ManifestLine::Skipped(_), None) => {}
            (ManifestLine::File(stored) | ManifestLine::Directory(stored), Some(now)) => {
                let bytes = bytes_of(key, *now);
                assert!(members.next() == Some((stored.member, bytes.clone())), "{key}");
                let from = usize::try_from(stored.offset).unwrap();
                assert!(tar[from..from + now] == bytes, "{key}: the offset is wrong");
                match (stored.sha256, stored.crc64nvme) {
                    (Some(sha256), None) => assert_eq!(sha256, Sha256::of(&bytes)),
                    (None, Some(crc64nvme)) => assert_eq!(crc64nvme, Crc64Nvme::of(&bytes)),
                    both => panic!("{key}: {both:?}"),
                }
            }
            (line, now) => panic!("{line:?} for {now:?}"),
        }
    }
    assert_eq!(members.next(), None);
}

fn survey(listed: &BTreeMap<String, Listed>) -> Survey {
    let mut survey = Survey::new(&LADDER);
    for (key, listed) in listed {
        survey.add(key, listed.size as u64);
    }
    survey
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..700_usize, 3 => 0..5_000_usize, 2 => 1_500..40_000_usize, 1 => Just(0), 1 => Just(2_048)]
}

fn listings() -> impl Strategy<Value = BTreeMap<String, usize>> {
    prop::collection::btree_map("[a-d/é]{1,12}|[a-z]{90,130}", sizes(), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_listing_that_stands_still_becomes_a_tar_of_it(listed in listings()) {
        let listed = listed.into_iter().map(|(key, size)| (key, Listed { size, now: Some(size) })).collect();
        let Ok(policy) = survey(&listed).choose() else { return Ok(()) };
        let assembled = assemble(policy, &listed).unwrap();
        check(policy, &listed, &assembled);
        let expected: usize = listed
            .values()
            .map(|listed| if policy.copies(listed.size as u64) { 1_024 } else { listed.size })
            .sum();
        prop_assert_eq!(assembled.read, expected, "small files, and the shortest part of each large one");
        prop_assert_eq!(assembled.filled, 0);
    }

    #[test]
    fn whatever_becomes_of_it_the_tar_is_whole_or_there_is_none(
        listed in listings(),
        fates in prop::collection::vec(prop_oneof![2 => Just(None), 1 => Just(Some(None)), 2 => sizes().prop_map(|now| Some(Some(now)))], 60),
    ) {
        let listed = listed
            .into_iter()
            .zip(fates)
            .map(|((key, size), fate)| (key, Listed { size, now: fate.unwrap_or(Some(size)) }))
            .collect();
        let Ok(policy) = survey(&listed).choose() else { return Ok(()) };
        if let Ok(assembled) = assemble(policy, &listed) {
            check(policy, &listed, &assembled);
        }
    }
}

/// A few that change among many that do not are no reason to begin again.
#[test]
fn objects_that_grow_within_bounds_fit_into_the_numbers_of_the_others() {
    let mut listed: BTreeMap<String, Listed> =
        (0..200).map(|n| (format!("{n:03}"), Listed { size: 900, now: Some(900) })).collect();
    for key in ["010", "011", "100"] {
        listed.get_mut(key).unwrap().now = Some(4_000);
    }
    listed.insert("050x".to_owned(), Listed { size: 9_000, now: Some(13_000) });
    listed.insert("060x".to_owned(), Listed { size: 9_000, now: Some(3) });
    listed.insert("070x".to_owned(), Listed { size: 9_000, now: None });
    check(SMALL, &listed, &assemble(SMALL, &listed).unwrap());
}

#[test]
fn what_outgrows_its_numbers_is_refused() {
    let listed = BTreeMap::from([
        ("a".to_owned(), Listed { size: 10, now: Some(60_000) }),
        ("b".to_owned(), Listed { size: 9_000, now: Some(9_000) }),
    ]);
    assert_eq!(assemble(SMALL, &listed).err(), Some(Outgrown));
}

/// A million objects, of which every hundredth is copied: the plan holds none of them.
#[test]
fn a_million_objects_are_planned_in_the_memory_of_one() {
    let (mut survey, mut numbering) = (Survey::new(&Policy::LADDER), Numbering::new(Policy::LADDER[3]));
    let mut last = 0;
    for number in 0..1_000_000_u64 {
        let size = if number % 1_000 == 0 { 40 << 20 } else { 16 << 10 };
        let key = format!("uploads/{number:09}.jpg");
        survey.add(&key, size);
        if let Entry::Copied { literal_until, numbers } = numbering.plan(&key, size) {
            assert!(last <= literal_until && literal_until < *numbers.start());
            last = *numbers.end();
        }
    }
    assert_eq!(survey.choose(), Ok(Policy::LADDER[0]));
    assert!(last < 10_000);
}
