use aws_sdk_dynamodb::types::AttributeValue;
use holdfast_backup::ports::{RecordsError, Versioned};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use super::key::{Item, Key};

/// The part that every item of a record has: the record as a map of its own, and its version.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    version: u64,
    record: T,
}

/// The item of a record.
pub(super) fn versioned_item(key: Key, version: u64, record: &impl Serialize) -> Result<Item, RecordsError> {
    plain_item(key, &Stored { version, record })
}

/// The item of anything that has no version.
pub(super) fn plain_item(key: Key, attributes: &impl Serialize) -> Result<Item, RecordsError> {
    let mut item: Item = to_item(attributes).map_err(|error| RecordsError::Malformed(error.to_string()))?;
    item.extend(key.into_item());
    Ok(item)
}

/// The same item, in an index: its partition there, and its place in the order.
pub(super) fn index(item: &mut Item, shard: (&str, String), order: (&str, String)) {
    for (name, value) in [shard, order] {
        item.insert(name.to_owned(), AttributeValue::S(value));
    }
}

/// The record of an item, and its version.
pub(super) fn read_versioned<T: DeserializeOwned>(item: Item) -> Result<Versioned<T>, RecordsError> {
    let Stored { version, record } = read_plain(item)?;
    Ok(Versioned { value: record, version })
}

/// The attributes of an item that has no version.
pub(super) fn read_plain<T: DeserializeOwned>(item: Item) -> Result<T, RecordsError> {
    let place = format!("{:?} {:?}", super::key::text(&item, "pk"), super::key::text(&item, "sk"));
    from_item(item).map_err(|error| RecordsError::Malformed(format!("{place}: {error}")))
}
