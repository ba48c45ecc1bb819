//! `DynamoDB`: the table of records, and the shapes of its items, which nothing else knows.
//!
//! | `pk` | `sk` | what |
//! |---|---|---|
//! | `APP#{application}` | `APP` | an application; in the index `due` while it has a next run |
//! | `APP#{application}` | `BACKUP#{id}` | a backup; in the index `open` while it is queued or running |
//! | `APP#{application}` | `SLOT#{moment}` | the backup of a slot |
//! | `APP#{application}` | `TURN#{trigger}` | the open backup of a trigger |
//! | `APP#{application}` | `IDEMPOTENCY#{key}` | what a key was used for; goes by itself after 48 hours |
//! | `APP#{application}` | `RESTORE#{id}` | a restore; in the index `open` while it is queued or running |
//! | `APP#{application}` | `TURN#restore` | the open restore |
//! | `APP#{application}` | `RESTORE-IDEMPOTENCY#{key}` | what a key was used for among restores; goes by itself after 48 hours |
//! | `APP#{application}` | `AUDIT#{id}` | a line of the audit trail |
//! | `APPS` | slug | which applications there are |
//! | `REMOVED` | slug | which applications were removed and still have something to look after |
//! | `PLANS` | slug | a plan |
//! | `PLAN#{plan}` | `AUDIT#{id}` | a line of a plan's audit trail |
//! | `BACKUP#{id}` | `SOURCE` | what a backup is made of; goes by itself after 90 days |
//! | `RESTORE#{id}` | `SOURCE` | what is restored; goes by itself after 90 days |
//! | `BACKUP#{id}` | `SERVICE#{name}` | how far a backup has come with one service |
//! | `SERVER#{host}:{port}` | `SEATS` | which backups dump a database of that server |
//!
//! Every write is a transaction, even one of a single item: its token makes the SDK's own repetition of a write whose
//! answer was lost a success, where a bare conditional write would find its own version and report a conflict.

mod application;
mod audit;
mod backup;
mod catalog;
mod claim;
mod creation;
mod index;
mod key;
mod plan;
mod read;
mod records;
mod restore;
mod service_run;
mod source;
mod stored;
mod transaction;

use aws_sdk_dynamodb::Client;

/// Records in a `DynamoDB` table.
pub struct DynamoRecords {
    client: Client,
    table: String,
}

impl DynamoRecords {
    /// Records in `table`.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }
}
