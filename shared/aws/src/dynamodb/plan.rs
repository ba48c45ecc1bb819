use holdfast_backup::ports::{PlanRecord, RecordsError};

use super::{
    key::{Item, Key},
    stored,
};

/// The item of a plan.
pub(super) fn item(plan: &PlanRecord, version: u64) -> Result<Item, RecordsError> {
    stored::versioned_item(Key::plan(&plan.id), version, plan)
}
