//! What is in a database that was restored to see what comes of it, counted by the server and compared with what was counted when it was
//! dumped.

use std::collections::BTreeSet;

use holdfast_domain::restore::Restored;

use super::{
    objects::Objects,
    session::{self, Session, identifier, literal, text},
};
use crate::{
    engines::{
        mysql::{access::Access, rows::RowCounts},
        restorer::restored_differs,
    },
    error::SliceError,
};

/// What is said where there is nothing to compare with.
const NOT_TOLD: &str = "The backup does not say how many rows there were: they were only counted.";

/// Counts the tables of `database` and their rows, which should be as many as were `told`. Its events are dropped first: they would
/// begin to work.
pub(super) async fn count(
    access: &Access,
    database: &str,
    told: Option<&RowCounts>,
) -> Result<Restored, SliceError> {
    let objects = Objects::of(access, database).await?;
    session::ask(access, None, objects.drop_others(database)).await?;
    let mut session = Session::open(access, None).await?;
    // A sequence has a row, and no dump inserts it.
    let sequences = format!(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = {} AND table_type = 'SEQUENCE';",
        literal(database)
    );
    let sequences: BTreeSet<String> = session.ask(&sequences).await?.iter().map(|row| text(row, 0)).collect();
    let mut counts = RowCounts::default();
    for table in objects.tables.iter().filter(|table| !sequences.contains(*table)) {
        let sql = format!("SELECT COUNT(*) FROM {}.{};", identifier(database), identifier(table));
        let counted = session.ask(&sql).await?;
        let rows = counted.first().and_then(|row| text(row, 0).parse().ok()).unwrap_or(0);
        counts.0.insert(table.clone(), rows);
    }
    session.finish().await?;
    if let Some(difference) = told.and_then(|told| counts.difference(told)) {
        return Err(restored_differs(&difference));
    }
    Ok(Restored {
        tables: Some(counts.0.len() as u64),
        rows: Some(counts.rows()),
        rows_compared: told.is_some(),
        values_compared: None,
        changes: None,
        files_compared: None,
        notes: if told.is_some() { vec![] } else { vec![NOT_TOLD.to_owned()] },
    })
}
