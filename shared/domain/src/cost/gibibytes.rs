//! Sizes for people.

use std::fmt;

/// Bytes as GiB, or as MiB below one.
pub(crate) struct Gibibytes(pub(crate) u64);

impl fmt::Display for Gibibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        let (unit, name) = if self.0 < GIB { (MIB, "MiB") } else { (GIB, "GiB") };
        let tenths = (u128::from(self.0) * 10 + u128::from(unit) / 2) / u128::from(unit);
        write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "0.0 MiB")]
    #[case(1 << 20, "1.0 MiB")]
    #[case((1 << 30) - 1, "1024.0 MiB")]
    #[case(3 << 29, "1.5 GiB")]
    #[case(u64::MAX, "17179869184.0 GiB")]
    fn sizes_have_one_decimal(#[case] bytes: u64, #[case] text: &str) {
        assert_eq!(Gibibytes(bytes).to_string(), text);
    }
}
