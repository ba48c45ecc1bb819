use std::fmt::Write as _;

/// The value of `x-amz-copy-source` for an object: bucket and key, the key in percent-encoded UTF-8. The SDK sends it as it
/// is, and an unencoded `?` would begin a version.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html#AmazonS3-UploadPartCopy-request-header-CopySource>
pub(super) fn encode(bucket: &str, key: &str) -> String {
    let mut source = format!("{bucket}/");
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            source.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(source, "%{byte:02X}").ok();
        }
    }
    source
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a/b.jpg", "media/a/b.jpg")]
    #[case("/a//b", "media//a//b")]
    #[case("a b+c%?versionId=1", "media/a%20b%2Bc%25%3FversionId%3D1")]
    #[case("Zürich\n", "media/Z%C3%BCrich%0A")]
    fn a_key_is_encoded(#[case] key: &str, #[case] source: &str) {
        assert_eq!(encode("media", key), source);
    }
}
