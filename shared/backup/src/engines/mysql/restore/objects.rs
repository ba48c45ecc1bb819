//! What is in a database besides rows, and the SQL that makes it again.

use std::{collections::BTreeSet, fmt::Write as _};

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;

use super::{
    failure::{failure, of_end},
    lines::Lines,
    session::{self, Row, identifier, literal, text},
};
use crate::{
    engines::mysql::{access::Access, dump::is_whole, failure::Fault, process},
    error::SliceError,
};

/// Names of what is in a database.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Objects {
    /// Whatever has rows, sequences among it.
    pub(super) tables: Vec<String>,
    pub(super) views: Vec<String>,
    pub(super) triggers: Vec<String>,
    /// Each with what it is, such as `PROCEDURE`.
    pub(super) routines: Vec<(String, String)>,
    pub(super) events: Vec<String>,
}

impl Objects {
    /// Asks for what is in `database`.
    pub(super) async fn of(access: &Access, database: &str) -> Result<Self, SliceError> {
        let name = literal(database);
        let sql = format!(
            "SELECT 'table', table_name FROM information_schema.tables
                WHERE table_schema = {name} AND table_type NOT IN ('VIEW', 'SYSTEM VIEW') ORDER BY 2;
             SELECT 'view', table_name FROM information_schema.views WHERE table_schema = {name} ORDER BY 2;
             SELECT 'trigger', trigger_name FROM information_schema.triggers WHERE trigger_schema = {name} ORDER BY 2;
             SELECT routine_type, routine_name FROM information_schema.routines WHERE routine_schema = {name} ORDER BY 1, 2;
             SELECT 'event', event_name FROM information_schema.events WHERE event_schema = {name} ORDER BY 2;"
        );
        let mut objects = Self::default();
        for row in session::ask(access, None, sql).await? {
            let (kind, name) = (text(&row, 0), text(&row, 1));
            match kind.as_str() {
                "table" => objects.tables.push(name),
                "view" => objects.views.push(name),
                "trigger" => objects.triggers.push(name),
                "event" => objects.events.push(name),
                // It goes and comes with its package.
                "PACKAGE BODY" => {}
                _ => objects.routines.push((kind, name)),
            }
        }
        Ok(objects)
    }

    /// Whether there is nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Those that `other` has too, but for tables.
    pub(super) fn shared_with(mut self, other: &Self) -> Self {
        self.views.retain(|view| other.views.contains(view));
        self.triggers.retain(|trigger| other.triggers.contains(trigger));
        self.routines.retain(|routine| other.routines.contains(routine));
        self.events.retain(|event| other.events.contains(event));
        self
    }

    /// The statements that drop triggers.
    pub(super) fn drop_triggers(&self, database: &str) -> String {
        drop_each("TRIGGER", database, &self.triggers)
    }

    /// The statements that drop views, routines and events.
    pub(super) fn drop_others(&self, database: &str) -> String {
        let routines: String =
            self.routines.iter().map(|(kind, name)| drop_each(kind, database, [name])).collect();
        drop_views(database, &self.views) + &routines + &drop_each("EVENT", database, &self.events)
    }
}

/// The statements that drop views.
pub(super) fn drop_views<'a>(database: &str, views: impl IntoIterator<Item = &'a String>) -> String {
    drop_each("VIEW", database, views)
}

fn drop_each<'a>(kind: &str, database: &str, names: impl IntoIterator<Item = &'a String>) -> String {
    let each =
        |name: &String| format!("DROP {kind} IF EXISTS {}.{};\n", identifier(database), identifier(name));
    names.into_iter().map(each).collect()
}

/// The SQL that makes the triggers, routines and events of `database` again in whichever database is chosen: as the stock dump
/// program writes it, with the settings that each of them was made with.
pub(super) async fn programs(
    access: &Access,
    database: &str,
    objects: &Objects,
) -> Result<Vec<u8>, SliceError> {
    if objects.triggers.is_empty() && objects.routines.is_empty() && objects.events.is_empty() {
        return Ok(Vec::new());
    }
    let service = &access.service;
    let broken = |words: String| failure(service, Fault::DumpFailed, &words);
    let passed_over: Vec<String> =
        objects.views.iter().map(|view| format!("--ignore-table={database}.{view}")).collect();
    let mut arguments = vec![
        "--no-data",
        "--no-create-info",
        "--skip-lock-tables",
        "--triggers",
        "--routines",
        "--events",
        "--no-tablespaces",
        "--default-character-set=utf8mb4",
    ];
    if access.programs.family == crate::engines::mysql::greeting::Family::MySql {
        arguments.extend(["--set-gtid-purged=OFF", "--column-statistics=0"]);
    }
    arguments.extend(passed_over.iter().map(String::as_str));
    arguments.extend(["--", database]);
    let program = &access.programs.dump;
    let mut child = process::start(program, access.settings(), &arguments)
        .await
        .map_err(|error| broken(format!("{} could not be started: {error}", program.display())))?;
    let (Some(mut stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(broken("the output of the dump program is not there".to_owned()));
    };
    let mut written = Vec::new();
    let (read, said) = tokio::join!(stdout.read_to_end(&mut written), process::last_words(stderr));
    let status = child.wait().await.map_err(|error| broken(error.to_string()))?;
    if !status.success() {
        return Err(of_end(service, status, &said));
    }
    read.map_err(|error| broken(error.to_string()))?;
    let mut lines = Lines::new(false);
    let mut sql = lines.push(&written);
    let (rest, tail) = lines.finish();
    sql.extend(rest);
    if !is_whole(&tail) {
        return Err(broken(format!("the dump program did not come to its end: {said}")));
    }
    Ok(sql)
}

/// A view as its server shows it.
struct View {
    name: String,
    sql: Vec<u8>,
    client: String,
    collation: String,
}

/// The SQL that makes the views of `database` again in `place`: one piece for each, after those that it reads.
pub(super) async fn views(
    access: &Access,
    database: &str,
    objects: &Objects,
    place: &str,
) -> Result<Vec<Vec<u8>>, SliceError> {
    if objects.views.is_empty() {
        return Ok(Vec::new());
    }
    // Where no database is chosen, every name has that of its database before it. What is written in another character set
    // stays as it is written.
    let mut sql = "SET character_set_results = 'binary';\n".to_owned();
    for view in &objects.views {
        let _ = writeln!(sql, "SHOW CREATE VIEW {}.{};", identifier(database), identifier(view));
    }
    let rows = session::ask(access, None, sql).await?;
    if rows.len() != objects.views.len() {
        let words = format!("the server shows {} of {} views", rows.len(), objects.views.len());
        return Err(failure(&access.service, Fault::Refused, &words));
    }
    let shown = |(row, name): (&Row, &String)| View {
        name: name.clone(),
        sql: row.get(1).cloned().unwrap_or_default(),
        client: text(row, 2),
        collation: text(row, 3),
    };
    let views: Vec<View> = rows.iter().zip(&objects.views).map(shown).collect();
    let (from, to) = (identifier(database), identifier(place));
    let made = in_order(views, database).into_iter().map(|view| {
        let settings = format!(
            "SET character_set_client = {}, collation_connection = {};\n",
            literal(&view.client),
            literal(&view.collation)
        );
        let sql = replaced(&view.sql, from.as_bytes(), to.as_bytes());
        [settings.as_bytes(), &sql, b";\nSET NAMES utf8mb4;\n"].concat()
    });
    Ok(made.collect())
}

/// Each view after those whose name is in its text.
fn in_order(views: Vec<View>, database: &str) -> Vec<View> {
    let names: BTreeSet<String> = views.iter().map(|view| view.name.clone()).collect();
    let mut waiting: Vec<(View, BTreeSet<String>)> = Vec::with_capacity(views.len());
    for view in views {
        let mut reads = named(&view.sql, database);
        reads.retain(|name| *name != view.name && names.contains(name));
        waiting.push((view, reads));
    }
    let (mut ordered, mut done) = (Vec::with_capacity(waiting.len()), BTreeSet::new());
    while !waiting.is_empty() {
        let (ready, rest): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(_, reads)| reads.is_subset(&done));
        let is_stuck = ready.is_empty();
        done.extend(ready.iter().map(|(view, _)| view.name.clone()));
        ordered.extend(ready.into_iter().map(|(view, _)| view));
        if is_stuck {
            // The server says better what it does not like about them.
            ordered.extend(rest.into_iter().map(|(view, _)| view));
            break;
        }
        waiting = rest;
    }
    ordered
}

/// The names in `sql` that have the name of the database before them.
fn named(sql: &[u8], database: &str) -> BTreeSet<String> {
    let before = format!("{}.`", identifier(database)).into_bytes();
    let mut names = BTreeSet::new();
    let mut rest = sql;
    while let Some(at) = rest.windows(before.len()).position(|window| window == before) {
        rest = &rest[at + before.len()..];
        let mut name = Vec::new();
        let mut bytes = rest.iter().peekable();
        while let Some(byte) = bytes.next() {
            // A backtick in a name is written twice.
            if *byte == b'`' && bytes.next_if(|next| **next == b'`').is_none() {
                break;
            }
            name.push(*byte);
        }
        names.insert(String::from_utf8_lossy(&name).into_owned());
    }
    names
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        if rest.starts_with(from) {
            out.extend_from_slice(to);
            rest = &rest[from.len()..];
        } else {
            out.push(rest[0]);
            rest = &rest[1..];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: &str, sql: &str) -> View {
        View { name: name.to_owned(), sql: sql.into(), client: String::new(), collation: String::new() }
    }

    #[test]
    fn a_view_comes_after_those_it_reads() {
        let views = vec![
            view("a", "CREATE VIEW `x`.`a` AS select `x`.`c`.`n` from `x`.`c` join `x`.`t`"),
            view("b", "CREATE VIEW `x`.`b` AS select 1"),
            view("c", "CREATE VIEW `x`.`c` AS select * from `x`.`b``d`"),
            view("b`d", "CREATE VIEW `x`.`b``d` AS select * from `x`.`b`"),
        ];
        let names: Vec<String> = in_order(views, "x").into_iter().map(|view| view.name).collect();
        assert_eq!(names, ["b", "b`d", "c", "a"]);
    }

    #[test]
    fn every_name_is_replaced() {
        let sql = b"CREATE VIEW `x`.`v` AS select `x`.`t`.`x1` from `x`.`t`";
        assert_eq!(
            replaced(sql, b"`x`", b"`yy`"),
            b"CREATE VIEW `yy`.`v` AS select `yy`.`t`.`x1` from `yy`.`t`"
        );
    }
}
