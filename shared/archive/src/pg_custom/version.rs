//! Which versions of the format there are, and how they differ.

/// A version of the archive format (`K_VERS_*` in `pg_backup_archiver.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.14: `pg_dump` 12 to 15. The header has a compression level.
    V1_14,
    /// 1.15: `pg_dump` 16. The header has a compression algorithm.
    V1_15,
    /// 1.16: `pg_dump` 17 and 18. An entry has the kind of its relation.
    V1_16,
}

/// An archive in a form that is not read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("archives with {0} are not supported; those of pg_dump 13 to 18 (1.14 to 1.16) are")]
pub struct Unsupported(pub String);

impl Version {
    /// The version that the three bytes of a header name. The revision has never been anything but 0.
    pub fn from_bytes(bytes: [u8; 3]) -> Result<Self, Unsupported> {
        match bytes {
            [1, 14, 0] => Ok(Self::V1_14),
            [1, 15, 0] => Ok(Self::V1_15),
            [1, 16, 0] => Ok(Self::V1_16),
            [major, minor, 0] => Err(Unsupported(format!("format version {major}.{minor}"))),
            [major, minor, revision] => {
                Err(Unsupported(format!("format version {major}.{minor}-{revision}")))
            }
        }
    }

    /// As the header has it.
    pub fn to_bytes(self) -> [u8; 3] {
        match self {
            Self::V1_14 => [1, 14, 0],
            Self::V1_15 => [1, 15, 0],
            Self::V1_16 => [1, 16, 0],
        }
    }

    /// Whether the header names an algorithm; before, it has a level, and the algorithm is zlib.
    pub(super) fn has_algorithm(self) -> bool {
        self >= Self::V1_15
    }

    /// Whether an entry has the kind of its relation.
    pub(super) fn has_relation_kind(self) -> bool {
        self >= Self::V1_16
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case([1, 14, 0], Version::V1_14)]
    #[case([1, 15, 0], Version::V1_15)]
    #[case([1, 16, 0], Version::V1_16)]
    fn a_known_version_reads_back(#[case] bytes: [u8; 3], #[case] version: Version) {
        assert_eq!(Version::from_bytes(bytes), Ok(version));
        assert_eq!(version.to_bytes(), bytes);
    }

    #[rstest]
    #[case([1, 13, 0], "format version 1.13")]
    #[case([1, 17, 0], "format version 1.17")]
    #[case([2, 0, 0], "format version 2.0")]
    #[case([1, 14, 1], "format version 1.14-1")]
    fn any_other_is_refused_by_name(#[case] bytes: [u8; 3], #[case] name: &str) {
        let refused = Version::from_bytes(bytes).unwrap_err();
        assert_eq!(refused, Unsupported(name.to_owned()));
        assert!(refused.to_string().contains("1.14 to 1.16"));
    }
}
