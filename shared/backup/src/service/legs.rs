//! A dump that goes on over several slices, each of which fills the same upload.
//!
//! Beside the artifact is staged where the last leg has halted: its bytes that are no part yet, and written last, the parts. A
//! slice that is killed costs its own leg: the next one goes on where that began, and stores its parts anew. Should both store
//! parts all the same, S3 refuses to make an object of parts that are not those which were written down.

use tokio::time::Instant;

use super::run::Run;
use crate::{
    engines::{Engine, Leg},
    error::SliceError,
    ports::Legs,
    share::Staged,
    upload::{self, LegStored, Stored},
};

/// Stores the next leg of `engine` as parts of the object `key`. None if it has halted, and is to be called again.
pub(super) async fn store(
    run: &mut Run<'_>,
    engine: &dyn Engine,
    key: &str,
    until: Instant,
) -> Result<Option<Stored>, SliceError> {
    let artifacts = run.ports.artifacts.clone();
    if let Some(legs) = &run.record.legs
        && !artifacts.open_uploads(&legs.upload.key).await?.contains(&legs.upload)
    {
        tracing::warn!(service = %run.record.service, "the upload of a dump is gone, and it begins again");
        run.record.legs = None;
        run.write().await?;
        run.give_up().await?;
    }
    let before = run.record.legs.clone();
    let (upload, parts, from) = match &before {
        None => (artifacts.begin(key, engine.content_type()).await?, Vec::new(), None),
        Some(legs) => {
            let staged = Staged { artifacts: artifacts.as_ref(), folder: run.staged(legs.staged) };
            let (parts, halt) = staged.halted().await?;
            (legs.upload.clone(), parts, Some(halt))
        }
    };
    let leg = Leg { from, until };
    match upload::store_leg(artifacts.as_ref(), engine, (&upload, parts), leg, run).await? {
        LegStored::Whole(stored) => {
            run.record.legs = None;
            // What is staged is no part of a backup.
            artifacts.purge(&run.all_staged()).await?;
            Ok(Some(*stored))
        }
        LegStored::Halted { halt, parts } => {
            // Not before: a slice that was replaced must not leave anything behind.
            run.write().await?;
            run.check_wanted().await?;
            let staged = Staged { artifacts: artifacts.as_ref(), folder: run.staged(run.record.attempt) };
            staged.put_halted(&parts, halt).await?;
            let halted = before.as_ref().map_or(0, |legs| legs.halted) + 1;
            run.record.legs = Some(Legs { upload, halted, staged: run.record.attempt });
            run.write().await?;
            if let Some(before) = before {
                artifacts.purge(&run.staged(before.staged)).await?;
            }
            tracing::info!(service = %run.record.service, halted, "the dump has halted, and goes on in another slice");
            Ok(None)
        }
    }
}
