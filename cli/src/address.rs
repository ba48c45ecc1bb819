//! Places in S3 as people write them, `s3://bucket/key`, beside files.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::failure::Failure;

/// The longest key, in bytes, S3's limit.
const KEY_MAX: usize = 1024;

/// A bucket, and a key or a prefix in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) bucket: String,
    /// Empty for the whole bucket.
    pub(crate) key: String,
}

/// Where something is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A file.
    File(PathBuf),
    /// An object.
    Object(Address),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "write it as s3://bucket/key".to_owned();
        let (bucket, key) = match text.strip_prefix("s3://").ok_or_else(form)?.split_once('/') {
            Some((bucket, key)) => (bucket, key),
            None => (text.strip_prefix("s3://").unwrap_or_default(), ""),
        };
        let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let good = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
            })
            && is_end(bucket.as_bytes().first())
            && is_end(bucket.as_bytes().last());
        if !good {
            return Err(format!("{bucket:?} is not the name of a bucket; {}", form()));
        }
        if key.len() > KEY_MAX {
            return Err(format!("the key has {} bytes, and may have {KEY_MAX} at most", key.len()));
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

impl FromStr for Target {
    type Err = String;

    /// Whatever begins with `s3:` is taken for an address, so that a slip does not become a file of that name.
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("s3:")) {
            return Ok(Self::File(PathBuf::from(text)));
        }
        let address: Address = text.parse()?;
        if address.key.is_empty() || address.key.ends_with('/') {
            return Err("it names no object; add a name, as in s3://bucket/folder/name".to_owned());
        }
        Ok(Self::Object(address))
    }
}

/// Refuses what names no target. The text stays one, for an option of all commands has the same name, and so the same type.
pub(crate) fn checked_target(text: &str) -> Result<String, String> {
    text.parse::<Target>().map(|_| text.to_owned())
}

impl Target {
    /// What `text` names, which was checked before.
    pub(crate) fn of(text: &str) -> Result<Self, Failure> {
        text.parse().map_err(Failure::usage)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("s3://media", "media", "")]
    #[case("s3://media/", "media", "")]
    #[case("s3://my.media-1/a/b c?.jpg", "my.media-1", "a/b c?.jpg")]
    #[case("s3://media//a/", "media", "/a/")]
    fn an_address_is_taken_apart(#[case] text: &str, #[case] bucket: &str, #[case] key: &str) {
        let address: Address = text.parse().unwrap();
        assert_eq!((address.bucket.as_str(), address.key.as_str()), (bucket, key));
    }

    #[rstest]
    #[case("s3://", "not the name of a bucket")]
    #[case("s3:///key", "not the name of a bucket")]
    #[case("s3://Media/key", "not the name of a bucket")]
    #[case("s3://-media/key", "not the name of a bucket")]
    #[case("s3://media:x/key", "not the name of a bucket")]
    #[case("s3:/media/key", "s3://bucket/key")]
    #[case("S3://media/key", "s3://bucket/key")]
    #[case("s3://media", "names no object")]
    #[case("s3://media/folder/", "names no object")]
    fn what_names_no_object_is_refused(#[case] text: &str, #[case] says: &str) {
        let refusal = text.parse::<Target>().unwrap_err();
        assert!(refusal.contains(says), "{refusal}");
    }

    #[test]
    fn a_key_has_its_limit_and_a_file_any_other_name() {
        let long = format!("s3://media/{}", "k".repeat(KEY_MAX + 1));
        assert!(long.parse::<Target>().unwrap_err().contains("1024 at most"));
        assert_eq!("./s3:x".parse(), Ok(Target::File(PathBuf::from("./s3:x"))));
        let address = Address { bucket: "media".to_owned(), key: "a".to_owned() };
        assert_eq!("s3://media/a".parse(), Ok(Target::Object(address.clone())));
        assert_eq!(address.to_string(), "s3://media/a");
    }
}
