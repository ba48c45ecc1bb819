//! What is in a database that was restored to see what comes of it.

use holdfast_domain::restore::Restored;

use super::{
    objects::Objects,
    session::{self, Session, identifier, text},
};
use crate::{engines::mysql::access::Access, error::SliceError};

/// Counts the tables of `database` and their rows. Its events are dropped first: they would begin to work.
pub(super) async fn count(access: &Access, database: &str) -> Result<Restored, SliceError> {
    let objects = Objects::of(access, database).await?;
    session::ask(access, None, objects.drop_others(database)).await?;
    let mut session = Session::open(access, None).await?;
    let mut rows = 0;
    for table in &objects.tables {
        let sql = format!("SELECT COUNT(*) FROM {}.{};", identifier(database), identifier(table));
        let counted = session.ask(&sql).await?;
        rows += counted.first().and_then(|row| text(row, 0).parse::<u64>().ok()).unwrap_or(0);
    }
    session.finish().await?;
    Ok(Restored {
        tables: Some(objects.tables.len() as u64),
        rows: Some(rows),
        rows_compared: false,
        changes: None,
        files_compared: None,
        notes: vec![
            "Rows were counted, and compared with nothing: a dump does not say how many there were."
                .to_owned(),
        ],
    })
}
