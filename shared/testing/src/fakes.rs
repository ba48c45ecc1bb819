//! The ports in memory.

mod artifacts;
mod clock;
mod entropy;
mod events;
mod executions;
mod instances;
mod media;
mod media_target;
mod records;
mod restorers;
mod secrets;

pub use artifacts::{FakeArtifacts, KEY_ARN};
pub use clock::FakeClock;
pub use entropy::SeededEntropy;
pub use events::FakeEvents;
pub use executions::FakeExecutions;
pub use instances::FakeInstances;
pub use media::{FakeMedia, Surprise};
pub use media_target::{BACKUPS, FakeMediaTarget};
pub use records::{FakeRecords, Neglect, Written};
pub use restorers::FakeRestorers;
pub use secrets::FakeSecrets;
