use super::percent;

/// The value of `x-amz-copy-source` for an object: bucket and key, the key in percent-encoded UTF-8. The SDK sends it as it
/// is, and an unencoded `?` would begin a version.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html#AmazonS3-UploadPartCopy-request-header-CopySource>
pub(super) fn encode(bucket: &str, key: &str) -> String {
    format!("{bucket}/{}", percent::encode(key, b"/"))
}

/// The same for one version of an object.
pub(super) fn of_version(bucket: &str, key: &str, version_id: Option<&str>) -> String {
    let mut source = encode(bucket, key);
    if let Some(version_id) = version_id {
        source.push_str("?versionId=");
        source.push_str(&percent::encode(version_id, b""));
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

    #[test]
    fn a_version_stands_behind_the_key() {
        assert_eq!(of_version("media", "a?b", Some("v1+x")), "media/a%3Fb?versionId=v1%2Bx");
        assert_eq!(of_version("media", "a", None), "media/a");
    }
}
