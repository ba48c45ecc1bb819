//! What the server says about itself, the account and the target, before anything is changed.

use super::{
    names::OURS,
    session::{self, literal, text},
};
use crate::{
    engines::mysql::{access::Access, greeting::short, questions::show_grants},
    error::SliceError,
};

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Survey {
    /// Such as `10.11.19-MariaDB`.
    pub(super) version: String,
    pub(super) is_read_only: bool,
    /// The account, as definers are written.
    pub(super) account: String,
    /// The lines of `SHOW GRANTS`.
    pub(super) grants: Vec<String>,
    /// Something that the names of new databases end in.
    pub(super) random: String,
    /// The target, if it is there.
    pub(super) target: Option<Target>,
    /// Tables of other databases with foreign keys to tables of the target, a few.
    pub(super) referrers: Vec<String>,
}

/// A database that is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Target {
    pub(super) charset: String,
    pub(super) collation: String,
    pub(super) tables: u64,
    pub(super) views: u64,
    pub(super) triggers: u64,
    pub(super) routines: u64,
    pub(super) events: u64,
    /// Whose rights its views, triggers, routines and events have.
    pub(super) definers: Vec<String>,
}

impl Target {
    /// Whether there is anything in it.
    pub(super) fn is_occupied(&self) -> bool {
        self.tables + self.views + self.routines + self.events > 0
    }
}

/// Asks the server.
pub(super) async fn survey(access: &Access) -> Result<Survey, SliceError> {
    let name = literal(&access.service.database);
    let sql = format!(
        "SELECT 'server', VERSION(), @@global.read_only, CURRENT_USER(), LEFT(MD5(CONCAT(UUID(), RAND())), 12);
         SELECT 'schema', default_character_set_name, default_collation_name
            FROM information_schema.schemata WHERE schema_name = {name};
         SELECT 'tables', COUNT(*) FROM information_schema.tables
            WHERE table_schema = {name} AND table_type NOT IN ('VIEW', 'SYSTEM VIEW');
         SELECT 'views', COUNT(*) FROM information_schema.views WHERE table_schema = {name};
         SELECT 'triggers', COUNT(*) FROM information_schema.triggers WHERE trigger_schema = {name};
         SELECT 'routines', COUNT(*) FROM information_schema.routines WHERE routine_schema = {name};
         SELECT 'events', COUNT(*) FROM information_schema.events WHERE event_schema = {name};
         {};
         SELECT DISTINCT 'referrer', CONCAT(constraint_schema, '.', table_name)
            FROM information_schema.referential_constraints
            WHERE unique_constraint_schema = {name} AND constraint_schema <> {name}
                AND LEFT(constraint_schema, {}) <> {} LIMIT 3;
         {};",
        definers(&name, "SELECT DISTINCT 'definer', definer"),
        OURS.len(),
        literal(OURS),
        show_grants(access.programs.family)
    );
    let mut survey = Survey::default();
    for row in session::ask(access, None, sql).await? {
        let (kind, value) = (text(&row, 0), text(&row, 1));
        let target = survey.target.as_mut();
        let count = value.parse().unwrap_or(0);
        match (kind.as_str(), target) {
            ("server", _) => {
                survey.version = short(&value);
                survey.is_read_only = !matches!(text(&row, 2).as_str(), "0" | "OFF");
                survey.account = text(&row, 3);
                survey.random = text(&row, 4);
            }
            ("schema", _) => {
                let (charset, collation) = (value, text(&row, 2));
                survey.target = Some(Target { charset, collation, ..Target::default() });
            }
            ("tables", Some(target)) => target.tables = count,
            ("views", Some(target)) => target.views = count,
            ("triggers", Some(target)) => target.triggers = count,
            ("routines", Some(target)) => target.routines = count,
            ("events", Some(target)) => target.events = count,
            ("definer", Some(target)) => target.definers.push(value),
            ("referrer", _) => survey.referrers.push(value),
            _ if kind.starts_with("GRANT ") => survey.grants.push(kind),
            _ => {}
        }
    }
    Ok(survey)
}

/// Definers in the database `name`, a literal, that are not accounts of the server. None where the account may not see that.
pub(super) async fn missing_definers(access: &Access, database: &str) -> Vec<String> {
    let exactly = |name: &str| format!("CONVERT({name} USING utf8mb4) COLLATE utf8mb4_bin");
    let (definer, account) = (exactly("definer"), exactly("CONCAT(user, '@', host)"));
    let sql = format!(
        "{} WHERE {definer} NOT IN (SELECT {account} FROM mysql.user) ORDER BY 1;",
        definers(&literal(database), &format!("SELECT DISTINCT {definer}"))
    );
    match session::ask(access, None, sql).await {
        Ok(rows) => rows.iter().map(|row| text(row, 0)).collect(),
        Err(error) => {
            tracing::debug!(%error, "the accounts of the server cannot be looked at");
            Vec::new()
        }
    }
}

/// `select` from the definers of everything in a database.
fn definers(name: &str, select: &str) -> String {
    format!(
        "{select} FROM (SELECT definer FROM information_schema.views WHERE table_schema = {name}
            UNION SELECT definer FROM information_schema.triggers WHERE trigger_schema = {name}
            UNION SELECT definer FROM information_schema.routines WHERE routine_schema = {name}
            UNION SELECT definer FROM information_schema.events WHERE event_schema = {name}) d"
    )
}
