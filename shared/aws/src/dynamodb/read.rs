use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures::future::try_join_all;
use holdfast_backup::ports::RecordsError;

use super::{
    DynamoRecords, index,
    key::{Item, Key},
};
use crate::explain::explain;

/// The most keys of one `BatchGetItem`, the service's limit.
const BATCH: usize = 100;

/// How often the rest of a batch is asked for before it is given up.
const BATCH_ATTEMPTS: u32 = 8;

/// A part of one partition, in order.
pub(super) struct Search {
    /// The partition.
    pub(super) partition: String,
    /// Which part of it.
    pub(super) range: Range,
    /// Whether to go backwards, from the greatest on.
    pub(super) backwards: bool,
    /// The most items.
    pub(super) limit: usize,
}

/// Part of a partition by its sort key.
pub(super) enum Range {
    /// All of it.
    All,
    /// Keys that begin so.
    Prefix(&'static str),
    /// Keys greater than this one.
    After(String),
    /// Keys from the first to the second, both included.
    Between(String, String),
}

/// An index and the names of its key's attributes.
struct Index {
    name: &'static str,
    partition: &'static str,
    order: &'static str,
}

const DUE: Index = Index { name: "due", partition: "due_shard", order: "next_run_at" };
const OPEN: Index = Index { name: "open", partition: "open_shard", order: "open_since" };

impl DynamoRecords {
    /// One item, as the last write left it.
    pub(super) async fn get(&self, key: Key) -> Result<Option<Item>, RecordsError> {
        let request = self.client.get_item().table_name(&self.table).consistent_read(true);
        let found = request.set_key(Some(key.into_item())).send().await;
        found.map(|found| found.item).map_err(|error| RecordsError::Unavailable(explain("GetItem", &error)))
    }

    /// The items of a part of a partition, as the last writes left them.
    pub(super) async fn search(&self, search: Search) -> Result<Vec<Item>, RecordsError> {
        let (condition, bounds) = match search.range {
            Range::All => ("#p = :p", vec![]),
            Range::Prefix(prefix) => ("#p = :p AND begins_with(#s, :a)", vec![(":a", prefix.to_owned())]),
            Range::After(key) => ("#p = :p AND #s > :a", vec![(":a", key)]),
            Range::Between(first, last) => {
                ("#p = :p AND #s BETWEEN :a AND :b", vec![(":a", first), (":b", last)])
            }
        };
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .scan_index_forward(!search.backwards)
            .key_condition_expression(condition)
            .expression_attribute_names("#p", "pk")
            .expression_attribute_values(":p", AttributeValue::S(search.partition));
        for (name, value) in bounds {
            query = query
                .expression_attribute_names("#s", "sk")
                .expression_attribute_values(name, AttributeValue::S(value));
        }
        pages(query, search.limit).await
    }

    /// The items of the index `due` up to a moment, at most `limit` a shard.
    pub(super) async fn search_due(&self, until: &str, limit: usize) -> Result<Vec<Item>, RecordsError> {
        self.search_index(&DUE, index::shards().collect(), Some(until), limit).await
    }

    /// The items of backups in the index `open`, at most `limit` a shard.
    pub(super) async fn search_open(&self, limit: usize) -> Result<Vec<Item>, RecordsError> {
        self.search_index(&OPEN, index::shards().collect(), None, limit).await
    }

    /// The items of restores in the index `open`, at most `limit`.
    pub(super) async fn search_open_restores(&self, limit: usize) -> Result<Vec<Item>, RecordsError> {
        self.search_index(&OPEN, vec![index::OPEN_RESTORES.to_owned()], None, limit).await
    }

    async fn search_index(
        &self,
        index: &Index,
        shards: Vec<String>,
        until: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Item>, RecordsError> {
        let shards = shards.into_iter().map(|shard| {
            let mut query = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(index.name)
                .key_condition_expression(if until.is_some() { "#p = :p AND #s <= :s" } else { "#p = :p" })
                .expression_attribute_names("#p", index.partition)
                .expression_attribute_values(":p", AttributeValue::S(shard));
            if let Some(until) = until {
                let until = AttributeValue::S(until.to_owned());
                query = query
                    .expression_attribute_names("#s", index.order)
                    .expression_attribute_values(":s", until);
            }
            pages(query, limit)
        });
        Ok(try_join_all(shards).await?.concat())
    }

    /// The items of `keys` that are there, in no order, as the last writes left them.
    pub(super) async fn get_all(&self, keys: Vec<Key>) -> Result<Vec<Item>, RecordsError> {
        let mut found = Vec::with_capacity(keys.len());
        for batch in keys.chunks(BATCH) {
            let mut wanted: Vec<Item> = batch.iter().cloned().map(Key::into_item).collect();
            let mut attempt = 0;
            while !wanted.is_empty() {
                if attempt == BATCH_ATTEMPTS {
                    let why = "BatchGetItem: the table keeps leaving some records for later".to_owned();
                    return Err(RecordsError::Unavailable(why));
                }
                if attempt > 0 {
                    tokio::time::sleep(Duration::from_millis(25) * 2_u32.pow(attempt)).await;
                }
                attempt += 1;
                let (items, left) = self.get_batch(wanted).await?;
                found.extend(items);
                wanted = left;
            }
        }
        Ok(found)
    }

    /// The items of some of `keys`, and the keys that were left for later.
    async fn get_batch(&self, keys: Vec<Item>) -> Result<(Vec<Item>, Vec<Item>), RecordsError> {
        let request = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
        let request = request.map_err(|error| RecordsError::Malformed(error.to_string()))?;
        let answer = self.client.batch_get_item().request_items(&self.table, request).send().await;
        let answer = answer.map_err(|error| RecordsError::Unavailable(explain("BatchGetItem", &error)))?;
        // The table may be named by its ARN in the answer; there is but one.
        let items = answer.responses.unwrap_or_default().into_values().flatten().collect();
        let left =
            answer.unprocessed_keys.unwrap_or_default().into_values().flat_map(|keys| keys.keys).collect();
        Ok((items, left))
    }
}

/// The first `limit` items of a query, however many pages they are on.
async fn pages(
    query: aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder,
    limit: usize,
) -> Result<Vec<Item>, RecordsError> {
    let mut items = Vec::new();
    let mut from = None;
    while items.len() < limit {
        let most = i32::try_from(limit - items.len()).unwrap_or(i32::MAX);
        let page = query.clone().limit(most).set_exclusive_start_key(from).send().await;
        let page = page.map_err(|error| RecordsError::Unavailable(explain("Query", &error)))?;
        items.extend(page.items.unwrap_or_default());
        from = page.last_evaluated_key;
        if from.is_none() {
            break;
        }
    }
    items.truncate(limit);
    Ok(items)
}
