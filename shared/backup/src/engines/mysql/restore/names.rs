//! What the databases are called that a restore makes beside its target, and drops again.

use holdfast_archive::checksum::Sha256;

/// How all of them begin.
pub(super) const OURS: &str = "holdfast_";

/// How many digits tell targets apart. A name may have 64 characters.
const DIGITS: usize = 12;

/// The names that belong to one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// How those begin that are being filled.
    pub(super) new: String,
    /// How those begin that say how far a restore over several slices is.
    pub(super) paused: String,
    /// How those begin that get what is replaced.
    pub(super) away: String,
    /// What the lock is called that keeps two restores into the same target apart.
    pub(super) lock: String,
}

impl Names {
    pub(super) fn of(target: &str) -> Self {
        let hash = &Sha256::of(target.as_bytes()).to_string()[..DIGITS];
        Self {
            new: format!("{OURS}restore_{hash}_"),
            paused: format!("{OURS}paused_{hash}_"),
            away: format!("{OURS}replaced_{hash}_"),
            lock: format!("{OURS}restore_{hash}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_its_own_names_and_they_fit() {
        let (shop, blog) = (Names::of("shop"), Names::of(&"ü".repeat(64)));
        assert_ne!(shop.new, blog.new);
        assert!(format!("{}{}", blog.away, "0".repeat(DIGITS)).len() <= 64);
    }
}
