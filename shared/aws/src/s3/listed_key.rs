/// A key of a listing with `encoding-type=url`, which is asked for since XML cannot hold every character of a key. S3
/// encodes as forms do: a space is `+`.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html#API_ListObjectsV2_RequestSyntax>
///
/// `None` if the text is no such encoding of UTF-8.
pub(super) fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = rest.split_off(..2)?;
                let digits =
                    std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("media/a.jpg", Some("media/a.jpg"))]
    #[case("a+b%2Bc", Some("a b+c"))]
    #[case("Z%C3%BCrich%0A%25", Some("Zürich\n%"))]
    #[case("", Some(""))]
    #[case("%2", None)]
    #[case("%+1", None)]
    #[case("%FF", None)]
    fn a_listed_key_is_decoded(#[case] encoded: &str, #[case] key: Option<&str>) {
        assert_eq!(decode(encoded).as_deref(), key);
    }
}
