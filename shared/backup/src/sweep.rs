//! What late invocations leave of a backup that has ended.
//!
//! An invocation that its execution has given up on goes on for as long as Lambda lets it, and may take its last step after the
//! abort has cleaned up behind it: an upload is open then, or an object is there that nothing knows. In the night after, when
//! nobody can be at it any more, retention finds that, and has it removed by a job: it may not delete for good itself.

use chrono::{DateTime, TimeDelta, Utc};
use holdfast_domain::{
    backup::{Backup, State},
    document,
    id::{ApplicationId, BackupId},
    mark, readme,
};

use crate::{
    error::{RequestError, SliceError},
    job::{Answer, Job},
    ports::{Ports, StorageError},
    share, slice, upload,
};

/// After this long nobody is at an ended backup any more: twice what an invocation may take.
const SETTLED: TimeDelta = TimeDelta::minutes(30);

/// Backups that ended longer ago were looked at in several nights, of which some may have failed, and are left alone: a night costs
/// what has ended lately, and not what there is. By then a rule of the bucket has given up their uploads.
const LATELY: TimeDelta = TimeDelta::days(7);

/// Whether nights still look for what is left of a backup.
pub(crate) fn is_looked_after(backup: &Backup, now: DateTime<Utc>) -> bool {
    !backup.state.is_open() && ended_at(backup).is_some_and(|at| now - at < LATELY)
}

/// When it was let go, or came to its end.
fn ended_at(backup: &Backup) -> Option<DateTime<Utc>> {
    backup.expired_at.or(backup.finished_at)
}

/// Looks for what is left of an ended backup, and starts the job that removes it; texts beside a discarded one need none.
/// Says whether there was anything.
pub(crate) async fn ask_when_needed(ports: &Ports, backup: &Backup) -> Result<bool, RequestError> {
    let now = ports.clock.now();
    let is_settled = ended_at(backup).is_some_and(|at| now - at >= SETTLED);
    if !is_looked_after(backup, now) || !is_settled {
        return Ok(false);
    }
    let keys = ports.artifacts.keys(&backup.prefix()).await?;
    if delete_late_texts(ports, backup, &keys).await? {
        return Ok(true);
    }
    let Some(left) = left_of(ports, backup, keys).await? else { return Ok(false) };
    let job = Job::Sweep { application: backup.application.clone(), id: backup.id, asked_at: now };
    ports.executions.start(&job).await.map_err(|error| RequestError::Unavailable(error.to_string()))?;
    tracing::warn!(
        application = %backup.application,
        backup = %backup.id,
        state = backup.state.as_str(),
        left,
        "something was left of a backup that has ended, and is swept"
    );
    Ok(true)
}

/// Deletes what was written beside a backup while or after it was let go: marks, by somebody who died before taking them back, and
/// its description, by an invocation that had made it and was given up on. Should it be brought back meanwhile, that job looks
/// again once this cannot be late any more, as it does for every deletion.
async fn delete_late_texts(ports: &Ports, backup: &Backup, keys: &[String]) -> Result<bool, StorageError> {
    if backup.state != State::Expired || backup.undelete.is_some() {
        return Ok(false);
    }
    let prefix = backup.prefix();
    let is_text = |name: &str| {
        mark::OF_A_BACKUP.contains(&name) || [document::FILE_NAME, readme::FILE_NAME].contains(&name)
    };
    let is_late = |key: &&String| key.strip_prefix(&prefix).is_some_and(is_text);
    let left: Vec<String> = keys.iter().filter(is_late).cloned().collect();
    if left.is_empty() {
        return Ok(false);
    }
    tracing::warn!(application = %backup.application, backup = %backup.id, ?left, "what was written beside a backup that was let go is deleted");
    ports.artifacts.delete(&left).await?;
    Ok(true)
}

/// One thing that should not be there, as an example. Labels, holds and verifications are marked beside backups that succeeded,
/// and stay.
async fn left_of(ports: &Ports, backup: &Backup, keys: Vec<String>) -> Result<Option<String>, StorageError> {
    let upload = ports.artifacts.open_uploads(&backup.prefix()).await?.into_iter().next();
    if let Some(upload) = upload {
        return Ok(Some(format!("an upload of {}", upload.key)));
    }
    let is_left = |key: &String| leftovers(backup).iter().any(|left| key.starts_with(left));
    Ok(keys.into_iter().find(is_left))
}

/// The prefixes below which nothing may be: of a backup that never was one, all; of another, what was staged to make it. Artifacts of
/// a discarded one are not looked at, since it may be being brought back.
fn leftovers(backup: &Backup) -> Vec<String> {
    match backup.state {
        State::Failed | State::Cancelled => vec![backup.prefix()],
        State::Succeeded | State::Expiring | State::Expired => {
            let staged = |service| share::all_staged(&backup.application, backup.id, service);
            backup.services.iter().map(staged).collect()
        }
        State::Queued | State::Running => Vec::new(),
    }
}

/// The job: removes what is left. Repeating it is harmless.
pub(crate) async fn slice(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
) -> Result<Answer, SliceError> {
    let backup = slice::load(ports, application, id).await?.value;
    // Whatever it was when it was looked for: no state is left for an open one.
    if backup.state.is_open() {
        return Ok(Answer::Done);
    }
    upload::give_up(ports.artifacts.as_ref(), &backup.prefix()).await?;
    for prefix in leftovers(&backup) {
        ports.artifacts.purge(&prefix).await?;
    }
    Ok(Answer::Done)
}

#[cfg(test)]
mod tests {
    use holdfast_testing::builders;

    use super::*;

    #[test]
    fn nothing_of_a_good_backup_is_a_leftover_but_what_was_staged() {
        let id = BackupId::new(builders::now(), [1; 10]);
        let mut backup = builders::succeeded(&builders::slug("shop"), id, builders::now(), true);
        let own: Vec<_> = backup.artifacts.iter().map(|artifact| artifact.object.key.clone()).collect();
        for state in [State::Succeeded, State::Expiring, State::Expired] {
            backup.state = state;
            let left = leftovers(&backup);
            assert!(left.iter().all(|prefix| prefix.ends_with("/stretches/")), "{left:?}");
            assert!(!own.iter().any(|key| left.iter().any(|prefix| key.starts_with(prefix))), "{left:?}");
        }
        backup.state = State::Running;
        assert!(leftovers(&backup).is_empty());
        backup.state = State::Cancelled;
        assert_eq!(leftovers(&backup), [backup.prefix()]);
    }
}
