//! Sessions that copy rows: each takes the largest table that is left when it is done with one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    copier::{Copier, end},
    facts::TableRows,
};
use crate::{engines::postgres::login::Session, error::SliceError};

/// What the sessions share.
pub(super) struct RowCopy {
    copier: Copier,
    tables: Mutex<VecDeque<TableRows>>,
}

impl RowCopy {
    /// Copies `tables`.
    pub(super) fn new(copier: Copier, mut tables: Vec<TableRows>) -> Self {
        tables.sort_by_key(|table| std::cmp::Reverse(table.bytes));
        Self { copier, tables: Mutex::new(tables.into()) }
    }

    /// Copies tables until there are none left. Unless `must`, it leaves the work to others if the server has no session to give.
    pub(super) async fn run(self: Arc<Self>, must: bool) -> Result<(), SliceError> {
        let Some(first) = self.next() else { return Ok(()) };
        let mut session = match self.copier.begin().await {
            Ok(session) => session,
            Err(SliceError::Failed(failure)) if failure.code == "too_many_connections" && !must => {
                self.tables().push_front(first);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut next = Some(first);
        while let Some(table) = next {
            self.copy(&mut session, &table).await?;
            next = self.next();
        }
        end(session).await;
        Ok(())
    }

    fn next(&self) -> Option<TableRows> {
        self.tables().pop_front()
    }

    fn tables(&self) -> std::sync::MutexGuard<'_, VecDeque<TableRows>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies the rows of one table, those of a new one in the transaction in which it was emptied.
    async fn copy(&self, session: &mut Session, table: &TableRows) -> Result<(), SliceError> {
        if !table.is_fresh {
            return self.copier.copy(session, table, false).await;
        }
        self.copier.ask(session, &[b"BEGIN; TRUNCATE TABLE ONLY ", &table.name[..]].concat()).await?;
        self.copier.copy(session, table, true).await?;
        self.copier.ask(session, b"COMMIT").await
    }
}
