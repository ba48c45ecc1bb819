//! Each application's own minute of a window: the same on every day and in every release.

use chrono::TimeDelta;

use crate::id::ApplicationId;

/// How long after the start of a window of `minutes` the slot of `application` is: whole minutes, fewer than
/// `minutes`, or none when `minutes` is 0.
pub(super) fn within(application: &ApplicationId, minutes: u32) -> TimeDelta {
    let offset = fnv1a(application.as_str().as_bytes()).checked_rem(u64::from(minutes)).unwrap_or(0);
    // Fewer than `minutes`, a u32.
    TimeDelta::minutes(i64::try_from(offset).unwrap_or(0))
}

/// FNV-1a, 64 bits (Fowler, Noll and Vo), written out because a change of the hash would move every application's slot.
fn fnv1a(bytes: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", 0xcbf2_9ce4_8422_2325)]
    #[case("a", 0xaf63_dc4c_8601_ec8c)]
    #[case("foobar", 0x8594_4171_f739_67e8)]
    fn the_hash_is_fnv_1a_as_published(#[case] text: &str, #[case] hash: u64) {
        assert_eq!(fnv1a(text.as_bytes()), hash);
    }

    #[test]
    fn a_thousand_applications_fill_the_window_evenly() {
        let mut per_half_hour = [0_u32; 8];
        for number in 0..1_000 {
            let application = format!("client-{number}").parse().unwrap();
            let minutes = within(&application, 240).num_minutes();
            per_half_hour[usize::try_from(minutes / 30).unwrap()] += 1;
        }
        assert!(per_half_hour.iter().all(|count| (90..=160).contains(count)), "{per_half_hour:?}");
    }
}
