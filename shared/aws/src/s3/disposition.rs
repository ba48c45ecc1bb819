use std::fmt::Write as _;

/// The value of `Content-Disposition` that has a browser save what it downloads as `file_name`: the name in ASCII for old
/// programs (RFC 6266, section 4.3) and as it is for the others (RFC 8187).
pub(super) fn attachment(file_name: &str) -> String {
    let plain: String = file_name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let mut exact = String::with_capacity(file_name.len());
    for byte in file_name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            exact.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(exact, "%{byte:02X}").ok();
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

/// Whether a quoted text may hold a character without an escape; `%` is left out, for some programs decode it.
fn is_plain(c: char) -> bool {
    (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '%' | '/')
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("shop-2026-04-01-DEFAULT.dump", "shop-2026-04-01-DEFAULT.dump", "shop-2026-04-01-DEFAULT.dump")]
    #[case("a b.tar", "a b.tar", "a%20b.tar")]
    #[case("Zürich \"€\".tar", "Z_rich ___.tar", "Z%C3%BCrich%20%22%E2%82%AC%22.tar")]
    #[case("x\r\nSet-Cookie: a", "x__Set-Cookie: a", "x%0D%0ASet-Cookie%3A%20a")]
    #[case("../100%", ".._100_", "..%2F100%25")]
    fn a_name_is_quoted_and_encoded(#[case] name: &str, #[case] plain: &str, #[case] exact: &str) {
        assert_eq!(attachment(name), format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"));
    }
}
