//! The catalogue: the records of plans, applications and backups, compared with what the bucket says about itself, and made
//! anew from it where they are missing.
//!
//! [`look`] reads both and changes nothing. What it returns names every [`Difference`] and plans a [`Rebuild`];
//! [`rebuild`] carries one out as it is. It only ever makes what is not there, so that it can be interrupted and repeated.

mod compare;
mod difference;
mod entries;
mod planned;
mod rebuild;
mod shelf;

use std::{collections::BTreeSet, sync::Arc};

use holdfast_domain::id::ApplicationId;

pub use difference::{Difference, What};
pub use entries::Entries;
pub use planned::{Rebuild, RebuiltApplication};
pub use rebuild::{Rebuilt, rebuild};
pub use shelf::Shelf;

use crate::ports::{CatalogBucket, CatalogRecords, Clock, Entropy, RecordsError, StorageError};

/// What the catalogue is read from and written to.
#[derive(Clone)]
pub struct Catalog {
    /// The records.
    pub records: Arc<dyn CatalogRecords>,
    /// The bucket that backups are kept in.
    pub bucket: Arc<dyn CatalogBucket>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for ids.
    pub entropy: Arc<dyn Entropy>,
}

/// Both sides of the catalogue as they were found.
#[derive(Debug, Clone)]
pub struct Sight {
    /// What the bucket says.
    pub shelf: Shelf,
    /// What the records say.
    pub entries: Entries,
}

/// Why the catalogue could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The bucket.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The records.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// Reads the bucket and the records, of `only` one application or of all. Backups go on meanwhile: an application about which
/// both do not agree is read once more.
pub async fn look(catalog: &Catalog, only: Option<&ApplicationId>) -> Result<Sight, CatalogError> {
    let mut sight = look_once(catalog, only).await?;
    let suspects = sight.differences().into_iter().filter(|found| found.what != What::NoRecord);
    let suspects: BTreeSet<ApplicationId> = suspects.filter_map(|found| found.application).collect();
    for application in suspects {
        sight.replace(&application, look_once(catalog, Some(&application)).await?);
    }
    Ok(sight)
}

async fn look_once(catalog: &Catalog, only: Option<&ApplicationId>) -> Result<Sight, CatalogError> {
    let shelf = Shelf::read(catalog.bucket.as_ref(), only).await?;
    let entries = Entries::read(catalog.records.as_ref(), shelf.applications.keys(), only).await?;
    Ok(Sight { shelf, entries })
}

impl Sight {
    /// Puts what was seen of one application later in the place of what was seen of it before.
    fn replace(&mut self, id: &ApplicationId, mut later: Self) {
        self.shelf.applications.remove(id);
        self.shelf.applications.extend(later.shelf.applications.remove_entry(id));
        self.entries.applications.remove(id);
        self.entries.applications.extend(later.entries.applications.remove_entry(id));
        self.shelf.troubles.retain(|trouble| trouble.application.as_ref() != Some(id));
        let troubles = later.shelf.troubles.into_iter();
        self.shelf.troubles.extend(troubles.filter(|trouble| trouble.application.as_ref() == Some(id)));
    }
}
