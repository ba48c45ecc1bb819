//! What must be true of a history once everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use holdfast_backup::ports::Records as _;
use holdfast_domain::{
    audit::{Action, AuditEntry},
    backup::{Backup, State, VerificationState},
    document,
    event::What,
    id::{ApplicationId, BackupId},
    mark, readme,
    restore::RestoreState,
    retention::{self, Candidate, Policies},
};

use super::stage::{ON_DEMAND, SCHEDULED, Stage};

/// Everything that is wrong, after a last night that began at `night`.
pub(super) async fn audit(stage: &Stage, night: DateTime<Utc>) -> Vec<String> {
    let mut wrong = Vec::new();
    let world = &stage.world;
    let mut prefixes = BTreeMap::new();
    // Cleaning up is not tried for ever.
    let mut is_told = false;
    stage.book.check_holdings();
    wrong.extend(stage.book.wrong());
    for record in &stage.applications {
        let backups = world.records.all_backups(&record.id);
        let trail = world.records.audit_trail(&record.id);
        for backup in &backups {
            wrong.extend(of_backup(stage, backup));
            wrong.extend(of_trail(backup, &trail));
            prefixes.insert(backup.prefix(), backup.state);
        }
        wrong.extend(of_slots(&backups));
        wrong.extend(of_labels(stage, &record.id, &backups, night));
        for restore in world.records.all_restores(&record.id) {
            let words = restore.failure.as_ref().map(|failure| failure.message.as_str());
            is_told |= words.is_some_and(|words| words.contains("could not be removed"));
            if restore.state.is_open() {
                wrong.push(format!("the restore {} has not ended", restore.id));
            }
            let ends = trail.iter().filter(|entry| {
                entry.restore == Some(restore.id)
                    && entry.to.as_deref() == Some(restore.state.as_str())
                    && entry.actor == "job"
            });
            if ends.count() != 1 {
                wrong.push(format!("the end of the restore {} is not once in the audit trail", restore.id));
            }
            if restore.state == RestoreState::Failed && restore.failure.is_none() {
                wrong.push(format!("the restore {} failed without a reason", restore.id));
            }
        }
    }
    wrong.extend(of_bucket(stage, &prefixes));
    wrong.extend(of_keys(stage).await);
    wrong.extend(of_events(stage));
    if world.records.turns_taken() > 0 {
        wrong.push(format!("{} turns are still taken", world.records.turns_taken()));
    }
    if world.restorers.scratch() > 0 && !is_told {
        wrong.push("what a restore has made beside its database is left".to_owned());
    }
    wrong
}

fn of_backup(stage: &Stage, backup: &Backup) -> Vec<String> {
    let (id, artifacts) = (backup.id, &stage.world.artifacts);
    let there: Vec<String> =
        artifacts.object_keys().into_iter().filter(|key| key.starts_with(&backup.prefix())).collect();
    let mut wrong = Vec::new();
    match backup.state {
        State::Queued | State::Running | State::Expiring => {
            wrong.push(format!("the backup {id} is {} for ever", backup.state.as_str()));
        }
        State::Succeeded => {
            wrong.extend(stage.book.problems(backup));
            let expected = objects(backup);
            let marks = mark::OF_A_BACKUP.map(|name| format!("{}{name}", backup.prefix()));
            let found: BTreeSet<String> = there.into_iter().filter(|key| !marks.contains(key)).collect();
            if found != expected {
                wrong.push(format!("the backup {id} has {found:?} and should have {expected:?}"));
            }
            let last = backup.verification.as_ref();
            if last.is_some_and(|last| last.state == VerificationState::Running) {
                wrong.push(format!("the backup {id} is being verified for ever"));
            }
            let is_rotten = backup.artifacts.iter().any(|made| stage.book.is_rotten(&made.object.key));
            if backup.is_damaged() && !is_rotten {
                wrong.push(format!("the backup {id} is called damaged, and is not: {last:?}"));
            }
        }
        State::Failed | State::Cancelled => {
            let left = artifacts.version_count(&backup.prefix());
            if left > 0 {
                let ended = backup.state.as_str();
                wrong.push(format!(
                    "of the backup {id}, which is {ended}, {left} versions are left: {there:?}"
                ));
            }
            if backup.state == State::Failed && backup.failure.is_none() {
                wrong.push(format!("the backup {id} failed without a reason"));
            }
        }
        State::Expired => {
            if !there.is_empty() {
                wrong.push(format!("of the backup {id}, which is expired, there is {there:?}"));
            }
            if backup.undelete.is_some() {
                wrong.push(format!("the backup {id} is being brought back for ever"));
            }
        }
    }
    if stage.book.held().contains(&id) && backup.state != State::Succeeded {
        wrong.push(format!("the backup {id} is held and {}", backup.state.as_str()));
    }
    wrong
}

/// The objects of a backup that succeeded: its artifacts, the manifests beside archives, and what describes it.
fn objects(backup: &Backup) -> BTreeSet<String> {
    let prefix = backup.prefix();
    let mut expected =
        BTreeSet::from([readme::FILE_NAME, document::FILE_NAME].map(|name| format!("{prefix}{name}")));
    for artifact in &backup.artifacts {
        expected.insert(artifact.object.key.clone());
        if let Some(folder) = artifact.object.key.strip_suffix("media.tar") {
            expected.insert(format!("{folder}{}", holdfast_domain::backup::Contents::MANIFEST_FILE_NAME));
        }
    }
    expected
}

/// Asked for first, ended once, and in order.
fn of_trail(backup: &Backup, trail: &[AuditEntry]) -> Vec<String> {
    if backup.created_at < crate::builders::now() {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    let own: Vec<&AuditEntry> = trail.iter().filter(|entry| entry.backup == Some(backup.id)).collect();
    let count = |wanted: &dyn Fn(&AuditEntry) -> bool| own.iter().filter(|entry| wanted(entry)).count();
    let state = |name: &'static str| {
        move |entry: &AuditEntry| entry.to.as_deref() == Some(name) && entry.actor == "job"
    };
    let ended = [State::Succeeded, State::Failed, State::Cancelled].map(|end| count(&state(end.as_str())));
    if ended.iter().sum::<usize>() != 1 {
        wrong.push(format!("the backup {} ended {ended:?} times (succeeded, failed, cancelled)", backup.id));
    }
    if own.windows(2).any(|pair| pair[0].at > pair[1].at) {
        wrong.push(format!("the audit trail of the backup {} is out of order", backup.id));
    }
    if own.first().is_none_or(|first| first.action != Action::Request) {
        wrong.push(format!("the audit trail of the backup {} does not begin with its request", backup.id));
    }
    wrong
}

fn of_slots(backups: &[Backup]) -> Vec<String> {
    let mut slots: BTreeMap<DateTime<Utc>, BackupId> = BTreeMap::new();
    let mut wrong = Vec::new();
    for backup in backups {
        if let Some(slot) = backup.slot_at
            && let Some(other) = slots.insert(slot, backup.id)
        {
            wrong.push(format!("the slot {slot} has the backups {other} and {}", backup.id));
        }
    }
    wrong
}

/// The policies would change nothing any more, but for what is being read.
fn of_labels(
    stage: &Stage,
    application: &ApplicationId,
    backups: &[Backup],
    night: DateTime<Utc>,
) -> Vec<String> {
    let spec = stage.spec(application);
    let candidates: Vec<Candidate> = backups
        .iter()
        .filter_map(|backup| {
            let lacks = spec.services.iter().any(|service| !backup.services.contains(service.name()));
            Some(Candidate::of(backup)?.with_partial(lacks))
        })
        .collect();
    let plan = retention::plan(&candidates, &Policies { scheduled: SCHEDULED, on_demand: ON_DEMAND }, night);
    let is_read = |id: BackupId| {
        let mut found = backups.iter().filter(|backup| backup.id == id);
        found.any(|backup| backup.link_until.is_some_and(|until| until > night))
    };
    let mut wrong: Vec<String> = plan
        .discarded
        .iter()
        .filter(|step| !is_read(step.id))
        .map(|step| format!("the backup {} is there, though {}", step.id, step.reason))
        .collect();
    wrong.extend(plan.relabelled.iter().map(|step| {
        format!("the backup {} is {} and should be {}", step.id, step.from.as_str(), step.to.as_str())
    }));
    wrong
}

/// Every object belongs to a backup that is there, and no upload is open.
fn of_bucket(stage: &Stage, prefixes: &BTreeMap<String, State>) -> Vec<String> {
    let artifacts = &stage.world.artifacts;
    let mut wrong = Vec::new();
    for key in artifacts.object_keys() {
        let owner = prefixes.iter().find(|(prefix, _)| key.starts_with(*prefix));
        if owner.is_none_or(|(_, state)| *state != State::Succeeded) {
            wrong.push(format!("{key} belongs to nothing that is there"));
        }
    }
    if artifacts.open_upload_count() > 0 {
        wrong.push(format!("{} uploads are open", artifacts.open_upload_count()));
    }
    wrong
}

/// Nobody was told of an end that a job did not come to.
fn of_events(stage: &Stage) -> Vec<String> {
    let records = &stage.world.records;
    let mut wrong = Vec::new();
    for event in stage.world.events.told() {
        let is_so = match &event.what {
            What::Backup { backup, state, .. } => {
                let all = records.all_backups(&event.application);
                let found = all.iter().find(|found| found.id == *backup).map(|found| found.state);
                let is_past = matches!(found, Some(State::Expiring | State::Expired));
                found == Some(*state) || is_past && *state == State::Succeeded
            }
            What::Restore { restore, state, .. } => {
                let all = records.all_restores(&event.application);
                all.iter().any(|found| found.id == *restore && found.state == *state)
            }
            What::Damaged { .. } | What::Overdue { .. } => true,
        };
        if !is_so {
            wrong.push(format!("others were told of what is not so: {}", event.detail()));
        }
    }
    wrong
}

/// Every answer to a request with a key named the one thing that the key was used for.
async fn of_keys(stage: &Stage) -> Vec<String> {
    let mut wrong = Vec::new();
    let records = &stage.world.records;
    for ((application, key), answers) in stage.book.answers() {
        let made = records.idempotency(&application, &key).await.unwrap().map(|(id, _)| id.to_string());
        let restored = records.restore_idempotency(&application, &key).await.unwrap();
        let made = made.or(restored.map(|(id, _)| id.to_string()));
        if answers.len() != 1 || answers.first() != made.as_ref() {
            wrong.push(format!("the key {key} of {application} was answered {answers:?}, and made {made:?}"));
        }
    }
    wrong
}
