//! Where a rehearsal puts files: a folder at the top of the bucket, outside of what any storage of it is backed up from.
//!
//! It is not below the storage's own prefix: what is done with files that come there, by the application or for everybody to see, is
//! not to be done with these. A storage that is a whole bucket leaves it out.

use holdfast_domain::id::RestoreId;

use crate::ports::ListedObject;

/// What the keys of all such files begin with.
const BEGINNING: &str = ".holdfast-rehearsal-";

/// The prefix at which the restore `id` puts what is below `prefix`.
pub(super) fn prefix_of(id: RestoreId, prefix: &str) -> String {
    format!("{BEGINNING}{id}/{prefix}")
}

/// Whether a file below `prefix` is one of a rehearsal, and none of the storage's own.
pub(super) fn is_scratch(prefix: &str, object: &ListedObject) -> bool {
    object.key.starts_with(BEGINNING) && !prefix.starts_with(BEGINNING)
}
