use holdfast_backup::ports::{ApplicationRecord, RecordsError};

use super::{
    index::{shard, sortable},
    key::{Item, Key},
    stored,
};

/// The item of an application. It is in the index `due` exactly while it has a next run.
pub(super) fn item(application: &ApplicationRecord, version: u64) -> Result<Item, RecordsError> {
    let mut item = stored::versioned_item(Key::application(&application.id), version, application)?;
    if let Some(at) = application.next_run_at {
        stored::index(
            &mut item,
            ("due_shard", shard(application.id.as_str())),
            ("next_run_at", sortable(at)),
        );
    }
    Ok(item)
}

#[cfg(test)]
mod tests {
    use holdfast_testing::builders;

    use super::*;
    use crate::dynamodb::key::text;

    #[test]
    fn an_application_reads_back_from_its_item() {
        let application = builders::application("shop");
        let found = stored::read_versioned(item(&application, 7).unwrap()).unwrap();
        assert_eq!((application, 7), (found.value, found.version));
    }

    #[test]
    fn only_an_application_with_a_next_run_is_in_the_index() {
        let mut application = builders::application("shop");
        let indexed = item(&application, 1).unwrap();
        assert_eq!(text(&indexed, "next_run_at"), Some("2026-04-02T12:00:00.000Z"));
        assert_eq!(text(&indexed, "due_shard"), Some(shard("shop").as_str()));
        application.next_run_at = None;
        let idle = item(&application, 1).unwrap();
        assert!(!idle.contains_key("next_run_at") && !idle.contains_key("due_shard"));
    }
}
