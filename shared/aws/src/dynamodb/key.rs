use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, SecondsFormat, Utc};
use holdfast_backup::ports::RecordsError;
use holdfast_domain::{
    backup::Trigger,
    id::{ApplicationId, BackupId, PlanId, RestoreId, ServiceName},
};

/// An item's attributes.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The partition of all slugs.
pub(super) const APPLICATIONS: &str = "APPS";
/// The partition of the slugs of removed applications.
pub(super) const REMOVED: &str = "REMOVED";
/// The partition of all plans.
pub(super) const PLANS: &str = "PLANS";
/// The sort key of an application within its partition.
pub(super) const APPLICATION: &str = "APP";
/// What the sort keys of backups begin with.
pub(super) const BACKUP: &str = "BACKUP#";
/// What the sort keys of restores begin with.
pub(super) const RESTORE: &str = "RESTORE#";
/// What the sort keys of audit entries begin with.
pub(super) const AUDIT: &str = "AUDIT#";
/// What the sort keys of services' runs begin with.
pub(super) const SERVICE: &str = "SERVICE#";

/// The primary key of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl Key {
    pub(super) fn application(id: &ApplicationId) -> Self {
        Self { pk: application_partition(id), sk: APPLICATION.to_owned() }
    }

    pub(super) fn listing(id: &ApplicationId) -> Self {
        Self { pk: APPLICATIONS.to_owned(), sk: id.to_string() }
    }

    pub(super) fn removed(id: &ApplicationId) -> Self {
        Self { pk: REMOVED.to_owned(), sk: id.to_string() }
    }

    pub(super) fn plan(id: &PlanId) -> Self {
        Self { pk: PLANS.to_owned(), sk: id.to_string() }
    }

    pub(super) fn backup(application: &ApplicationId, id: BackupId) -> Self {
        Self { pk: application_partition(application), sk: format!("{BACKUP}{id}") }
    }

    pub(super) fn slot(application: &ApplicationId, at: DateTime<Utc>) -> Self {
        let moment = at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        Self { pk: application_partition(application), sk: format!("SLOT#{moment}") }
    }

    pub(super) fn turn(application: &ApplicationId, trigger: Trigger) -> Self {
        let trigger = match trigger {
            Trigger::Scheduled => "scheduled",
            Trigger::OnDemand => "on_demand",
        };
        Self { pk: application_partition(application), sk: format!("TURN#{trigger}") }
    }

    pub(super) fn idempotency(application: &ApplicationId, key: &str) -> Self {
        Self { pk: application_partition(application), sk: format!("IDEMPOTENCY#{key}") }
    }

    pub(super) fn restore(application: &ApplicationId, id: RestoreId) -> Self {
        Self { pk: application_partition(application), sk: format!("{RESTORE}{id}") }
    }

    pub(super) fn restore_turn(application: &ApplicationId) -> Self {
        Self { pk: application_partition(application), sk: "TURN#restore".to_owned() }
    }

    pub(super) fn restore_idempotency(application: &ApplicationId, key: &str) -> Self {
        Self { pk: application_partition(application), sk: format!("RESTORE-IDEMPOTENCY#{key}") }
    }

    pub(super) fn restore_target(restore: RestoreId) -> Self {
        Self { pk: format!("{RESTORE}{restore}"), sk: "SOURCE".to_owned() }
    }

    pub(super) fn service_run(backup: BackupId, service: &ServiceName) -> Self {
        Self { pk: service_runs_partition(backup), sk: format!("{SERVICE}{service}") }
    }

    pub(super) fn seats(server: &str) -> Self {
        Self { pk: format!("SERVER#{server}"), sk: "SEATS".to_owned() }
    }

    pub(super) fn source(backup: BackupId) -> Self {
        Self { pk: service_runs_partition(backup), sk: "SOURCE".to_owned() }
    }

    /// The key as attributes.
    pub(super) fn into_item(self) -> Item {
        let text = AttributeValue::S;
        Item::from([("pk".to_owned(), text(self.pk)), ("sk".to_owned(), text(self.sk))])
    }
}

pub(super) fn application_partition(id: &ApplicationId) -> String {
    format!("APP#{id}")
}

pub(super) fn plan_partition(id: &PlanId) -> String {
    format!("PLAN#{id}")
}

pub(super) fn service_runs_partition(backup: BackupId) -> String {
    format!("{BACKUP}{backup}")
}

/// The application whose partition an item is in.
pub(super) fn application_of(item: &Item) -> Result<ApplicationId, RecordsError> {
    let found = text(item, "pk").and_then(|pk| pk.strip_prefix("APP#")).and_then(|slug| slug.parse().ok());
    found.ok_or_else(|| {
        RecordsError::Malformed(format!("an item with the partition key {:?}", item.get("pk")))
    })
}

/// The backup that an item's sort key names.
pub(super) fn backup_of(item: &Item) -> Result<BackupId, RecordsError> {
    let found = text(item, "sk").and_then(|sk| sk.strip_prefix(BACKUP)).and_then(|id| id.parse().ok());
    found.ok_or_else(|| RecordsError::Malformed(format!("an item with the sort key {:?}", item.get("sk"))))
}

/// The restore that an item's sort key names.
pub(super) fn restore_of(item: &Item) -> Result<RestoreId, RecordsError> {
    let found = text(item, "sk").and_then(|sk| sk.strip_prefix(RESTORE)).and_then(|id| id.parse().ok());
    found.ok_or_else(|| RecordsError::Malformed(format!("an item with the sort key {:?}", item.get("sk"))))
}

/// An attribute that is text.
pub(super) fn text<'a>(item: &'a Item, attribute: &str) -> Option<&'a str> {
    item.get(attribute)?.as_s().ok().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slots_key_is_its_moment() {
        let at = DateTime::parse_from_rfc3339("2026-03-29T03:07:00+02:00").unwrap().to_utc();
        let key = Key::slot(&"shop".parse().unwrap(), at);
        assert_eq!((key.pk.as_str(), key.sk.as_str()), ("APP#shop", "SLOT#2026-03-29T01:07:00Z"));
    }

    #[test]
    fn a_key_says_what_it_is_the_key_of() {
        let application = "shop".parse().unwrap();
        let id = BackupId::new(DateTime::UNIX_EPOCH, [1; 10]);
        let item = Key::backup(&application, id).into_item();
        assert_eq!(application_of(&item).unwrap(), application);
        assert_eq!(backup_of(&item).unwrap(), id);
        let listing = Key::listing(&application).into_item();
        assert!(matches!(application_of(&listing), Err(RecordsError::Malformed(_))));
        assert!(matches!(backup_of(&listing), Err(RecordsError::Malformed(_))));
    }

    #[test]
    fn a_restores_key_says_which_it_is_and_a_used_key_is_none() {
        let application = "shop".parse().unwrap();
        let id = RestoreId::new(DateTime::UNIX_EPOCH, [1; 10]);
        let item = Key::restore(&application, id).into_item();
        assert_eq!((application_of(&item).unwrap(), restore_of(&item).unwrap()), (application.clone(), id));
        let used = Key::restore_idempotency(&application, &id.to_string());
        assert!(!used.sk.starts_with(RESTORE), "it would be listed among the restores");
        assert!(matches!(restore_of(&used.into_item()), Err(RecordsError::Malformed(_))));
    }
}
