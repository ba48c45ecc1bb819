//! Seats at a database server: how many of its databases are dumped at a time.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{BackupId, ServiceName};

/// Who dumps databases of one server. A seat is lent: whoever dies with it holds it until it would have been over anyway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seats {
    /// Those that are taken, also by some who are past their time.
    pub taken: Vec<Seat>,
}

/// A seat that is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// By this backup.
    pub backup: BackupId,
    /// For this service of it.
    pub service: ServiceName,
    /// From then on somebody else may have it.
    pub until: DateTime<Utc>,
}

impl Seats {
    /// Takes a seat of `limit`, and says whether one was free. Who has one already keeps it, for the new time. Seats whose time is
    /// over are free.
    pub fn take(&mut self, seat: Seat, limit: usize, now: DateTime<Utc>) -> bool {
        self.leave(seat.backup, &seat.service);
        self.taken.retain(|other| other.until > now);
        let is_free = self.taken.len() < limit;
        if is_free {
            self.taken.push(seat);
        }
        is_free
    }

    /// Gives a backup's seat for a service back, and says whether it had one.
    pub fn leave(&mut self, backup: BackupId, service: &ServiceName) -> bool {
        let before = self.taken.len();
        self.taken.retain(|seat| !(seat.backup == backup && seat.service == *service));
        self.taken.len() < before
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn seat(number: u8, service: &str, until: DateTime<Utc>) -> Seat {
        Seat {
            backup: BackupId::new(DateTime::UNIX_EPOCH, [number; 10]),
            service: service.parse().unwrap(),
            until,
        }
    }

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    #[test]
    fn a_seat_is_free_again_when_it_is_left_or_its_time_is_over() {
        let mut seats = Seats::default();
        assert!(seats.take(seat(1, "DEFAULT", at(16)), 2, at(0)));
        assert!(seats.take(seat(1, "OTHER", at(16)), 2, at(0)), "each service of a backup has its own");
        assert!(!seats.take(seat(2, "DEFAULT", at(17)), 2, at(1)));
        assert!(seats.take(seat(1, "OTHER", at(20)), 2, at(4)), "who has one keeps it");
        assert!(seats.leave(seat(1, "DEFAULT", at(0)).backup, &"DEFAULT".parse().unwrap()));
        assert!(seats.take(seat(2, "DEFAULT", at(21)), 2, at(5)));
        assert!(!seats.take(seat(3, "DEFAULT", at(35)), 2, at(19)));
        assert!(seats.take(seat(3, "DEFAULT", at(36)), 2, at(20)));
        assert!(!Seats::default().take(seat(1, "DEFAULT", at(16)), 0, at(0)));
    }

    proptest! {
        /// Whoever comes and goes, and whoever dies, no more than the limit have one at a time, and one is free when fewer have.
        #[test]
        fn there_are_never_more_than_the_limit(
            limit in 1_usize..4, steps in prop::collection::vec((0_u8..6, 0_i64..20, any::<bool>()), 1..60)
        ) {
            let mut seats = Seats::default();
            let mut now = at(0);
            let mut held = std::collections::BTreeMap::new();
            for (who, minutes, leaves) in steps {
                now += TimeDelta::minutes(minutes);
                held.retain(|_, until| *until > now);
                let wanted = seat(who, "DEFAULT", now + TimeDelta::minutes(16));
                if leaves {
                    prop_assert!(seats.leave(wanted.backup, &wanted.service) || !held.contains_key(&who));
                    held.remove(&who);
                } else {
                    let others = held.keys().filter(|other| **other != who).count();
                    let taken = seats.take(wanted.clone(), limit, now);
                    prop_assert_eq!(taken, others < limit);
                    if taken {
                        held.insert(who, wanted.until);
                    }
                }
                prop_assert!(held.len() <= limit);
            }
        }
    }
}
