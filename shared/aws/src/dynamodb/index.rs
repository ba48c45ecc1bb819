use chrono::{DateTime, SecondsFormat, Utc};

/// How many partitions each index has, so that no single one takes the writes of a whole region.
pub(super) const SHARDS: u64 = 8;

/// The partition of open restores in the index `open`, which has backups in its shards. There are few at a time.
pub(super) const OPEN_RESTORES: &str = "restores";

/// The shard of what is called `name`: FNV-1a of 64 bits, <https://datatracker.ietf.org/doc/html/rfc9923>, modulo the
/// number of shards. It must stay as it is, for it is stored.
pub(super) fn shard(name: &str) -> String {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash % SHARDS).to_string()
}

/// Every shard there is.
pub(super) fn shards() -> impl Iterator<Item = String> {
    (0..SHARDS).map(|shard| shard.to_string())
}

/// A moment as text that sorts as moments do: RFC 3339 of one length.
pub(super) fn sortable(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_never_changes() {
        let found = ["", "a", "shop", "client-42", "0195d9a2-0000-7000-8000-000000000000"].map(shard);
        assert_eq!(found, ["5", "4", "1", "7", "7"]);
    }

    #[test]
    fn shards_are_used_evenly() {
        let mut counts = [0_u32; 8];
        for number in 0..8000 {
            counts[shard(&format!("application-{number}")).parse::<usize>().unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn moments_sort_as_their_text_does() {
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap();
        let moments = [at(0), at(1), at(999), at(1000), at(60_000), at(1_900_000_000_000)];
        assert!(moments.map(sortable).is_sorted());
    }
}
