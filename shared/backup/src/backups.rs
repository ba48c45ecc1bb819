//! Looking at backups, and downloading what they hold.

use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast_domain::{
    audit::AuditEntry,
    backup::{Artifact, Backup, Label, Progress, State, Trigger},
    id::{ApplicationId, BackupId, ServiceName},
};
use secrecy::SecretString;

use crate::{
    error::RequestError,
    ports::{Page, Ports, RecordsError, Versioned},
};

/// Records read at a time while a filter looks for matches.
const PAGE: usize = 100;

/// How often a link is tried whose record somebody else writes at the same moment: other links, or a relabel.
const LINK_ATTEMPTS: u32 = 8;

/// Which backups a list shows; an empty filter shows all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// In one of these states; any state if empty.
    pub states: Vec<State>,
    /// Of this trigger.
    pub trigger: Option<Trigger>,
    /// With this label.
    pub label: Option<Label>,
    /// Created at or after.
    pub since: Option<DateTime<Utc>>,
    /// Created before.
    pub until: Option<DateTime<Utc>>,
    /// Not found to be damaged.
    pub undamaged: bool,
    /// Asked for by somebody, and not for the sake of a restore.
    pub only_asked_for: bool,
}

impl Filter {
    fn shows(&self, backup: &Backup) -> bool {
        (self.states.is_empty() || self.states.contains(&backup.state))
            && self.trigger.is_none_or(|trigger| trigger == backup.trigger)
            && self.label.is_none_or(|label| backup.label == Some(label))
            && self.since.is_none_or(|since| backup.created_at >= since)
            && self.until.is_none_or(|until| backup.created_at < until)
            && !(self.undamaged && backup.is_damaged())
            && !(self.only_asked_for && backup.before_restore.is_some())
    }
}

/// A backup and, while it runs, how far it has come.
#[derive(Debug, Clone)]
pub struct BackupView {
    /// The record.
    pub backup: Versioned<Backup>,
    /// How far each service has come; empty once the backup has ended.
    pub progress: Vec<Progress>,
}

/// Where an artifact can be downloaded for a while.
pub struct Download {
    /// The signed URL.
    pub url: SecretString,
    /// When it stops working.
    pub expires_at: DateTime<Utc>,
    /// The artifact.
    pub artifact: Artifact,
    /// The name it is saved under.
    pub file_name: String,
}

/// Backups of an application that `filter` shows, newest first. An application that was removed still has those it kept.
pub async fn list(
    ports: &Ports,
    application: &ApplicationId,
    filter: &Filter,
    before: Option<BackupId>,
    limit: usize,
) -> Result<Page<Versioned<Backup>, BackupId>, RequestError> {
    let mut items: Vec<Versioned<Backup>> = Vec::new();
    let mut cursor = before;
    loop {
        let page = ports.records.backups(application, cursor, PAGE).await?;
        if before.is_none() && cursor.is_none() && page.items.is_empty() {
            // Nothing at all: tell an application without backups from one that does not exist.
            crate::applications::get(ports, application).await?;
        }
        for backup in page.items {
            if filter.since.is_some_and(|since| backup.value.created_at < since) {
                return Ok(Page { items, next: None });
            }
            if !filter.shows(&backup.value) {
                continue;
            }
            if items.len() == limit {
                let next = items.last().map(|last| last.value.id);
                return Ok(Page { items, next });
            }
            items.push(backup);
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(Page { items, next: None }),
        }
    }
}

/// One backup, with its progress while it runs.
pub async fn get(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
) -> Result<BackupView, RequestError> {
    let backup = find(ports, application, id).await?;
    let progress = if backup.value.state.is_open() {
        ports.records.service_runs(id).await?.into_iter().map(|run| run.value.progress).collect()
    } else {
        Vec::new()
    };
    Ok(BackupView { backup, progress })
}

/// The newest backup that succeeded and was not found to be damaged since.
pub async fn latest(ports: &Ports, application: &ApplicationId) -> Result<Versioned<Backup>, RequestError> {
    let filter = Filter { states: vec![State::Succeeded], undamaged: true, ..Filter::default() };
    let page = list(ports, application, &filter, None, 1).await?;
    page.items.into_iter().next().ok_or_else(|| RequestError::not_found("backup", &"latest"))
}

/// A fresh signed URL, valid for `valid`, for what a backup holds of one service. The backup remembers how long, so that
/// no policy discards it under a download.
pub async fn download(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    service: &ServiceName,
    valid: Duration,
) -> Result<Download, RequestError> {
    let expires_at = ports.clock.now() + valid;
    let backup = promise_link(ports, application, id, expires_at, valid).await?;
    let artifact = backup
        .artifacts
        .iter()
        .find(|artifact| artifact.service == *service)
        .cloned()
        .ok_or_else(|| RequestError::not_found("artifact", service))?;
    let taken = backup.taken_at.unwrap_or(backup.created_at).format("%Y%m%dT%H%M%SZ");
    let file_name = format!("{application}-{taken}-{service}-{}", artifact.contents.file_name());
    let url = ports.artifacts.download_url(&artifact.object, &file_name, valid).await?;
    Ok(Download { url, expires_at, artifact, file_name })
}

/// Lets the backup remember that a link to it works until `expires_at`. It is written for a little longer, so that most
/// links need no write.
pub(crate) async fn promise_link(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    expires_at: DateTime<Utc>,
    spare: Duration,
) -> Result<Backup, RequestError> {
    let promised = change(ports, application, id, LINK_ATTEMPTS, |backup| {
        if backup.state != State::Succeeded {
            return Err(RequestError::Conflict(format!(
                "the backup {id} is {}; only one that succeeded can be downloaded",
                backup.state.as_str()
            )));
        }
        if backup.link_until.is_some_and(|until| until >= expires_at) {
            return Ok(None);
        }
        backup.link_until = Some(expires_at + spare);
        Ok(Some(Vec::new()))
    });
    Ok(promised.await?.value)
}

/// Writes what `change` makes of a backup, with the entries it gives for the audit trail; none of it if it gives none at
/// all. Met by another write, it reads and changes again, `attempts` times in all.
pub(crate) async fn change(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    attempts: u32,
    change: impl Fn(&mut Backup) -> Result<Option<Vec<AuditEntry>>, RequestError>,
) -> Result<Versioned<Backup>, RequestError> {
    let mut attempt = 1;
    loop {
        let Versioned { mut value, version } = find(ports, application, id).await?;
        let Some(entries) = change(&mut value)? else { return Ok(Versioned { value, version }) };
        match ports.records.update_backup(&value, version, &entries).await {
            Ok(version) => return Ok(Versioned { value, version }),
            Err(RecordsError::Conflict) if attempt < attempts => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Until when it is read, so that no policy discards it: the last moment that a link to it works.
pub(crate) fn in_use_until(backup: &Backup) -> Option<DateTime<Utc>> {
    backup.link_until
}

/// The audit trail of an application, newest first.
pub async fn events(
    ports: &Ports,
    application: &ApplicationId,
    before: Option<&str>,
    limit: usize,
) -> Result<Page<AuditEntry, String>, RequestError> {
    let page = ports.records.audit(application, before, limit).await?;
    if before.is_none() && page.items.is_empty() {
        return Err(RequestError::not_found("application", application));
    }
    Ok(page)
}

pub(crate) async fn find(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
) -> Result<Versioned<Backup>, RequestError> {
    ports.records.backup(application, id).await?.ok_or_else(|| RequestError::not_found("backup", &id))
}
