use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use holdfast_domain::{
    backup::State,
    id::{ApplicationId, BackupId},
    retention::{
        Candidate,
        calendar::{Calendar, Mark},
        preview::{Preview, PreviewLine, VerdictAction},
    },
};

use super::{PreviewRequest, Subject};
use crate::{error::RequestError, ports::Ports};

/// Days of a calendar: a year up to today.
const DAYS: i64 = 365;

/// The calendar of an application's last year: what is kept, held, on demand, and what was discarded.
pub async fn calendar(ports: &Ports, application: &ApplicationId) -> Result<Calendar, RequestError> {
    let subject = Subject::read(ports, application).await?;
    Ok(subject.calendar(ports.clock.now(), |candidate| Some(Mark::of(candidate))))
}

/// The calendar of an application's last year as other policies would leave it.
pub async fn try_out_calendar(ports: &Ports, request: &PreviewRequest) -> Result<Calendar, RequestError> {
    let subject = Subject::read(ports, &request.application).await?;
    let other = subject.other(request)?;
    let now = ports.clock.now();
    Ok(subject.calendar_under(&subject.preview(&other, now, None), now))
}

impl Subject {
    /// The last year as the policies that `preview` tried out would leave it.
    pub(super) fn calendar_under(&self, preview: &Preview, now: DateTime<Utc>) -> Calendar {
        let lines: HashMap<BackupId, &PreviewLine> =
            preview.backups.iter().map(|line| (line.id, line)).collect();
        self.calendar(now, |candidate| {
            let then = &lines.get(&candidate.id)?.then;
            Some(match (then.action, then.to) {
                (VerdictAction::Discard, _) => Mark::Discarded,
                (VerdictAction::Relabel, Some(to)) => Mark::Kept(to),
                _ => Mark::of(candidate),
            })
        })
    }

    /// The last year, each succeeded backup with the mark that it is given. Days are those of the application's time zone.
    pub(super) fn calendar(&self, now: DateTime<Utc>, mark: impl Fn(&Candidate) -> Option<Mark>) -> Calendar {
        let tz = self.spec.time_zone;
        let day = |at: DateTime<Utc>| at.with_timezone(&tz).date_naive();
        let marks = self.backups.iter().filter_map(|backup| {
            let mark = match backup.state {
                State::Succeeded => mark(&Candidate::of(backup)?)?,
                State::Expiring | State::Expired => Mark::Discarded,
                _ => return None,
            };
            let taken = backup.taken_at.unwrap_or(backup.created_at);
            Some((backup.slot_date.unwrap_or_else(|| day(taken)), mark))
        });
        let today = day(now);
        Calendar::new(marks).between(today - TimeDelta::days(DAYS), today)
    }
}
