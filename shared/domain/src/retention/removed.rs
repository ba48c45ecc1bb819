//! What an application kept when it was removed: no policy applies to it.

use chrono::{DateTime, Utc};

use super::{
    Discard, Keep, Plan,
    candidate::{Candidate, Origin},
    reason::Reason,
};

/// Plans what becomes of the succeeded `backups` of an application that was removed: each stays until somebody deletes it
/// or its own expiry comes.
pub fn plan_removed(backups: &[Candidate], now: DateTime<Utc>) -> Plan {
    let mut in_order: Vec<&Candidate> = backups.iter().collect();
    in_order.sort_unstable_by_key(|backup| match backup.origin {
        Origin::Scheduled { slot, .. } => (0, slot.at, backup.id),
        Origin::OnDemand { .. } => (1, backup.taken_at, backup.id),
    });
    let mut plan = Plan::default();
    for backup in in_order {
        let (id, label) = (backup.id, backup.label());
        match backup.origin {
            Origin::OnDemand { expires_at: Some(at) } if backup.is_expired(now) => {
                plan.discarded.push(Discard { id, label, reason: Reason::Expired { at } });
            }
            _ if backup.held => plan.kept.push(Keep { id, label, reason: Reason::Held }),
            _ => plan.kept.push(Keep { id, label, reason: Reason::Removed }),
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::id::BackupId;

    #[test]
    fn only_its_own_expiry_takes_a_backup_of_a_removed_application() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let old = now - TimeDelta::days(4000);
        let backup =
            |number: u8, expires_at| Candidate::on_demand(BackupId::new(old, [number; 10]), old, expires_at);
        let backups = [
            backup(1, None),
            backup(2, Some(now)),
            backup(3, Some(now + TimeDelta::seconds(1))),
            backup(4, Some(now)).with_hold(true),
        ];
        let plan = plan_removed(&backups, now);
        assert_eq!(plan.discarded.iter().map(|gone| gone.id).collect::<Vec<_>>(), [backups[1].id]);
        assert_eq!(plan.kept.len(), 3);
        assert!(plan.relabelled.is_empty());
    }
}
