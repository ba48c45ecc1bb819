//! The new database takes the place of its target.
//!
//! Tables are exchanged by one `RENAME TABLE`, which happens as a whole or not at all: those of the target go to a database of
//! their own, the new ones come in. A table with triggers cannot go to another database, and views, routines and events can
//! in no way; they are dropped and made anew, before and right after it. So what the target was is written down first
//! (`journal.rs`), and whatever interrupts it, it is put back from there.

use std::fmt::Write as _;

use super::{
    journal::{self, Undo},
    names::{Names, OURS},
    objects::{self, Objects},
    session::{self, Session, identifier, literal, text},
    written::{from_hex, to_hex},
};
use crate::{engines::mysql::access::Access, error::SliceError};

/// A target and the two databases beside it.
pub(super) struct Place<'a> {
    pub(super) access: &'a Access,
    /// The target.
    pub(super) target: &'a str,
    /// Whether it is there.
    pub(super) existed: bool,
    /// Its character set and collation, as `CREATE DATABASE` takes them.
    pub(super) options: String,
    /// What the names of the databases beside it end in.
    pub(super) random: String,
    /// What is to take its place.
    pub(super) new: String,
    /// What says how much of that is there, if the restore takes several slices.
    pub(super) paused: String,
    /// What gets the tables that it had.
    pub(super) away: String,
}

impl Place<'_> {
    /// Makes the new database.
    pub(super) async fn make(&self) -> Result<(), SliceError> {
        let sql = format!("CREATE DATABASE {} {};", identifier(&self.new), self.options);
        session::ask(self.access, None, sql).await.map(drop)
    }

    /// Makes the exchange; gives how many tables came in. After an error the target has to be put back.
    pub(super) async fn exchange(&self) -> Result<u64, SliceError> {
        let Self { access, target, existed, options, new, away, .. } = self;
        let comes = Objects::of(access, new).await?;
        let programs = objects::programs(access, new, &comes).await?;
        let views = objects::views(access, new, &comes, target).await?;
        // Events would begin to work on what is restored, and triggers keep tables where they are.
        session::ask(access, None, comes.drop_triggers(new) + &comes.drop_others(new)).await?;

        let was = if *existed { Objects::of(access, target).await? } else { Objects::default() };
        let old_views = objects::views(access, target, &was, target).await?;
        let programs_before = to_hex(&objects::programs(access, target, &was).await?);
        let mut session = Session::open(access, None).await?;
        let undo = Undo {
            session: session.id.clone(),
            new: new.clone(),
            comes,
            existed: *existed,
            options: options.clone(),
            programs: programs_before,
            views: old_views.iter().map(|view| to_hex(view)).collect(),
            was,
        };
        session::ask(access, None, format!("CREATE DATABASE {} {options};", identifier(away))).await?;
        undo.write(access, away).await?;
        session.run(&self.statements(&undo, &programs, &views)).await?;
        Ok(undo.comes.tables.len() as u64)
    }

    fn statements(&self, undo: &Undo, programs: &[u8], views: &[Vec<u8>]) -> Vec<u8> {
        let Self { target, existed, options, new, away, .. } = self;
        let (comes, was) = (&undo.comes, &undo.was);
        let mut before = String::new();
        if !existed {
            let _ = writeln!(before, "CREATE DATABASE {} {options};", identifier(target));
        }
        if !was.tables.is_empty() {
            // Whoever works with a table for long is found out before anything is touched.
            let tables = was.tables.iter();
            let locks: Vec<_> =
                tables.map(|table| format!("{}.{} WRITE", identifier(target), identifier(table))).collect();
            let _ = writeln!(before, "LOCK TABLES {};", locks.join(", "));
            before.push_str(&was.drop_triggers(target));
            before.push_str("UNLOCK TABLES;\n");
        }
        let in_the_way = was.views.iter().filter(|view| comes.tables.contains(view));
        before.push_str(&objects::drop_views(target, in_the_way));
        before.push_str(&rename([(target, away, &was.tables), (new, target, &comes.tables)]));
        before.push_str(&was.drop_others(target));
        let _ = writeln!(before, "USE {};", identifier(target));
        let mut after = String::new();
        if *existed {
            // What is older than the character set of the database that was dumped may have brought that along.
            let _ = writeln!(after, "ALTER DATABASE {} {options};", identifier(target));
        }
        after.push_str(&journal::done(away));
        [before.as_bytes(), programs, &views.concat(), after.as_bytes()].concat()
    }
}

/// Puts `target` back as it was, if an exchange was begun with `away` and has not happened. It can be repeated.
async fn put_back(access: &Access, target: &str, away: &str) -> Result<(), SliceError> {
    // Nobody exchanges any more after that.
    journal::is_done(access, away).await?;
    let Some(undo) = Undo::read(access, away).await? else { return Ok(()) };
    let Undo { session: _, new, comes, existed, options, was, programs, views } = undo;
    let now = Objects::of(access, target).await?;
    let gone = Objects::of(access, away).await?;
    let is_exchanged = if was.tables.is_empty() {
        !comes.tables.is_empty() && Objects::of(access, &new).await?.tables.is_empty()
    } else {
        gone.tables.iter().any(|table| table != journal::TABLE && was.tables.contains(table))
    };
    if !is_exchanged && now == was {
        return session::ask(access, None, journal::forget(away)).await.map(drop);
    }
    // Of what was not there before only what came with the restore is ours to drop.
    let dropped = if existed { now.clone() } else { now.clone().shared_with(&comes) };
    let mut sql = dropped.drop_triggers(target);
    if is_exchanged {
        let back: Vec<_> = comes.tables.into_iter().filter(|table| now.tables.contains(table)).collect();
        sql.push_str(&objects::drop_views(target, now.views.iter().filter(|view| was.tables.contains(view))));
        sql.push_str(&rename([(target, &new, &back), (away, target, &was.tables)]));
    }
    sql.push_str(&dropped.drop_others(target));
    if existed {
        let _ = writeln!(sql, "USE {};", identifier(target));
        let mut sql = sql.into_bytes();
        sql.extend(from_hex(&programs));
        sql.extend(format!("ALTER DATABASE {} {options};\n", identifier(target)).bytes());
        session::ask(access, None, sql).await?;
        for view in views {
            put_view_back(access, target, &from_hex(&view)).await?;
        }
    } else {
        session::ask(access, None, sql).await?;
        if Objects::of(access, target).await?.is_empty() {
            session::ask(access, None, format!("DROP DATABASE IF EXISTS {};", identifier(target))).await?;
        }
    }
    session::ask(access, None, journal::forget(away)).await.map(drop)
}

/// Makes a view again. One that cannot be made could not be read before either.
async fn put_view_back(access: &Access, target: &str, view: &[u8]) -> Result<(), SliceError> {
    match session::ask(access, Some(target), view).await {
        Err(SliceError::Failed(failure)) if failure.code == "restore_refused" => {
            tracing::warn!(failure.message, "a view that was broken is left out");
            Ok(())
        }
        other => other.map(drop),
    }
}

/// The statement that moves tables, each from one database to another: all of them at once.
fn rename(moves: [(&str, &str, &[String]); 2]) -> String {
    let each = moves.into_iter().flat_map(|(from, to, tables)| {
        tables.iter().map(move |table| {
            let table = identifier(table);
            format!("{}.{table} TO {}.{table}", identifier(from), identifier(to))
        })
    });
    let each: Vec<String> = each.collect();
    if each.is_empty() { String::new() } else { format!("RENAME TABLE {};\n", each.join(", ")) }
}

/// What restores into one target have made beside it.
pub(super) struct Beside {
    /// Databases that say how far one is.
    pub(super) paused: Vec<String>,
    /// Those that are being filled.
    pub(super) new: Vec<String>,
    /// Those that get what is replaced.
    away: Vec<String>,
    /// The server's clock then, in seconds since 1970.
    pub(super) now: i64,
}

impl Beside {
    pub(super) async fn find(access: &Access, names: &Names) -> Result<Self, SliceError> {
        let sql = format!(
            "SELECT UNIX_TIMESTAMP();
             SELECT schema_name FROM information_schema.schemata WHERE LEFT(schema_name, {}) = {};",
            OURS.len(),
            literal(OURS)
        );
        let rows = session::ask(access, None, sql).await?;
        let mut rows = rows.iter().map(|row| text(row, 0));
        let now = rows.next().and_then(|now| now.parse().ok()).unwrap_or(i64::MAX);
        let all: Vec<String> = rows.collect();
        let beginning_with =
            |prefix: &String| all.iter().filter(|name| name.starts_with(prefix)).cloned().collect();
        let Names { new, paused, away, .. } = names;
        Ok(Self { paused: beginning_with(paused), new: beginning_with(new), away: beginning_with(away), now })
    }
}

/// Drops what is `beside` `target` and was made by restores that were killed, but for what is `kept`; and puts the target back where
/// that is due, if `puts_back`. Nobody else may be restoring it.
pub(super) async fn clear(
    access: &Access,
    target: &str,
    beside: Beside,
    kept: &[String],
    puts_back: bool,
) -> Result<(), SliceError> {
    let away = if puts_back { beside.away } else { Vec::new() };
    // What says how far one is goes first: nobody goes on with half of it.
    let new = beside.paused.into_iter().chain(beside.new);
    let (kept, new): (Vec<String>, Vec<String>) = new.partition(|name| kept.contains(name));
    for database in kept {
        // What was loaded by whoever was killed is loaded once more.
        session::kill_in(access, &database).await?;
    }
    drop_beside(access, target, &new, &away).await
}

/// Drops these databases, after putting the target back where that is due.
pub(super) async fn drop_beside(
    access: &Access,
    target: &str,
    new: &[String],
    away: &[String],
) -> Result<(), SliceError> {
    for away in away {
        put_back(access, target, away).await?;
    }
    if new.is_empty() && away.is_empty() {
        return Ok(());
    }
    for database in new {
        // A worker that was killed while it loaded may have left tables locked, in a session that has not ended.
        session::kill_in(access, database).await?;
    }
    let mut sql = "SET SESSION foreign_key_checks = 0;\n".to_owned();
    for database in new.iter().chain(away) {
        let _ = writeln!(sql, "DROP DATABASE IF EXISTS {};", identifier(database));
    }
    session::ask(access, None, sql).await.map(drop)
}
