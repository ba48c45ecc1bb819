use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    error::{BuildError, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        AttributeValue, CancellationReason, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure,
        TransactWriteItem,
    },
};
use holdfast_backup::ports::RecordsError;
use holdfast_domain::id::{BackupId, RestoreId};

use super::{
    DynamoRecords,
    key::{Item, Key},
};
use crate::explain::explain;

/// How often a transaction that met another one is tried, the first time included. The SDK does not repeat these.
const ATTEMPTS: u32 = 6;

/// How much longer it waits after it was throttled: five to ten seconds in all.
const THROTTLED: u32 = 8;

/// What must hold for a write to happen.
#[derive(Debug, Clone, Copy)]
pub(super) enum Condition {
    /// Nothing.
    Any,
    /// The item is not there.
    Absent,
    /// The item is there.
    Present,
    /// The item has this version.
    Version(u64),
    /// The item is claimed by this backup.
    ClaimedBy(BackupId),
    /// The item is claimed by this restore.
    ClaimedByRestore(RestoreId),
}

impl Condition {
    /// The version that a record must have; none if it must not be there.
    pub(super) fn expected(version: Option<u64>) -> Self {
        version.map_or(Self::Absent, Self::Version)
    }

    /// The expression, and the name and value in it.
    fn expression(self) -> Option<(&'static str, &'static str, Option<AttributeValue>)> {
        match self {
            Self::Any => None,
            Self::Absent => Some(("attribute_not_exists(#a)", "pk", None)),
            Self::Present => Some(("attribute_exists(#a)", "pk", None)),
            Self::Version(version) => {
                Some(("#a = :v", "version", Some(AttributeValue::N(version.to_string()))))
            }
            Self::ClaimedBy(backup) => {
                Some(("#a = :v", "backup", Some(AttributeValue::S(backup.to_string()))))
            }
            Self::ClaimedByRestore(restore) => {
                Some(("#a = :v", "restore", Some(AttributeValue::S(restore.to_string()))))
            }
        }
    }
}

/// Why a transaction did not happen; nothing of it did.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Conditions did not hold: one entry for each write, with the item that stood against it.
    Conditions(Vec<Option<Item>>),
    /// It could not be tried, or no answer came.
    Failed(RecordsError),
}

impl From<Refusal> for RecordsError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conditions(_) => Self::Conflict,
            Refusal::Failed(error) => error,
        }
    }
}

/// Writes that happen together or not at all.
pub(super) struct Transaction<'a> {
    client: &'a Client,
    table: &'a str,
    writes: Vec<TransactWriteItem>,
}

impl DynamoRecords {
    pub(super) fn transaction(&self) -> Transaction<'_> {
        Transaction { client: &self.client, table: &self.table, writes: Vec::new() }
    }
}

/// Adds a condition to one of the SDK's builders, which share no trait.
macro_rules! conditional {
    ($builder:expr, $condition:expr) => {{
        let mut builder =
            $builder.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some((expression, name, value)) = $condition.expression() {
            builder = builder.condition_expression(expression).expression_attribute_names("#a", name);
            if let Some(value) = value {
                builder = builder.expression_attribute_values(":v", value);
            }
        }
        builder.build()
    }};
}

impl Transaction<'_> {
    /// Adds the writing of an item; says its place among the writes.
    pub(super) fn put(&mut self, item: Item, condition: Condition) -> Result<usize, RecordsError> {
        let put = conditional!(Put::builder().table_name(self.table).set_item(Some(item)), condition);
        Ok(self.add(TransactWriteItem::builder().put(put.map_err(|error| unbuildable(&error))?).build()))
    }

    /// Adds the deletion of an item.
    pub(super) fn delete(&mut self, key: Key, condition: Condition) -> Result<usize, RecordsError> {
        let builder = Delete::builder().table_name(self.table).set_key(Some(key.into_item()));
        let delete = conditional!(builder, condition);
        Ok(self
            .add(TransactWriteItem::builder().delete(delete.map_err(|error| unbuildable(&error))?).build()))
    }

    /// Adds a condition on an item that is not written.
    pub(super) fn check(&mut self, key: Key, condition: Condition) -> Result<usize, RecordsError> {
        let builder = ConditionCheck::builder().table_name(self.table).set_key(Some(key.into_item()));
        let check = conditional!(builder, condition);
        Ok(self.add(
            TransactWriteItem::builder().condition_check(check.map_err(|error| unbuildable(&error))?).build(),
        ))
    }

    /// Does it all, or nothing. One that meets another transaction on the same items is tried again after a moment.
    ///
    /// One that may still be under way is asked for with its own token again: it would otherwise stand against itself.
    /// After a cancellation the token is a new one, since the old one's answer is kept.
    pub(super) async fn commit(self) -> Result<(), Refusal> {
        let mut attempt = 1;
        let mut token = new_token();
        loop {
            let request = self.client.transact_write_items().set_transact_items(Some(self.writes.clone()));
            let Err(error) = request.client_request_token(token.clone()).send().await else { return Ok(()) };
            match refusal(&error) {
                Cancelled::Refused(refusal) => return Err(refusal),
                Cancelled::Throttled if attempt == ATTEMPTS => {
                    return Err(unavailable("DynamoDB kept throttling it; try again"));
                }
                _ if attempt == ATTEMPTS => {
                    return Err(unavailable("others kept writing the same records; try again"));
                }
                again => {
                    let longer = if matches!(again, Cancelled::Throttled) { THROTTLED } else { 1 };
                    tokio::time::sleep(pause(attempt) * longer).await;
                    attempt += 1;
                    if !matches!(again, Cancelled::UnderWay) {
                        token = new_token();
                    }
                }
            }
        }
    }

    fn add(&mut self, write: TransactWriteItem) -> usize {
        self.writes.push(write);
        self.writes.len() - 1
    }
}

/// What became of a transaction that did not happen.
#[derive(Debug)]
enum Cancelled {
    /// Another one was writing the same items at that moment.
    Contended,
    /// The table took no more at that moment. The SDK tries again what is throttled as a whole, and not what says so by its reasons.
    Throttled,
    /// It is still being done: an earlier try of the very same.
    UnderWay,
    /// It would not happen now either.
    Refused(Refusal),
}

fn refusal<R>(error: &SdkError<TransactWriteItemsError, R>) -> Cancelled {
    let failed = || {
        Cancelled::Refused(Refusal::Failed(RecordsError::Unavailable(explain("TransactWriteItems", error))))
    };
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            judge(cancelled.cancellation_reasons()).unwrap_or_else(failed)
        }
        Some(TransactWriteItemsError::TransactionInProgressException(_)) => Cancelled::UnderWay,
        _ => failed(),
    }
}

fn unavailable(why: &str) -> Refusal {
    Refusal::Failed(RecordsError::Unavailable(format!("TransactWriteItems: {why}")))
}

/// What the reasons of a cancellation mean; `None` for all that is neither a condition, contention nor throttling.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
fn judge(reasons: &[CancellationReason]) -> Option<Cancelled> {
    let any = |code| reasons.iter().any(|reason| reason.code() == Some(code));
    // A condition that was looked at and did not hold is final, whatever stood in the way of the others.
    if any("ConditionalCheckFailed") {
        let against = |reason: &CancellationReason| {
            let failed = reason.code() == Some("ConditionalCheckFailed");
            failed.then(|| reason.item().cloned().unwrap_or_default())
        };
        return Some(Cancelled::Refused(Refusal::Conditions(reasons.iter().map(against).collect())));
    }
    if any("ThrottlingError") || any("ProvisionedThroughputExceeded") {
        return Some(Cancelled::Throttled);
    }
    any("TransactionConflict").then_some(Cancelled::Contended)
}

/// A token like no other.
fn new_token() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .expect("Linux has had getrandom(2) since 3.17, and sixteen bytes never fail");
    format!("{:032x}", u128::from_be_bytes(random))
}

/// 20 to 40 milliseconds, and twice as long each time, so that those who met do not meet again.
fn pause(attempt: u32) -> Duration {
    let mut random = [0];
    // Without randomness the pause is merely the shortest.
    getrandom::fill(&mut random).ok();
    let least = Duration::from_millis(20) * 2_u32.pow(attempt - 1);
    least + least * u32::from(random[0]) / 256
}

fn unbuildable(error: &BuildError) -> RecordsError {
    RecordsError::Malformed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(codes: &[&str]) -> Vec<CancellationReason> {
        codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect()
    }

    #[test]
    fn a_failed_condition_is_told_by_its_place() {
        let Some(Cancelled::Refused(Refusal::Conditions(against))) =
            judge(&reasons(&["None", "ConditionalCheckFailed"]))
        else {
            panic!("not a failed condition")
        };
        assert_eq!(against.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn a_failed_condition_weighs_more_than_contention() {
        let judged = judge(&reasons(&["TransactionConflict", "ConditionalCheckFailed"]));
        assert!(matches!(judged, Some(Cancelled::Refused(Refusal::Conditions(_)))), "{judged:?}");
    }

    #[test]
    fn contention_is_no_conflict() {
        let judged = judge(&reasons(&["None", "TransactionConflict"]));
        assert!(matches!(judged, Some(Cancelled::Contended)), "{judged:?}");
    }

    #[test]
    fn throttling_passes() {
        for code in ["ThrottlingError", "ProvisionedThroughputExceeded"] {
            assert!(matches!(judge(&reasons(&["TransactionConflict", code])), Some(Cancelled::Throttled)));
            let refused = judge(&reasons(&["ConditionalCheckFailed", code]));
            assert!(matches!(refused, Some(Cancelled::Refused(Refusal::Conditions(_)))));
        }
        assert!(judge(&reasons(&["None", "ValidationError"])).is_none());
    }

    #[test]
    fn pauses_grow_and_stay_short() {
        for attempt in 1..ATTEMPTS {
            let least = Duration::from_millis(20) * 2_u32.pow(attempt - 1);
            assert!((least..least * 2).contains(&pause(attempt)));
        }
    }
}
