//! The rows that are in a restored database, counted by the server once everything is made, and compared with those that were counted
//! when they were dumped: whatever runs while a database is restored may have taken some.

use super::{
    archive::Archive,
    copier::{Copier, end},
    facts::{CountedTable, counted},
};
use crate::{
    engines::{restorer::restored_differs, row_counts},
    error::SliceError,
};

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::engines::postgres) struct Counted {
    pub(in crate::engines::postgres) tables: u64,
    pub(in crate::engines::postgres) rows: u64,
    /// Whether each has as many as were written down when they were dumped.
    pub(in crate::engines::postgres) is_compared: bool,
    /// How many tables have the values that they have in the archive, where that was asked for.
    pub(in crate::engines::postgres) values_compared: Option<u64>,
    /// What is good to know.
    pub(in crate::engines::postgres) notes: Vec<String>,
}

/// Counts the rows of the tables that `archive` has made, in the database that `copier` copies into. Fails if a table has others than
/// it should.
pub(super) async fn count(copier: &Copier, archive: &Archive) -> Result<Counted, SliceError> {
    let (tables, others) = counted(archive);
    let mut session = copier.begin().await?;
    let mut found = Counted { is_compared: archive.row_counts.is_some(), ..Counted::default() };
    let (mut differing, mut closed) = (Vec::new(), 0);
    for CountedTable { name, rows } in &tables {
        let sql = [b"SELECT pg_catalog.count(*) FROM ONLY ", &name[..]].concat();
        let Some(counted) = copier.value_if_allowed(&mut session, &sql).await? else {
            closed += 1;
            continue;
        };
        let counted = counted.parse::<u64>().unwrap_or(0);
        found.tables += 1;
        found.rows += counted;
        if let Some(told) = rows.filter(|told| *told != counted) {
            differing.push(format!("{} has {counted} rows, and had {told}", String::from_utf8_lossy(name)));
        }
    }
    end(session).await;
    if let Some(differing) = row_counts::differing(differing) {
        return Err(restored_differs(&differing));
    }
    if others > 0 {
        found.notes.push(format!(
            "{others} tables were not counted again: extensions make them, or their rows go to whichever partition takes them"
        ));
    }
    if closed > 0 {
        found.notes.push(format!("{closed} tables were not counted again: this role may not read them"));
    }
    if archive.row_counts.is_none() {
        found
            .notes
            .push("the backup does not say how many rows there were: they were only counted".to_owned());
    }
    Ok(found)
}
