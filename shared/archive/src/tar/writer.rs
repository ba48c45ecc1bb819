//! The blocks of a tar: headers, padding and end.
//!
//! The format is pax, [POSIX.1-2001](https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html): a ustar
//! header of 512 bytes for each member, with an extended header before it where ustar has no room. The same
//! member always gives the same bytes.

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use tar::{EntryType, Header};

use super::member::{Member, MemberKind};

/// The unit of a tar, in bytes: headers are one block, data is padded to whole ones.
pub const BLOCK_BYTES: usize = 512;

/// The longest name in a ustar header, in bytes (its `prefix` field is left alone: the rules for dividing a name
/// differ between tools).
const MAX_USTAR_NAME_BYTES: usize = 100;

/// The first number too large for the eleven octal digits of `size` and `mtime` in ustar: 8 GiB.
const USTAR_NUMBER_LIMIT: u64 = 1 << 33;

/// The name of extended headers, seen only by a tool that does not know them.
const EXTENDED_HEADER_NAME: &str = "PaxHeaders/member";

static ZEROS: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];

/// The header blocks of a member of `size` bytes, which come before its data.
///
/// The time counts in whole seconds; one before 1970 becomes 1970. Mode is 0644, of a folder 0755; user and
/// group are 0 and have no names.
pub fn header(member: &Member, size: u64, modified: DateTime<Utc>) -> Bytes {
    let seconds = u64::try_from(modified.timestamp()).unwrap_or(0);
    let mut blocks = BytesMut::with_capacity(3 * ZEROS.len());

    let records = extended_records(&member.name, size, seconds);
    if !records.is_empty() {
        let length = records.len() as u64;
        let block = ustar(EXTENDED_HEADER_NAME, EntryType::XHeader, 0o644, length, seconds);
        blocks.extend_from_slice(block.as_bytes());
        blocks.extend_from_slice(&records);
        blocks.extend_from_slice(padding(length));
    }
    let (entry_type, mode) = match member.kind {
        MemberKind::File => (EntryType::Regular, 0o644),
        MemberKind::Directory => (EntryType::Directory, 0o755),
    };
    blocks.extend_from_slice(ustar(&member.name, entry_type, mode, size, seconds).as_bytes());
    blocks.freeze()
}

/// How many bytes the header blocks of a member take whose time is before the year 2242.
pub fn header_bytes(name: &str, size: u64) -> u64 {
    let records = extended_records(name, size, 0).len();
    let extended = if records == 0 { 0 } else { BLOCK_BYTES + records.next_multiple_of(BLOCK_BYTES) };
    (extended + BLOCK_BYTES) as u64
}

/// The zeros that follow a member's data of `size` bytes.
pub fn padding(size: u64) -> &'static [u8] {
    let block = BLOCK_BYTES as u64;
    // Less than a block, so the conversion cannot fail.
    let missing = usize::try_from((block - size % block) % block).unwrap_or(0);
    &ZEROS[..missing]
}

/// The longest comment of one global header, in bytes: `libarchive` takes headers of 1 MiB at the most.
const MAX_COMMENT_BYTES: u64 = 512 * 1024;

/// Blocks that say nothing, at least `least` bytes of them and at most four blocks more: global extended headers with a
/// comment, which readers pass over. A member must follow, or Python's `tarfile` takes the archive for cut off.
pub fn filler(least: u64) -> Bytes {
    let block = BLOCK_BYTES as u64;
    let (mut blocks, mut left) = (BytesMut::new(), least);
    while left > 0 {
        // The record is as long as what is left but for the header, or as a block at the least.
        let records = left.saturating_sub(block).clamp(block, MAX_COMMENT_BYTES).next_multiple_of(block);
        let head = format!("{records} comment=");
        // Less than a mebibyte, so the conversions cannot fail.
        let length = usize::try_from(records).unwrap_or(BLOCK_BYTES);
        blocks.extend_from_slice(
            ustar(EXTENDED_HEADER_NAME, EntryType::XGlobalHeader, 0o644, records, 0).as_bytes(),
        );
        blocks.extend_from_slice(head.as_bytes());
        blocks.resize(blocks.len() + length - head.len() - 1, b' ');
        blocks.extend_from_slice(b"\n");
        left = left.saturating_sub(block + records);
    }
    blocks.freeze()
}

/// The end of a tar: two blocks of zeros.
pub fn end() -> &'static [u8] {
    &ZEROS
}

/// The records for what ustar has no room for; none if it has room for all.
///
/// The path comes last: a reader that takes the records for lines, and a name for several if it has a line
/// feed, has then read the others.
fn extended_records(name: &str, size: u64, seconds: u64) -> Vec<u8> {
    let mut records = Vec::new();
    if size >= USTAR_NUMBER_LIMIT {
        push_record(&mut records, "size", &size.to_string());
    }
    if seconds >= USTAR_NUMBER_LIMIT {
        push_record(&mut records, "mtime", &seconds.to_string());
    }
    if name.len() > MAX_USTAR_NAME_BYTES || !name.is_ascii() {
        push_record(&mut records, "path", name);
    }
    records
}

/// Appends `"<length> <keyword>=<value>\n"`, where the length counts the whole record with its own digits.
fn push_record(records: &mut Vec<u8>, keyword: &str, value: &str) {
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    if rest + digits(length) != length {
        length = rest + digits(length);
    }
    records.extend_from_slice(format!("{length} {keyword}={value}\n").as_bytes());
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

fn ustar(name: &str, entry_type: EntryType, mode: u32, size: u64, seconds: u64) -> Header {
    let mut header = Header::new_ustar();
    let field = &mut header.as_mut_bytes()[..MAX_USTAR_NAME_BYTES];
    if name.len() <= MAX_USTAR_NAME_BYTES && name.is_ascii() {
        field[..name.len()].copy_from_slice(name.as_bytes());
    } else {
        // The extended header has the name; this one is for a tool that does not know it.
        let plain =
            name.trim_end_matches('/').chars().map(|c| if c.is_ascii_graphic() { c as u8 } else { b'_' });
        field.iter_mut().zip(plain).for_each(|(byte, plain)| *byte = plain);
    }
    header.set_entry_type(entry_type);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    // From 8 GiB on in base 256, for tools that know that and not the extended header.
    header.set_size(size);
    header.set_mtime(seconds);
    header.set_cksum();
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::super::member::MemberNames;
    use super::*;

    fn file(name: &str) -> Member {
        Member { name: name.to_owned(), kind: MemberKind::File }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[rstest]
    #[case::name_of_100(&"a".repeat(100), 1, 1, 1)]
    #[case::name_of_101(&"a".repeat(101), 1, 1, 3)]
    #[case::not_ascii("é", 1, 1, 3)]
    #[case::records_of_more_than_a_block(&"a".repeat(1_024), 1, 1, 5)]
    #[case::just_below_8_gib("a", (8 << 30) - 1, 1, 1)]
    #[case::size_of_8_gib("a", 8 << 30, 1, 3)]
    #[case::year_2242("a", 1, (8 << 30) - 1, 1)]
    #[case::later("a", 1, 8 << 30, 3)]
    #[case::before_1970("a", 1, -1, 1)]
    fn an_extended_header_only_where_ustar_has_no_room(
        #[case] name: &str,
        #[case] size: u64,
        #[case] seconds: i64,
        #[case] blocks: usize,
    ) {
        assert_eq!(header(&file(name), size, at(seconds)).len(), blocks * BLOCK_BYTES);
    }

    /// Field by field as POSIX lays it out, so that the bytes stay the same from version to version.
    #[test]
    fn a_ustar_header_is_what_posix_says() {
        let header = header(&file("photos/a.jpg"), 1_234, at(1_700_000_000));
        let field = |from: usize, bytes: usize| std::str::from_utf8(&header[from..from + bytes]).unwrap();
        assert_eq!(field(0, 100).trim_end_matches('\0'), "photos/a.jpg");
        assert_eq!(field(100, 8), "0000644\0");
        assert_eq!(field(108, 8), "0000000\0");
        assert_eq!(field(116, 8), "0000000\0");
        assert_eq!(field(124, 12), "00000002322\0");
        assert_eq!(field(136, 12), "14524770400\0");
        assert_eq!(field(156, 1), "0");
        assert_eq!(field(257, 8), "ustar\x0000");
        assert!(header[265..].iter().all(|byte| *byte == 0), "no user, group, device or prefix");
    }

    #[test]
    fn a_folder_has_its_type_and_mode() {
        let folder = Member { name: "photos/".to_owned(), kind: MemberKind::Directory };
        let header = header(&folder, 0, at(1));
        assert_eq!(&header[100..108], b"0000755\0");
        assert_eq!(header[156], b'5');
    }

    #[test]
    fn the_path_is_the_last_record() {
        let header = header(&file("é\né"), 8 << 30, at(1));
        let records = b"19 size=8589934592\n14 path=\xc3\xa9\n\xc3\xa9\n";
        assert_eq!(&header[512..512 + records.len()], records);
    }

    #[rstest]
    #[case(0, 0)]
    #[case(1, 511)]
    #[case(511, 1)]
    #[case(512, 0)]
    #[case(513, 511)]
    #[case(u64::MAX, 1)]
    fn padding_fills_the_last_block(#[case] size: u64, #[case] bytes: usize) {
        assert_eq!(padding(size), vec![0; bytes]);
    }

    #[test]
    fn the_end_is_two_blocks_of_zeros() {
        assert_eq!(end(), [0; 1_024]);
    }

    #[test]
    fn the_record_of_a_filler_counts_itself() {
        let filler = filler(1);
        assert_eq!((filler.len(), filler[156]), (2 * BLOCK_BYTES, b'g'));
        assert!(filler[512..].starts_with(b"512 comment=   ") && filler.ends_with(b" \n"));
    }

    proptest! {
        #[test]
        fn a_filler_is_about_as_long_as_was_asked_for(least in 0..6_000_000_u64) {
            let length = filler(least).len() as u64;
            prop_assert!((least..=least + 4 * BLOCK_BYTES as u64).contains(&length) && length.is_multiple_of(BLOCK_BYTES as u64));
        }

        #[test]
        fn a_header_is_as_long_as_planned(key in "\\PC{0,300}|[/a-z]{0,1100}", size in any::<u64>(), seconds in 0..1_i64 << 33) {
            let member = MemberNames::new().assign(&key, size).unwrap();
            prop_assert_eq!(header(&member, size, at(seconds)).len() as u64, header_bytes(&member.name, size));
        }

        #[test]
        fn a_record_counts_its_own_digits(bytes in 0..12_000_usize) {
            let mut record = Vec::new();
            push_record(&mut record, "path", &"a".repeat(bytes));
            let text = String::from_utf8(record).unwrap();
            let (length, _) = text.split_once(' ').unwrap();
            prop_assert_eq!(length.parse(), Ok(text.len()));
        }
    }
}
