//! Sizes as people write them.

/// Units and their bytes. A bare `G` is none: it means 1,000 of something to some, and 1,024 to others.
const UNITS: [(&str, u128); 10] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Bytes from a text such as `2GiB`, `1.5 TB` or `1048576`. Part of a byte is left out.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    bytes(text).ok_or_else(|| {
        "write a number and a unit, such as 2GiB, 1.5GB or 500MiB (kB, MB, GB, TB are thousands, KiB, MiB, GiB, TiB are \
         1,024s), or a number of bytes"
            .to_owned()
    })
}

fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let (_, unit_bytes) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits =
        |part: &str| !part.is_empty() && part.len() <= 18 && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(decimals) {
        return None;
    }
    let scale = 10_u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let number = whole.parse::<u128>().ok()?.checked_mul(scale)?.checked_add(decimals.parse().ok()?)?;
    u64::try_from(number.checked_mul(*unit_bytes)? / scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0", Some(0))]
    #[case("1048576", Some(1 << 20))]
    #[case("2GiB", Some(2 << 30))]
    #[case("2 gib", Some(2 << 30))]
    #[case("1.5KiB", Some(1_536))]
    #[case("1.5 TB", Some(1_500_000_000_000))]
    #[case("0.0001kB", Some(0))]
    #[case("16777216TiB", None)]
    #[case("", None)]
    #[case("GiB", None)]
    #[case("2G", None)]
    #[case("-2GiB", None)]
    #[case("1.2.3MB", None)]
    #[case(".5MB", None)]
    #[case("1e9", None)]
    fn sizes_are_exact_or_refused(#[case] text: &str, #[case] bytes: Option<u64>) {
        assert_eq!(parse(text).ok(), bytes);
    }
}
