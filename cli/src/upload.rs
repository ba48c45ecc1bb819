//! From an engine to an object in somebody's bucket: all of it, or nothing.

use async_trait::async_trait;
use holdfast_aws::s3::S3Artifacts;
use holdfast_backup::{
    engines::Engine,
    error::SliceError,
    ports::{ArtifactStore as _, OpenUpload, StorageError},
    upload::{self, Advance, Observer, Stored},
};

use crate::{address::Address, failure::Failure, interrupts::Interrupts, terminal::DRAW_EVERY};

/// Makes sure that `key` is free, unless it may be replaced.
pub(crate) async fn check(store: &S3Artifacts, address: &Address, overwrite: bool) -> Result<(), Failure> {
    if overwrite {
        return Ok(());
    }
    match store.exists(&address.key).await {
        Ok(false) => Ok(()),
        Ok(true) => Err(taken(address)),
        Err(error @ StorageError::Denied(_)) => Err(Failure::new(error.to_string())
            .fix("s3:GetObject and s3:ListBucket are needed to see whether it is there already")),
        Err(error) => {
            Err(Failure::new(error.to_string())
                .fix("check the address, the network and the region (--region)"))
        }
    }
}

/// Runs `engine` and stores what it yields as `address`, with `draw` called now and then. Whatever does not come to its end,
/// also by an interrupt, is taken back.
pub(crate) async fn store(
    engine: &dyn Engine,
    store: &S3Artifacts,
    address: &Address,
    interrupts: &mut Interrupts,
    draw: &mut (dyn FnMut(Advance) + Send),
) -> Result<Stored, SliceError> {
    let mut watch = Watch::new(interrupts, draw);
    let stored = upload::store(store, engine, &address.key, &mut watch).await;
    let Err(error) = stored else { return stored };
    let mut left = store.take_back().await.err();
    if let Some(upload) = &watch.open {
        // That of an upload that is gone is a success.
        left = store.abort(upload).await.err().or(left);
    }
    match left {
        None => Err(error),
        Some(left) => Err(SliceError::permanent(
            "left_behind",
            format!(
                "{error}; what was stored until then could not be taken back ({left}): look for {address} and for open \
                 uploads with aws s3api list-multipart-uploads, and delete them"
            ),
        )),
    }
}

/// A failure to store, in words for whoever named the object; others are the engine's.
pub(crate) async fn failed(
    error: &SliceError,
    store: &S3Artifacts,
    address: &Address,
    overwrite: bool,
) -> Option<Failure> {
    let SliceError::Failed(failure) = error else { return None };
    let failed = |fix: &str| Some(Failure::new(&failure.message).fix(fix));
    match failure.code.as_str() {
        // Whoever has stored it has done so since it was looked for.
        "object_changed" if !overwrite && store.exists(&address.key).await.unwrap_or(false) => {
            Some(taken(address))
        }
        "access_denied" => failed(
            "s3:PutObject, s3:GetObject, s3:ListBucket and s3:AbortMultipartUpload are needed, and the use of the KMS key",
        ),
        "object_missing" => failed("check that the bucket is there, and that nobody deletes from it"),
        "storage_unavailable" => failed("check the network, and try again"),
        _ => None,
    }
}

fn taken(address: &Address) -> Failure {
    Failure::new(format!("{address} is there already"))
        .fix("choose another name, or replace it with --overwrite")
}

/// Follows an upload: draws, and listens for interrupts.
pub(crate) struct Watch<'a> {
    interrupts: &'a mut Interrupts,
    draw: &'a mut (dyn FnMut(Advance) + Send),
    open: Option<OpenUpload>,
}

impl<'a> Watch<'a> {
    /// Calls `draw` now and then.
    pub(crate) fn new(interrupts: &'a mut Interrupts, draw: &'a mut (dyn FnMut(Advance) + Send)) -> Self {
        Self { interrupts, draw, open: None }
    }
}

#[async_trait]
impl Observer for Watch<'_> {
    async fn opened(&mut self, upload: &OpenUpload) -> Result<(), SliceError> {
        self.open = Some(upload.clone());
        Ok(())
    }

    async fn advanced(&mut self, so_far: Advance) -> Result<(), SliceError> {
        (self.draw)(so_far);
        if self.interrupts.have_come() { Err(SliceError::Cancelled) } else { Ok(()) }
    }

    async fn due(&mut self) {
        tokio::select! {
            () = self.interrupts.come() => {}
            () = tokio::time::sleep(DRAW_EVERY) => {}
        }
    }
}
