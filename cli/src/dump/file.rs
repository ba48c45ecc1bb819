//! A dump into a file.

use std::{path::Path, time::Duration};

use holdfast_archive::multipart::Segment;
use holdfast_backup::engines::{
    Engine as _, EngineReport,
    postgres::PostgresEngine,
    segments::{self, HeldSegment, SegmentReceiver},
};

use super::{failed, interrupted, part::PartFile};
use crate::{failure::Failure, interrupts::Interrupts};

/// How long the engine may take to end its sessions.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Dumps into what is to be `target`, until it is whole, or somebody interrupts. In either case nothing of the dump runs any more then.
pub(super) async fn dump(
    engine: &PostgresEngine,
    target: &Path,
    overwrite: bool,
    interrupts: &mut Interrupts,
) -> Result<(PartFile, EngineReport), Failure> {
    tokio::select! {
        prepared = engine.prepare() => prepared.map_err(|error| failed(&error))?,
        () = interrupts.come() => return Err(interrupted()),
    };
    // Not before: until here nothing has to be cleaned up, however this process ends.
    let mut part = PartFile::create(target, overwrite)?;
    let (out, segments) = segments::channel(&target.display().to_string());
    let mut running = engine.run(out);
    let storing = store(segments, &mut part);
    let stopped = {
        let mut storing = std::pin::pin!(storing);
        let (mut report, mut stored) = (None, false);
        loop {
            tokio::select! {
                ended = &mut running, if report.is_none() => match ended {
                    Ok(ended) => report = Some(ended),
                    Err(error) => return Err(failed(&error)),
                },
                ended = &mut storing, if !stored => match ended {
                    Ok(()) => stored = true,
                    Err(failure) => break Err(failure),
                },
                () = interrupts.come() => break Err(interrupted()),
            }
            if stored && let Some(report) = report.take() {
                break Ok(report);
            }
        }
    };
    match stopped {
        Ok(report) => {
            drop(running);
            Ok((part, report))
        }
        Err(failure) => {
            // What stores the segments is gone, and so the engine ends.
            let _ = tokio::time::timeout(END_WITHIN, running).await;
            Err(failure)
        }
    }
}

/// Writes segments to their places in the file.
async fn store(mut segments: SegmentReceiver, part: &mut PartFile) -> Result<(), Failure> {
    while let Some(HeldSegment { segment, room }) = segments.next().await {
        let Segment { number, bytes, crc64nvme } = segment;
        part.write(number, bytes, crc64nvme).await?;
        drop(room);
    }
    Ok(())
}
