//! What people ask of the API, and what they remember of its answers.

use std::time::Duration;

use chrono::TimeDelta;
use holdfast_backup::{
    backups, hold,
    ports::{Clock as _, Ports},
    request::{self, BackupRequest},
    restores::{self, RequestedOrigin, RestoreRequest},
    undelete,
    verify::{self, VerificationRequest},
};
use holdfast_domain::{
    backup::{Backup, State},
    id::{ApplicationId, BackupId, RestoreId},
    restore::{MediaMode, Restore, RestoreOptions},
};

use super::{book::Book, dice::Dice, stage::Stage};

const ANNA: &str = "arn:aws:iam::123456789012:user/anna";

/// What somebody asks for.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    Backup(ApplicationId, BackupRequest, Option<String>),
    Cancel(ApplicationId, BackupId),
    Delete(ApplicationId, BackupId),
    Undelete(ApplicationId, BackupId),
    Hold(ApplicationId, BackupId),
    Release(ApplicationId, BackupId),
    Verify(ApplicationId, BackupId),
    Download(ApplicationId, BackupId),
    Restore(ApplicationId, RestoreRequest, Option<String>),
    CancelRestore(ApplicationId, RestoreId),
    Undo(ApplicationId, RestoreId, Option<String>),
}

/// Something to ask for, given what there is. None where there is nothing that it could be asked of.
pub(super) fn wish(stage: &Stage, dice: &Dice) -> Option<Wish> {
    let application = dice.pick(&stage.applications)?.id.clone();
    let backups = stage.world.records.all_backups(&application);
    let restores = stage.world.records.all_restores(&application);
    let among = |states: &[State]| -> Option<BackupId> {
        let found: Vec<&Backup> = backups.iter().filter(|backup| states.contains(&backup.state)).collect();
        dice.pick(&found).map(|backup| backup.id)
    };
    let key = |what: &str| dice.happens(500).then(|| format!("{what}-{}", dice.below(4)));
    Some(match dice.below(24) {
        0..=4 => {
            let services = &stage.spec(&application).services;
            let one = dice.happens(200).then(|| dice.pick(services)).flatten();
            let now = stage.world.clock.now();
            let request = BackupRequest {
                services: one.map(|service| vec![service.name().clone()]),
                note: None,
                expires_at: dice.happens(100).then(|| now + TimeDelta::hours(30)),
            };
            Wish::Backup(application, request, key("backup"))
        }
        5 | 6 => Wish::Cancel(application, among(&[State::Queued, State::Running])?),
        7 => Wish::Delete(application, among(&[State::Succeeded, State::Expiring])?),
        8 | 9 => Wish::Undelete(application, among(&[State::Expired, State::Expiring])?),
        10 => Wish::Hold(application, among(&[State::Succeeded, State::Running])?),
        11 => Wish::Release(application, among(&[State::Succeeded])?),
        12 => Wish::Verify(application, among(&[State::Succeeded])?),
        13 => Wish::Download(application, among(&[State::Succeeded])?),
        14..=16 => {
            let from = dice.pick(&stage.applications)?.id.clone();
            let there = stage.world.records.all_backups(&from);
            let there: Vec<&Backup> =
                there.iter().filter(|backup| backup.state == State::Succeeded).collect();
            let options = RestoreOptions {
                dry_run: dice.happens(150),
                overwrite: dice.happens(900),
                safety_backup: dice.happens(800),
                media: if dice.happens(500) { MediaMode::Mirror } else { MediaMode::Merge },
                ..RestoreOptions::default()
            };
            let backup = dice.pick(&there)?.id;
            let from = RequestedOrigin { application: Some(from), backup };
            Wish::Restore(application, RestoreRequest { from, services: None, options }, key("restore"))
        }
        17 => {
            let open: Vec<_> = restores.iter().filter(|restore| restore.state.is_open()).collect();
            Wish::CancelRestore(application, dice.pick(&open)?.id)
        }
        _ => {
            // One that is open is refused; it is asked for all the same.
            let is_ended = |restore: &Restore| restore.has_begun() && !restore.state.is_open();
            let ended: Vec<Restore> = restores.iter().filter(|restore| is_ended(restore)).cloned().collect();
            let restore = dice.pick(&ended).or_else(|| dice.pick(&restores))?;
            Wish::Undo(application, restore.id, key("undo"))
        }
    })
}

impl Wish {
    /// Asks for it, and remembers the answer. What is refused is an answer too.
    pub(super) async fn ask(self, ports: &Ports, book: &Book) -> Result<(), String> {
        let said = match self {
            Self::Backup(application, request, key) => {
                let asked = request::create(ports, ANNA, &application, request, key.clone()).await;
                asked.map(|asked| {
                    if let Some(key) = key {
                        book.answered(&application, &key, asked.backup.value.id.to_string());
                    }
                })
            }
            Self::Cancel(application, id) => request::cancel(ports, ANNA, &application, id).await.map(drop),
            Self::Delete(application, id) => request::delete(ports, ANNA, &application, id).await.map(drop),
            Self::Undelete(application, id) => undelete::ask(ports, ANNA, &application, id).await.map(drop),
            Self::Hold(application, id) => {
                let held = hold::hold(ports, ANNA, &application, id, "the audit of 2026").await;
                held.map(|held| book.told_held(&held.value))
            }
            Self::Release(application, id) => {
                book.may_be_released(id);
                hold::release(ports, ANNA, &application, id).await.map(drop)
            }
            Self::Verify(application, id) => {
                let request = VerificationRequest::default();
                verify::ask(ports, ANNA, &application, id, request).await.map(drop)
            }
            Self::Download(application, id) => {
                let service = "DEFAULT".parse().map_err(|_| "a name".to_owned())?;
                let valid = Duration::from_hours(1);
                backups::download(ports, &application, id, &service, valid).await.map(drop)
            }
            Self::Restore(application, request, key) => {
                let asked = restores::create(ports, ANNA, &application, request, key.clone()).await;
                asked.map(|asked| {
                    if let Some(key) = key {
                        book.answered(&application, &key, asked.restore.value.id.to_string());
                    }
                })
            }
            Self::CancelRestore(application, id) => {
                restores::cancel(ports, ANNA, &application, id).await.map(drop)
            }
            Self::Undo(application, id, key) => {
                let asked = restores::undo(ports, ANNA, &application, id, key.clone()).await;
                asked.map(|asked| {
                    if let Some(key) = key {
                        book.answered(&application, &key, asked.restore.value.id.to_string());
                    }
                })
            }
        };
        said.map_err(|error| error.to_string())
    }
}
