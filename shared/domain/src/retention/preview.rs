//! What other policies would keep, beside what the current ones keep.

use std::{collections::HashMap, fmt};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Candidate, Origin, Plan, Policies, plan};
use crate::{
    backup::{Label, Trigger},
    cost::{Gibibytes, NanoDollars, Tariff},
    id::BackupId,
};

/// What other policies would keep of today's backups, beside what the current ones keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// A line for each backup, newest first.
    pub backups: Vec<PreviewLine>,
    /// What is there once the current policies have run.
    pub now: Totals,
    /// What would be there once the others had run instead.
    pub then: Totals,
}

/// One backup under both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewLine {
    /// The backup.
    pub id: BackupId,
    /// Its trigger.
    pub trigger: Trigger,
    /// The day of its slot; scheduled ones only.
    pub slot_date: Option<NaiveDate>,
    /// The point in time of its data.
    pub taken_at: DateTime<Utc>,
    /// Its label; scheduled ones only.
    pub label: Option<Label>,
    /// Whether a hold is on it.
    pub held: bool,
    /// Its bytes.
    pub bytes: u64,
    /// What the current policies do with it.
    pub now: Verdict,
    /// What the others would do with it.
    pub then: Verdict,
}

/// What policies do with a backup, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// What they do.
    pub action: VerdictAction,
    /// The label it gets; for relabels only.
    pub to: Option<Label>,
    /// Why, in words.
    pub reason: String,
}

/// What policies do with a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictAction {
    /// It stays as it is.
    Keep,
    /// It stays with a higher label.
    Relabel,
    /// It goes.
    Discard,
}

/// What is kept in all. Its `Display` is one line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Totals {
    /// Backups that are kept.
    pub kept: u64,
    /// Backups that go.
    pub discarded: u64,
    /// Dailies among the kept.
    pub daily: u64,
    /// Weeklies among the kept.
    pub weekly: u64,
    /// Monthlies among the kept.
    pub monthly: u64,
    /// Those on demand among the kept.
    pub on_demand: u64,
    /// Those under a hold among the kept; they are also counted by their label.
    pub held: u64,
    /// Bytes that are kept.
    pub bytes: u64,
    /// Storage of what is kept for a month of 30 days, in billionths of a US dollar; none where no price is known.
    pub month_nano_dollars: Option<NanoDollars>,
}

/// Plans `backups`, each with its bytes, under the `current` policies and under the `other` ones. Prices are those of
/// `tariff`, where one is known; each backup is billed as one object.
pub fn preview(
    backups: &[(Candidate, u64)],
    current: &Policies,
    other: &Policies,
    now: DateTime<Utc>,
    tariff: Option<Tariff<'_>>,
) -> Preview {
    let candidates: Vec<Candidate> = backups.iter().map(|(candidate, _)| *candidate).collect();
    let mut verdicts = [current, other].map(|policies| verdicts(&plan(&candidates, policies, now)));
    let totals = |verdicts: &HashMap<BackupId, Verdict>| Totals::of(backups, verdicts, tariff);
    let [now_totals, then_totals] = [totals(&verdicts[0]), totals(&verdicts[1])];

    let mut newest_first: Vec<&(Candidate, u64)> = backups.iter().collect();
    newest_first.sort_unstable_by_key(|(candidate, _)| std::cmp::Reverse((candidate.taken_at, candidate.id)));
    let lines = newest_first.into_iter().filter_map(|(candidate, bytes)| {
        let [now, then] = &mut verdicts;
        Some(PreviewLine {
            id: candidate.id,
            trigger: candidate.trigger(),
            slot_date: match candidate.origin {
                Origin::Scheduled { slot, .. } => Some(slot.local_date),
                Origin::OnDemand { .. } => None,
            },
            taken_at: candidate.taken_at,
            label: candidate.label(),
            held: candidate.held,
            bytes: *bytes,
            now: now.remove(&candidate.id)?,
            then: then.remove(&candidate.id)?,
        })
    });
    Preview { backups: lines.collect(), now: now_totals, then: then_totals }
}

fn verdicts(plan: &Plan) -> HashMap<BackupId, Verdict> {
    let kept = plan.kept.iter().map(|keep| (keep.id, VerdictAction::Keep, None, keep.reason));
    let relabelled = plan
        .relabelled
        .iter()
        .map(|relabel| (relabel.id, VerdictAction::Relabel, Some(relabel.to), relabel.reason));
    let discarded =
        plan.discarded.iter().map(|discard| (discard.id, VerdictAction::Discard, None, discard.reason));
    kept.chain(relabelled)
        .chain(discarded)
        .map(|(id, action, to, reason)| (id, Verdict { action, to, reason: reason.to_string() }))
        .collect()
}

impl Totals {
    fn of(
        backups: &[(Candidate, u64)],
        verdicts: &HashMap<BackupId, Verdict>,
        tariff: Option<Tariff<'_>>,
    ) -> Self {
        let mut totals = Self::default();
        let mut kept = Vec::new();
        for (candidate, bytes) in backups {
            let Some(verdict) = verdicts.get(&candidate.id) else { continue };
            if verdict.action == VerdictAction::Discard {
                totals.discarded += 1;
                continue;
            }
            kept.push(*bytes);
            totals.bytes = totals.bytes.saturating_add(*bytes);
            totals.held += u64::from(candidate.held);
            *match verdict.to.or(candidate.label()) {
                Some(Label::Daily) => &mut totals.daily,
                Some(Label::Weekly) => &mut totals.weekly,
                Some(Label::Monthly) => &mut totals.monthly,
                None => &mut totals.on_demand,
            } += 1;
        }
        totals.kept = kept.len() as u64;
        totals.month_nano_dollars = tariff.map(|tariff| tariff.storage(&kept));
        totals
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kept, daily, weekly, monthly, on_demand, held, .. } = self;
        write!(f, "{kept} kept: {daily} daily, {weekly} weekly, {monthly} monthly, {on_demand} on demand")?;
        if *held > 0 {
            write!(f, ", {held} of them held")?;
        }
        write!(f, "; {}", Gibibytes(self.bytes))?;
        match self.month_nano_dollars {
            Some(month) => write!(f, ", {month} for 30 days"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cost::Prices, region::Region, schedule::Slot};

    const GIB: u64 = 1 << 30;

    fn scheduled(date: &str, label: Label) -> Candidate {
        let at: DateTime<Utc> = format!("{date}T01:00:00Z").parse().unwrap();
        let slot = Slot { at, local_date: at.date_naive() };
        Candidate::scheduled(BackupId::new(at, [0; 10]), slot, at, label)
    }

    fn backups() -> Vec<(Candidate, u64)> {
        let at: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
        vec![
            (scheduled("2026-03-02", Label::Monthly), GIB),
            (scheduled("2026-03-30", Label::Weekly), GIB),
            (scheduled("2026-04-01", Label::Daily).with_hold(true), GIB),
            (scheduled("2026-04-07", Label::Daily), GIB),
            (scheduled("2026-04-08", Label::Daily), GIB),
            (Candidate::on_demand(BackupId::new(at, [1; 10]), at, None), 3),
        ]
    }

    fn policies(scheduled: &str) -> Policies {
        Policies { scheduled: scheduled.parse().unwrap(), ..Policies::default() }
    }

    #[test]
    fn both_verdicts_stand_beside_each_other() {
        let prices = Prices::bundled();
        let tariff = prices.tariff(&Region::new("eu-central-1")).ok();
        let now = "2026-04-08T12:00:00Z".parse().unwrap();
        let preview = preview(&backups(), &policies("gfs:7/4/12"), &policies("gfs:1/1/0"), now, tariff);
        assert_eq!(
            preview.now.to_string(),
            "6 kept: 3 daily, 1 weekly, 1 monthly, 1 on demand, 1 of them held; 5.0 GiB, $0.0675 for 30 days"
        );
        assert_eq!(
            preview.then.to_string(),
            "4 kept: 2 daily, 1 weekly, 0 monthly, 1 on demand, 1 of them held; 3.0 GiB, $0.0405 for 30 days"
        );
        insta::assert_json_snapshot!(preview);
    }

    #[test]
    fn the_same_policies_change_nothing_and_without_prices_there_is_no_cost() {
        let now = "2026-04-08T12:00:00Z".parse().unwrap();
        let preview = preview(&backups(), &policies("gfs:2/1/1"), &policies("gfs:2/1/1"), now, None);
        assert_eq!(preview.now, preview.then);
        assert!(preview.backups.iter().all(|line| line.now == line.then));
        assert_eq!(preview.now.month_nano_dollars, None);
        assert_eq!(preview.now.kept + preview.now.discarded, 6);
    }
}
