//! Money as whole numbers.

use std::{fmt, iter::Sum, ops::Add, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Nano-dollars in a US dollar.
const DOLLAR: u64 = 1_000_000_000;

/// An amount in billionths of a US dollar. `Display` shows dollars: two decimals from one dollar up, else four.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct NanoDollars(
    /// Billionths of a US dollar.
    pub u64,
);

/// A text that is no amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no amount in dollars: write digits with at most nine decimals, such as \"0.0135\"")]
pub struct BadAmount(String);

impl NanoDollars {
    /// The price of `quantity` units where `unit` of them cost this much, rounded to the nearest nano-dollar.
    pub(super) fn per(self, unit: u128, quantity: u128) -> Self {
        let exact = u128::from(self.0).saturating_mul(quantity);
        Self(u64::try_from(exact.saturating_add(unit / 2) / unit).unwrap_or(u64::MAX))
    }
}

impl Add for NanoDollars {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for NanoDollars {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for NanoDollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |decimals: usize, smallest: u64| {
            let rounded = self.0.saturating_add(smallest / 2) / smallest;
            let whole = DOLLAR / smallest;
            (rounded / whole, rounded % whole, decimals)
        };
        let (dollars, fraction, decimals) =
            if self.0 < DOLLAR { shown(4, DOLLAR / 10_000) } else { shown(2, DOLLAR / 100) };
        write!(f, "${dollars}.{fraction:0decimals$}")
    }
}

impl FromStr for NanoDollars {
    type Err = BadAmount;

    /// From dollars in digits, such as `0.0135`.
    fn from_str(text: &str) -> Result<Self, BadAmount> {
        let bad = || BadAmount(text.to_owned());
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 9 {
            return Err(bad());
        }
        let whole: u64 = whole.parse().map_err(|_| bad())?;
        let fraction: u64 = format!("{decimals:0<9}").parse().map_err(|_| bad())?;
        whole.checked_mul(DOLLAR).and_then(|nanos| nanos.checked_add(fraction)).map(Self).ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0.0135", 13_500_000)]
    #[case("13.3334", 13_333_400_000)]
    #[case("1", 1_000_000_000)]
    #[case("0.000000001", 1)]
    fn dollars_are_read_exactly(#[case] text: &str, #[case] nanos: u64) {
        assert_eq!(text.parse(), Ok(NanoDollars(nanos)));
    }

    #[rstest]
    #[case("")]
    #[case(".5")]
    #[case("1.")]
    #[case("-1")]
    #[case("1e-3")]
    #[case("0,0135")]
    #[case("$1")]
    #[case("0.0000000001")]
    #[case("99999999999999")]
    fn anything_else_is_refused(#[case] text: &str) {
        let refusal = text.parse::<NanoDollars>().unwrap_err().to_string();
        assert!(refusal.contains("such as"), "{refusal}");
    }

    #[rstest]
    #[case(0, "$0.0000")]
    #[case(13_500_000, "$0.0135")]
    #[case(49_999, "$0.0000")]
    #[case(50_000, "$0.0001")]
    #[case(999_999_999, "$1.0000")]
    #[case(1_000_000_000, "$1.00")]
    #[case(1_234_567_890, "$1.23")]
    #[case(1_235_000_000, "$1.24")]
    fn amounts_read_as_dollars(#[case] nanos: u64, #[case] text: &str) {
        assert_eq!(NanoDollars(nanos).to_string(), text);
    }

    #[rstest]
    #[case(1_000, 10, 15, 1_500)]
    #[case(1, 2, 1, 1)]
    #[case(1, 3, 1, 0)]
    #[case(u64::MAX, 1, 2, u64::MAX)]
    fn parts_of_a_price_are_rounded_to_the_nearest(
        #[case] price: u64,
        #[case] unit: u128,
        #[case] quantity: u128,
        #[case] cost: u64,
    ) {
        assert_eq!(NanoDollars(price).per(unit, quantity), NanoDollars(cost));
    }
}
