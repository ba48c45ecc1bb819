use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use holdfast_backup::{
    error::SliceError,
    ports::OpenUpload,
    upload::{Advance, Observer},
};

/// Remembers what it was told, and cancels once it is wanted.
#[derive(Default)]
pub(crate) struct Witness {
    pub(crate) opened: Vec<OpenUpload>,
    pub(crate) advances: Vec<Advance>,
    pub(crate) cancel: Arc<AtomicBool>,
}

impl Witness {
    fn answer(&self) -> Result<(), SliceError> {
        if self.cancel.load(Ordering::SeqCst) { Err(SliceError::Cancelled) } else { Ok(()) }
    }
}

#[async_trait]
impl Observer for Witness {
    async fn opened(&mut self, upload: &OpenUpload) -> Result<(), SliceError> {
        self.opened.push(upload.clone());
        self.answer()
    }

    async fn advanced(&mut self, so_far: Advance) -> Result<(), SliceError> {
        self.advances.push(so_far);
        self.answer()
    }
}
