//! Verifying a backup: every byte of it is read again, and must be what it was, and mean what it should.
//!
//! The record says who asked, then a job reads one artifact after the other, and the record keeps what was found. On level 2 and 3
//! it then has everything restored beside the services, by a restore of its own kind, and waits for what comes of that. A backup
//! that is found damaged is left alone by every policy, and none is discarded because of it.

mod reading;
mod rehearsal;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use holdfast_domain::{
    audit::Action,
    backup::{
        Artifact, Backup, Contents, Failure, State, Verification, VerificationLevel, VerificationState,
        VerifiedArtifact,
    },
    event::Event,
    id::{ApplicationId, BackupId},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use reading::{compare, damaged, invalid, looked_at, read_all};

use crate::{
    backups::find,
    engines::{media, mysql, postgres},
    error::{RequestError, SliceError},
    events,
    job::{Answer, Job},
    marks,
    ports::{ApplicationRecord, Ports, RecordsError, Versioned},
    retain,
    slice::{self, Worker},
};

/// After this long without a word, in seconds, a verification is taken for lost, and can be asked for again. No invocation
/// lasts longer.
const LOST_SECONDS: i64 = 15 * 60;

/// What is left of a slice for writing down how far it came.
const SPARE: Duration = Duration::from_secs(30);

/// How often a record that others write to at the same moment is read anew.
const ATTEMPTS: usize = 5;

/// What a person asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VerificationRequest {
    /// How far it goes: 1 reads every byte again; 2 besides restores everything beside the services, compares it, and removes it;
    /// 3 besides compares the values in the tables of databases.
    #[schema(value_type = u8, minimum = 1, maximum = 3, example = 2)]
    pub level: VerificationLevel,
}

/// Asks for a backup to be verified. Repeating it while that is under way starts the job again, should it have been lost.
pub async fn ask(
    ports: &Ports,
    actor: &str,
    application: &ApplicationId,
    id: BackupId,
    VerificationRequest { level }: VerificationRequest,
) -> Result<Versioned<Backup>, RequestError> {
    let Versioned { value: mut backup, version } = find(ports, application, id).await?;
    if backup.state != State::Succeeded {
        return Err(RequestError::Conflict(format!(
            "the backup {id} is {}; only one that succeeded can be verified",
            backup.state.as_str()
        )));
    }
    let now = ports.clock.now();
    let goes_on = match &backup.verification {
        Some(last) => is_under_way(ports, application, last).await?,
        None => false,
    };
    let under_way = backup.verification.as_ref().filter(|_| goes_on);
    let (asked_at, version) = if let Some(last) = under_way {
        if last.level < level {
            return Err(RequestError::Conflict(format!(
                "a verification of the backup {id} is under way that {}; ask again when it has ended",
                less(last.level)
            )));
        }
        (last.at, version)
    } else {
        if level >= VerificationLevel::Restore {
            rehearsal::refuse_homeless(ports, &backup).await?;
        }
        // Until it has passed, it says nothing of what was found before.
        let damaged_before = backup.verification.as_ref().and_then(Verification::damaged_at);
        backup.verification = Some(Verification {
            state: VerificationState::Running,
            level,
            by: actor.to_owned(),
            at: now,
            finished_at: None,
            artifacts: Vec::new(),
            cursor: None,
            rehearsal: None,
            failure: None,
            damaged_before,
        });
        (now, ports.records.update_backup(&backup, version, &[]).await?)
    };
    let job = Job::Verify { application: application.clone(), id, asked_at };
    ports.executions.start(&job).await.map_err(|error| {
        RequestError::Unavailable(format!("{error}; ask again to have the backup {id} verified"))
    })?;
    Ok(Versioned { value: backup, version })
}

/// What one of a lower level than another does not do.
fn less(level: VerificationLevel) -> &'static str {
    match level {
        VerificationLevel::Read => "restores nothing",
        VerificationLevel::Restore | VerificationLevel::Checksums => "compares no values",
    }
}

/// Whether a verification goes on: it was asked for not long ago, or the restore that it waits for has not ended.
async fn is_under_way(
    ports: &Ports,
    application: &ApplicationId,
    last: &Verification,
) -> Result<bool, RequestError> {
    if last.state != VerificationState::Running {
        return Ok(false);
    }
    if (ports.clock.now() - last.at).num_seconds() < LOST_SECONDS {
        return Ok(true);
    }
    let Some(rehearsal) = last.rehearsal else { return Ok(false) };
    let restore = ports.records.restore(application, rehearsal.restore).await?;
    Ok(restore.is_some_and(|restore| restore.value.state.is_open()))
}

/// Whether a backup counts when its application is to have one verified: it can be, or it was.
pub(crate) fn counts(backup: &Backup) -> bool {
    backup.state == State::Succeeded || backup.verification.is_some()
}

/// Asks for the newest good backup to be verified, of `backups` of the application, if none was so far within the `days` before now. One
/// that lacks a service that is registered counts only if all do; what came to no result is tried again after a day, and what was found
/// damaged makes another one's turn. Says whether it asked.
pub(crate) async fn ask_when_due(
    ports: &Ports,
    application: &ApplicationRecord,
    backups: &[Backup],
    days: u32,
    level: VerificationLevel,
) -> Result<bool, RequestError> {
    let now = ports.clock.now();
    let is_whole = |backup: &Backup| retain::has_all(backup, &application.spec);
    let is_good = |backup: &Backup| backup.state == State::Succeeded && !backup.is_damaged();
    let any_whole = backups.iter().any(|backup| is_good(backup) && is_whole(backup));
    let backups = backups.iter().filter(|backup| !any_whole || is_whole(backup));

    let is_recent = |last: &Verification| {
        let days = match last.state {
            VerificationState::Running | VerificationState::Passed => days,
            VerificationState::Failed => 1,
            VerificationState::Damaged => return false,
        };
        last.at > now - TimeDelta::days(days.into()) && last.level >= level
    };
    if backups.clone().any(|backup| backup.verification.as_ref().is_some_and(is_recent)) {
        return Ok(false);
    }
    let mut good: Vec<&Backup> = backups.filter(|backup| is_good(backup)).collect();
    good.sort_by_key(|backup| std::cmp::Reverse(backup.id));
    for backup in good {
        // A policy may have taken it since it was read.
        if is_good(&find(ports, &application.id, backup.id).await?.value) {
            ask(ports, "schedule", &application.id, backup.id, VerificationRequest { level }).await?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// One slice of the job that was asked for at `asked_at`: what it can of the next artifact. One that is not wanted any more is
/// done.
pub(crate) async fn slice(
    worker: &Worker,
    application: &ApplicationId,
    id: BackupId,
    asked_at: DateTime<Utc>,
    time: Duration,
) -> Result<Answer, SliceError> {
    let backup = slice::load(&worker.ports, application, id).await?.value;
    let Some(last) = asked(&backup, asked_at) else { return Ok(Answer::Done) };
    if backup.state != State::Succeeded {
        return Err(SliceError::permanent(
            "backup_gone",
            format!("the backup {id} of {application} is {}; verify another", backup.state.as_str()),
        ));
    }
    let is_done = |artifact: &&Artifact| last.artifacts.iter().any(|done| done.service == artifact.service);
    let Some(artifact) = backup.artifacts.iter().find(|artifact| !is_done(artifact)) else {
        return match last.level {
            VerificationLevel::Read => pass(&worker.ports, application, id, asked_at).await,
            VerificationLevel::Restore | VerificationLevel::Checksums => {
                rehearsal::stand_by(&worker.ports, &backup, last).await
            }
        };
    };
    let read = read(worker, artifact, last.cursor.as_deref(), time.saturating_sub(SPARE));
    let read = tokio::time::timeout(time, read).await.unwrap_or_else(|_| Err(too_short(time)));
    let (verified, cursor) = match read.map_err(|error| error.of(application, &artifact.service))? {
        Read::All(verified) => (Some(verified), None),
        Read::Until(cursor) => (None, Some(cursor)),
    };
    change(&worker.ports, application, id, asked_at, |last| {
        last.cursor.clone_from(&cursor);
        let is_new = |new: &&VerifiedArtifact| last.artifacts.iter().all(|done| done.service != new.service);
        if let Some(new) = verified.as_ref().filter(is_new) {
            last.artifacts.push(new.clone());
        }
        None
    })
    .await?;
    Ok(Answer::Continue)
}

/// What came of reading an artifact.
enum Read {
    All(VerifiedArtifact),
    /// There was no time for more; the next slice goes on here.
    Until(String),
}

async fn read(
    worker: &Worker,
    artifact: &Artifact,
    cursor: Option<&str>,
    time: Duration,
) -> Result<Read, SliceError> {
    let (store, object) = (&worker.ports.artifacts, &artifact.object);
    let verified = VerifiedArtifact {
        service: artifact.service.clone(),
        bytes: object.size,
        tables: None,
        rows: None,
        files: None,
        rehearsed: None,
    };
    Ok(Read::All(match &artifact.contents {
        Contents::PostgresCustom { server_version, .. } => {
            let tools = &worker.clients.postgres;
            let found = postgres::verify::verify(store, tools, object, server_version).await?;
            VerifiedArtifact { tables: Some(found.tables), rows: Some(found.rows), ..verified }
        }
        Contents::MysqlSql { .. } => {
            let found = mysql::verify::verify(store, object).await?;
            let (tables, rows) = (found.as_ref().map(|found| found.tables), found.map(|found| found.rows));
            VerifiedArtifact { tables, rows, ..verified }
        }
        Contents::MediaTar { .. } => match media::verify::verify(store, object, cursor, time).await? {
            media::verify::Verified::All(files) => VerifiedArtifact { files: Some(files), ..verified },
            media::verify::Verified::Until(cursor) => return Ok(Read::Until(cursor)),
        },
    }))
}

/// Every artifact is what it should be.
async fn pass(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    asked_at: DateTime<Utc>,
) -> Result<Answer, SliceError> {
    change(ports, application, id, asked_at, |last| {
        last.state = VerificationState::Passed;
        Some("every byte is what it was".to_owned())
    })
    .await?;
    tracing::info!(%application, backup = %id, "the backup was verified");
    Ok(Answer::Done)
}

/// Ends the verification that was asked for at `asked_at` with the reason why it did not pass, and the restore that it was tried
/// with. Another one is left alone.
pub(crate) async fn give_up(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    asked_at: DateTime<Utc>,
    failure: Failure,
) -> Result<(), SliceError> {
    tracing::error!(%application, backup = %id, code = failure.code, message = failure.message, "not verified");
    let backup = slice::load(ports, application, id).await?.value;
    if let Some(rehearsal) = asked(&backup, asked_at).and_then(|last| last.rehearsal) {
        rehearsal::give_up(ports, application, rehearsal.restore).await;
    }
    change(ports, application, id, asked_at, |last| {
        let is_damaged = failure.code == reading::DAMAGED;
        last.state = if is_damaged { VerificationState::Damaged } else { VerificationState::Failed };
        last.failure = Some(failure.clone());
        Some(failure.message.clone())
    })
    .await?;
    if failure.code == reading::DAMAGED {
        let backup = slice::load(ports, application, id).await?.value;
        events::tell(ports, Event::of_damage(&backup)).await;
    }
    Ok(())
}

/// Ends one that was asked for long ago, and whose job was lost: it says nothing about the backup.
pub(crate) async fn forget(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    asked_at: DateTime<Utc>,
) -> Result<(), SliceError> {
    let failure = Failure {
        code: "verification_lost".to_owned(),
        message: format!(
            "the job that was to verify the backup {id} of {application} was lost; ask for it again"
        ),
        service: None,
        transient: true,
    };
    give_up(ports, application, id, asked_at, failure).await
}

/// The verification that was asked for at `asked_at`, while it is under way.
fn asked(backup: &Backup, asked_at: DateTime<Utc>) -> Option<&Verification> {
    let last = backup.verification.as_ref();
    last.filter(|last| last.at == asked_at && last.state == VerificationState::Running)
}

/// Changes what the record says of the verification that was asked for at `asked_at`, if it is under way. Somebody else may write
/// to the record at the same moment: a link is given out, a hold is put on. `change` answers with why it has ended, if it has.
async fn change(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    asked_at: DateTime<Utc>,
    change: impl Fn(&mut Verification) -> Option<String>,
) -> Result<(), SliceError> {
    for _ in 0..ATTEMPTS {
        let Versioned { value: mut backup, version } = slice::load(ports, application, id).await?;
        if asked(&backup, asked_at).is_none() {
            return Ok(());
        }
        let Some(last) = &mut backup.verification else { return Ok(()) };
        let now = ports.clock.now();
        let audit = change(last).map(|reason| {
            last.finished_at = Some(now);
            last.cursor = None;
            let state = Some(last.state.as_str().to_owned());
            ports
                .audit(now, last.by.clone(), Action::Verify)
                .to_backup(id)
                .changing(None, state)
                .because(reason)
        });
        if audit.is_some() && backup.state == State::Succeeded {
            marks::write(ports, &backup, marks::Of::Verification).await?;
        }
        match ports.records.update_backup(&backup, version, audit.as_slice()).await {
            Ok(_) => return Ok(()),
            Err(RecordsError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(SliceError::transient(
        "record_contended",
        format!("the record of the backup {id} is written to all the time"),
    ))
}

fn too_short(time: Duration) -> SliceError {
    let words = format!(
        "it could not be read within the {} seconds that one invocation of the worker has; restore it somewhere to see that it \
         is good",
        time.as_secs()
    );
    SliceError::permanent("slice_too_short", words)
}
