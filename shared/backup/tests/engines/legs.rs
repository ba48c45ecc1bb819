use holdfast_backup::{
    engines::{Engine, Halt, Leg},
    error::SliceError,
    ports::{OpenUpload, StoredPart},
    upload::{LegStored, Stored, store_leg},
};
use holdfast_testing::World;
use tokio::time::Instant;

use crate::{KEY, observer::Witness};

/// A dump that slices make, one leg each.
pub(crate) struct Legs {
    pub(crate) world: World,
    upload: OpenUpload,
    parts: Vec<StoredPart>,
    halt: Option<Halt>,
    pub(crate) halted: usize,
}

impl Legs {
    pub(crate) async fn begin() -> Self {
        let world = World::new();
        let upload = world.ports.artifacts.begin(KEY, "application/octet-stream").await.unwrap();
        Self { world, upload, parts: Vec::new(), halt: None, halted: 0 }
    }

    /// As little as there can be in a leg. Each is an engine's own, as each slice is a process.
    pub(crate) async fn next(&mut self, engine: &dyn Engine) -> Result<Option<Stored>, SliceError> {
        let leg = Leg { from: self.halt.clone(), until: Instant::now() };
        let upload = (&self.upload, self.parts.clone());
        let artifacts = self.world.ports.artifacts.as_ref();
        match store_leg(artifacts, engine, upload, leg, &mut Witness::default()).await? {
            LegStored::Whole(stored) => Ok(Some(*stored)),
            LegStored::Halted { halt, parts } => {
                assert!(parts.len() >= self.parts.len());
                (self.parts, self.halt) = (parts, Some(halt));
                self.halted += 1;
                Ok(None)
            }
        }
    }

    pub(crate) async fn finish<E: Engine>(&mut self, engine: impl Fn() -> E) -> Result<Stored, SliceError> {
        loop {
            if let Some(stored) = self.next(&engine()).await? {
                return Ok(stored);
            }
        }
    }

    pub(crate) fn archive(&self) -> Vec<u8> {
        self.world.artifacts.bytes(KEY).unwrap().to_vec()
    }

    /// The same, but every third leg is gone twice: of the first time nobody has heard, as of a slice that was killed.
    pub(crate) async fn finish_unheard<E: Engine>(&mut self, engine: impl Fn() -> E) {
        loop {
            let before = (self.parts.clone(), self.halt.clone());
            if self.next(&engine()).await.unwrap().is_some() {
                return;
            }
            if self.halted.is_multiple_of(3) {
                (self.parts, self.halt) = before;
                assert_eq!(self.next(&engine()).await.unwrap(), None);
            }
        }
    }
}
