//! The fields that header, entries and blocks are made of: `WriteInt`, `WriteStr` and their counterparts in
//! `pg_backup_archiver.c`.

use bytes::Bytes;

use super::version::Unsupported;

/// Bytes that are no archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end within a field: more may follow.
    #[error("the archive ends in the middle")]
    Incomplete,
    /// A field holds what it cannot.
    #[error("this is not a custom-format archive: {0}")]
    Invalid(String),
    /// A form that is not read here.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

/// Reads fields one after the other.
#[derive(Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// The fields at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let taken = self.bytes[self.at..].get(..count).ok_or(Malformed::Incomplete)?;
        self.at += count;
        Ok(taken)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    /// An integer: its sign, then its magnitude, least significant byte first.
    pub fn int(&mut self) -> Result<i32, Malformed> {
        let field = self.take(5)?;
        let magnitude = u32::from_le_bytes([field[1], field[2], field[3], field[4]]);
        let magnitude = i32::try_from(magnitude)
            .map_err(|_| Malformed::Invalid(format!("an integer of magnitude {magnitude}")))?;
        match field[0] {
            0 => Ok(magnitude),
            1 if magnitude != 0 => Ok(-magnitude),
            sign => Err(Malformed::Invalid(format!("an integer with sign {sign} and magnitude {magnitude}"))),
        }
    }

    /// A length or a count: an integer that is not negative.
    pub fn length(&mut self) -> Result<usize, Malformed> {
        let length = self.int()?;
        usize::try_from(length).map_err(|_| Malformed::Invalid(format!("a length of {length}")))
    }

    /// A string in the encoding of the database, or none.
    pub fn string(&mut self) -> Result<Option<Bytes>, Malformed> {
        match self.int()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length)
                    .map_err(|_| Malformed::Invalid(format!("a string of length {length}")))?;
                Ok(Some(Bytes::copy_from_slice(self.take(length)?)))
            }
        }
    }
}

/// Appends an integer as [`Fields::int`] reads it. The format has no `i32::MIN`, nor is it ever needed.
pub fn write_int(out: &mut Vec<u8>, value: i32) {
    out.push(u8::from(value < 0));
    out.extend_from_slice(&value.unsigned_abs().to_le_bytes());
}

/// Appends a string as [`Fields::string`] reads it.
pub fn write_string(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => write_int(out, -1),
        Some(bytes) => {
            // What was read had a length that fits; nothing longer is ever written.
            write_int(out, i32::try_from(bytes.len()).unwrap_or(i32::MAX));
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, [0, 0, 0, 0, 0])]
    #[case(1, [0, 1, 0, 0, 0])]
    #[case(-1, [1, 1, 0, 0, 0])]
    #[case(16_384, [0, 0, 0x40, 0, 0])]
    #[case(i32::MAX, [0, 0xff, 0xff, 0xff, 0x7f])]
    fn an_int_is_sign_and_magnitude(#[case] value: i32, #[case] bytes: [u8; 5]) {
        let mut out = Vec::new();
        write_int(&mut out, value);
        assert_eq!(out, bytes);
        assert_eq!(Fields::new(&bytes).int(), Ok(value));
    }

    #[rstest]
    #[case::negative_zero(&[1, 0, 0, 0, 0])]
    #[case::unknown_sign(&[2, 1, 0, 0, 0])]
    #[case::too_large(&[0, 0, 0, 0, 0x80])]
    fn another_int_is_refused(#[case] bytes: &[u8]) {
        assert!(matches!(Fields::new(bytes).int(), Err(Malformed::Invalid(_))));
    }

    #[test]
    fn a_field_that_is_cut_off_may_go_on() {
        let mut whole = Vec::new();
        write_string(&mut whole, Some(b"pg_catalog"));
        for end in 0..whole.len() {
            assert_eq!(Fields::new(&whole[..end]).string(), Err(Malformed::Incomplete));
        }
        assert_eq!(Fields::new(&whole).string(), Ok(Some(Bytes::from_static(b"pg_catalog"))));
    }

    #[test]
    fn an_empty_string_is_not_none() {
        let mut out = Vec::new();
        write_string(&mut out, Some(b""));
        write_string(&mut out, None);
        let mut fields = Fields::new(&out);
        assert_eq!(fields.string(), Ok(Some(Bytes::new())));
        assert_eq!(fields.string(), Ok(None));
        assert_eq!(fields.position(), out.len());
    }
}
