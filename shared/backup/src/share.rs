//! A share of a service that is divided between branches: the stretches that one of them stores.
//!
//! Beside the artifact, below [`STAGED`], stand the plan and, for each stretch that is stored, its lines of the manifest and,
//! written last, its parts: what is named there need not be done again, whatever becomes of the slice. A slice of a share
//! raises the share's attempt number first; who finds another number than its own has been replaced, and stops. Should both
//! store parts all the same, S3 refuses to make an object of parts that are not those which were written down.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_archive::checksum::Crc64Nvme;
use holdfast_domain::{
    application::Service,
    backup::{self, Backup},
    id::{ApplicationId, BackupId, ServiceName},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    engines::{
        Halt,
        media::{MediaEngine, Plan, StoredAs, StretchEngine, StretchLines},
    },
    error::SliceError,
    job::Answer,
    ports::{
        ArtifactStore, Divided, OpenUpload, Ports, RecordsError, ServiceRun, Share, StorageError, StoredPart,
        Versioned,
    },
    service::check_wanted,
    slice::Worker,
    upload::{self, Advance, Observer},
};

/// The folder beside an artifact for what waits until it is whole.
const STAGED: &str = "stretches/";

/// Where a dump has halted, and the bytes of it that are no part yet.
const HALTED: &str = "halted.json";
const BYTES: &str = "halted.bytes";

/// Shares at the most; four branches run at a time, and one that ends early makes room for the next.
const MOST_SHARES: u32 = 16;

/// How often a record that others write too is tried to be written.
const WRITES: u32 = 30;

/// Divides so many stretches evenly into shares.
pub(crate) fn shares(stretches: u32) -> Vec<Share> {
    let count = stretches.clamp(1, MOST_SHARES);
    let at = |number: u32| {
        u32::try_from(u64::from(stretches) * u64::from(number) / u64::from(count)).unwrap_or(stretches)
    };
    let share = |number| Share {
        attempt: 0,
        from: at(number),
        until: at(number + 1),
        done: false,
        bytes: 0,
        segments: 0,
    };
    (0..count).map(share).collect()
}

/// The folder of what the plan of that attempt has staged.
pub(crate) fn staged(
    application: &ApplicationId,
    id: BackupId,
    service: &ServiceName,
    attempt: u32,
) -> String {
    format!("{}{attempt}/", all_staged(application, id, service))
}

/// The folder of what all plans of a service have staged.
pub(crate) fn all_staged(application: &ApplicationId, id: BackupId, service: &ServiceName) -> String {
    format!("{}{service}/{STAGED}", backup::prefix(application, id))
}

/// Stores the next stretches of a share, and says whether there are more.
pub(crate) async fn back_up(
    worker: &Worker,
    backup: &Backup,
    service: &Service,
    share: u32,
    time: Duration,
) -> Result<Answer, SliceError> {
    let outcome = run(worker, backup, service, share, time).await;
    outcome.map_err(|error| error.of(&backup.application, service.name()))
}

async fn run(
    worker: &Worker,
    backup: &Backup,
    service: &Service,
    share: u32,
    time: Duration,
) -> Result<Answer, SliceError> {
    let ports = &worker.ports;
    let began = Instant::now();
    let Service::Storage(storage) = service else {
        return Err(SliceError::permanent("no_such_share", "a database is not divided between branches"));
    };
    let Some(mut branch) = Branch::take_over(ports, backup, service.name(), share).await? else {
        return Ok(Answer::Done);
    };
    let artifacts = ports.artifacts.as_ref();
    let staged = Staged { artifacts, folder: branch.folder.clone() };
    let plan = staged.plan().await?;
    let mut stored_one = false;
    for number in branch.stretches.clone() {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(stored) = staged.stored(number).await? {
            branch.count(&stored);
            continue;
        }
        let spent = began.elapsed();
        if stored_one && spent > time / 2 {
            branch.update(|_| {}).await?;
            return Ok(Answer::Continue);
        }
        let media = MediaEngine::new(ports, backup.application.clone(), storage.clone());
        let Some(engine) = StretchEngine::new(media, &plan, number) else {
            return Err(SliceError::permanent(
                "no_such_share",
                "the plan has no such stretch; start a new backup",
            ));
        };
        let upload = branch.upload.clone();
        // What does not fit any more behind others is for the next slice; alone it has all of the time there is.
        let left = if stored_one { (time * 9 / 10).saturating_sub(spent) } else { Duration::MAX };
        let filling = upload::fill(artifacts, &engine, &upload, &mut branch);
        let Ok(filled) = tokio::time::timeout(left, filling).await else {
            return Ok(Answer::Continue);
        };
        let filled = match filled {
            Ok(filled) => filled,
            Err(SliceError::Failed(failure)) if failure.code == "object_changed" => {
                branch.void(&failure.message).await?;
                return Ok(Answer::Done);
            }
            Err(error) => return Err(error),
        };
        let Some((bytes, frames)) = engine.stored() else {
            return Err(SliceError::permanent("archive_failed", "a stretch has ended without its manifest"));
        };
        let stored = StoredAs { bytes, parts: filled };
        // A slice that was replaced must not leave anything behind.
        branch.update(|_| {}).await?;
        staged.put_stored(number, frames, &stored).await?;
        branch.count(&stored);
        stored_one = true;
    }
    branch.update(|share| share.done = true).await?;
    Ok(Answer::Done)
}

/// A slice's hold on a share.
struct Branch<'a> {
    ports: &'a Ports,
    application: ApplicationId,
    backup: BackupId,
    service: ServiceName,
    share: usize,
    /// The attempts of the service and of the share that are this slice's.
    attempts: (u32, u32),
    upload: OpenUpload,
    folder: String,
    stretches: std::ops::Range<u32>,
    /// Bytes and parts of the stretches that are stored, and with the one that is not yet.
    stored: (u64, u32),
    so_far: (u64, u32),
}

impl<'a> Branch<'a> {
    /// Takes the share over from whoever had it. None if there is nothing to do.
    async fn take_over(
        ports: &'a Ports,
        backup: &Backup,
        service: &ServiceName,
        share: u32,
    ) -> Result<Option<Self>, SliceError> {
        let number = usize::try_from(share).unwrap_or(usize::MAX);
        for _ in 0..WRITES {
            let Some(Versioned { mut value, version }) = find(ports, backup.id, service).await? else {
                return Err(SliceError::Fenced);
            };
            let attempt = value.attempt;
            let Some(Divided { plan, upload, void: None, shares, .. }) = &mut value.divided else {
                return Ok(None);
            };
            let Some(mine) = shares.get_mut(number) else {
                return Err(SliceError::permanent("no_such_share", format!("there is no share {share}")));
            };
            if mine.done {
                return Ok(None);
            }
            mine.attempt += 1;
            let branch = Self {
                ports,
                application: backup.application.clone(),
                backup: backup.id,
                service: service.clone(),
                share: number,
                attempts: (attempt, mine.attempt),
                upload: upload.clone(),
                folder: staged(&backup.application, backup.id, service, *plan),
                stretches: mine.from..mine.until,
                stored: (0, 0),
                so_far: (0, 0),
            };
            match ports.records.put_service_run(backup.id, &value, Some(version)).await {
                Ok(_) => return Ok(Some(branch)),
                Err(RecordsError::Conflict) => branch.pause().await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended())
    }

    fn count(&mut self, stretch: &StoredAs) {
        self.stored.0 += stretch.bytes;
        self.stored.1 += u32::try_from(stretch.parts.len()).unwrap_or(u32::MAX);
        self.so_far = self.stored;
    }

    async fn void(&self, reason: &str) -> Result<(), SliceError> {
        tracing::warn!(service = %self.service, reason, "a plan does not hold; the service begins again");
        self.change(|divided| divided.void = Some(reason.to_owned())).await
    }

    /// Writes down how far the share has come.
    async fn update(&self, change: impl Fn(&mut Share) + Send + Sync) -> Result<(), SliceError> {
        self.change(|divided| {
            if let Some(share) = divided.shares.get_mut(self.share) {
                (share.bytes, share.segments) = self.so_far;
                change(share);
            }
        })
        .await
    }

    /// Changes the record, which the other branches write too, as long as this slice has not been replaced.
    async fn change(&self, change: impl Fn(&mut Divided) + Send + Sync) -> Result<(), SliceError> {
        for _ in 0..WRITES {
            let Some(Versioned { mut value, version }) = find(self.ports, self.backup, &self.service).await?
            else {
                return Err(SliceError::Fenced);
            };
            let attempt = value.attempt;
            let mine = value.divided.as_ref().and_then(|divided| divided.shares.get(self.share));
            if mine.is_none_or(|share| (attempt, share.attempt) != self.attempts) {
                return Err(SliceError::Fenced);
            }
            let Some(divided) = &mut value.divided else { return Err(SliceError::Fenced) };
            change(divided);
            value.progress.bytes = divided.shares.iter().map(|share| share.bytes).sum();
            value.progress.segments = divided.shares.iter().map(|share| share.segments).sum();
            value.progress.updated_at = self.ports.clock.now();
            match self.ports.records.put_service_run(self.backup, &value, Some(version)).await {
                Ok(_) => return Ok(()),
                Err(RecordsError::Conflict) => self.pause().await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended())
    }

    /// Different for each share, so that they do not meet again.
    async fn pause(&self) {
        let share = u64::try_from(self.share).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(10 + 7 * share)).await;
    }
}

#[async_trait]
impl Observer for Branch<'_> {
    async fn opened(&mut self, _upload: &OpenUpload) -> Result<(), SliceError> {
        self.update(|_| {}).await
    }

    async fn advanced(&mut self, so_far: Advance) -> Result<(), SliceError> {
        self.so_far = (self.stored.0 + so_far.bytes, self.stored.1 + so_far.segments);
        self.update(|_| {}).await?;
        check_wanted(self.ports, &self.application, self.backup).await
    }
}

async fn find(
    ports: &Ports,
    backup: BackupId,
    service: &ServiceName,
) -> Result<Option<Versioned<ServiceRun>>, SliceError> {
    let runs = ports.records.service_runs(backup).await?;
    Ok(runs.into_iter().find(|run| run.value.service == *service))
}

fn contended() -> SliceError {
    SliceError::transient("record_contended", "the record of the service is written by too many at once")
}

/// Where a dump has halted.
#[derive(Serialize, Deserialize)]
struct Halted {
    parts: Vec<StoredPart>,
    state: String,
    /// Of the bytes beside it.
    crc64nvme: Crc64Nvme,
}

/// What is staged for a plan, or where a dump has halted.
pub(crate) struct Staged<'a> {
    pub(crate) artifacts: &'a dyn ArtifactStore,
    pub(crate) folder: String,
}

impl Staged<'_> {
    pub(crate) async fn put_plan(&self, plan: &Plan) -> Result<(), SliceError> {
        self.put(&self.plan_key(), plan).await
    }

    pub(crate) async fn plan(&self) -> Result<Plan, SliceError> {
        let key = self.plan_key();
        self.get(&key).await?.ok_or_else(|| gone(&key))
    }

    async fn put_stored(&self, number: usize, frames: Bytes, stored: &StoredAs) -> Result<(), SliceError> {
        self.artifacts.put(&lines_key(&self.folder, number), "application/zstd", frames).await?;
        self.put(&self.stored_key(number), stored).await
    }

    /// What is known of a stretch, once it is stored.
    pub(crate) async fn stored(&self, number: usize) -> Result<Option<StoredAs>, SliceError> {
        self.get(&self.stored_key(number)).await
    }

    /// Stages where a dump has halted, and the parts that are stored so far.
    pub(crate) async fn put_halted(&self, parts: &[StoredPart], halt: Halt) -> Result<(), SliceError> {
        let Halt { state, bytes } = halt;
        let halted = Halted { parts: parts.to_vec(), state, crc64nvme: Crc64Nvme::of(&bytes) };
        let key = format!("{}{BYTES}", self.folder);
        self.artifacts.put(&key, "application/octet-stream", bytes).await?;
        self.put(&format!("{}{HALTED}", self.folder), &halted).await
    }

    /// What [`Staged::put_halted`] has staged.
    pub(crate) async fn halted(&self) -> Result<(Vec<StoredPart>, Halt), SliceError> {
        let (key, bytes_key) = (format!("{}{HALTED}", self.folder), format!("{}{BYTES}", self.folder));
        let Halted { parts, state, crc64nvme } = self.get(&key).await?.ok_or_else(|| gone(&key))?;
        let bytes = self.artifacts.get(&bytes_key).await?.ok_or_else(|| gone(&bytes_key))?;
        if Crc64Nvme::of(&bytes) != crc64nvme {
            return Err(not_staged(&bytes_key, "its checksum is another one"));
        }
        Ok((parts, Halt { state, bytes }))
    }

    fn plan_key(&self) -> String {
        format!("{}plan.json", self.folder)
    }

    fn stored_key(&self, number: usize) -> String {
        format!("{}{number:05}.json", self.folder)
    }

    async fn put(&self, key: &str, document: &impl Serialize) -> Result<(), SliceError> {
        let bytes = serde_json::to_vec(document)
            .map_err(|error| SliceError::permanent("document_unwritable", error.to_string()))?;
        Ok(self.artifacts.put(key, "application/json", bytes.into()).await?)
    }

    async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, SliceError> {
        let Some(bytes) = self.artifacts.get(key).await? else { return Ok(None) };
        let document = serde_json::from_slice(&bytes);
        document.map(Some).map_err(|error| not_staged(key, &error.to_string()))
    }
}

fn gone(key: &str) -> SliceError {
    StorageError::NotFound(format!("object {key}, by which the backup goes on")).into()
}

fn not_staged(key: &str, why: &str) -> SliceError {
    let advice = "find out who else writes to the backup bucket";
    SliceError::permanent("document_unreadable", format!("{key} is not what was staged ({why}); {advice}"))
}

fn lines_key(folder: &str, number: usize) -> String {
    format!("{folder}{number:05}.jsonl.zst")
}

/// The lines of the stretches' manifests.
pub(crate) struct StagedLines {
    pub(crate) artifacts: Arc<dyn ArtifactStore>,
    pub(crate) folder: String,
}

#[async_trait]
impl StretchLines for StagedLines {
    async fn frames(&self, number: usize) -> Result<Bytes, SliceError> {
        let key = lines_key(&self.folder, number);
        let frames = self.artifacts.get(&key).await?;
        frames.ok_or_else(|| StorageError::NotFound(format!("object {key}, which was staged")).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_the_stretches() {
        for stretches in [1, 2, 15, 16, 17, 400] {
            let shares = shares(stretches);
            let mut next = 0;
            for share in &shares {
                assert!(share.from == next && share.until > next, "{stretches}: {share:?}");
                next = share.until;
            }
            assert_eq!((next, shares.len()), (stretches, usize::try_from(stretches.min(16)).unwrap()));
        }
    }
}
