//! The tags by which a stack knows its own. `template.yaml` names the first in the conditions of its grants.

use aws_sdk_rds::types::Tag;
use holdfast_backup::ports::Tags;
use holdfast_domain::id::{ApplicationId, BackupId};

const STACK: &str = "holdfast:stack";
const APPLICATION: &str = "holdfast:application";
const BACKUP: &str = "holdfast:backup";
const SERVICE: &str = "holdfast:service";

/// The tags of what this stack makes.
pub(super) fn of(stack: &str, tags: &Tags) -> Vec<Tag> {
    let tag = |key: &str, value: String| Tag::builder().key(key).value(value).build();
    vec![
        tag(STACK, stack.to_owned()),
        tag(APPLICATION, tags.application.to_string()),
        tag(BACKUP, tags.backup.to_string()),
        tag(SERVICE, tags.service.to_string()),
    ]
}

/// The stack that has made something.
pub(super) fn stack(tags: &[Tag]) -> Option<&str> {
    value(tags, STACK)
}

/// The backup that something was made for.
pub(super) fn owner(tags: &[Tag]) -> Option<(ApplicationId, BackupId)> {
    Some((value(tags, APPLICATION)?.parse().ok()?, value(tags, BACKUP)?.parse().ok()?))
}

fn value<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value)
}
