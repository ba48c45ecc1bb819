//! What the server says before anything is done on it.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    engines::postgres::{connect::Server, login::Upstream},
    error::SliceError,
};

use super::{
    control::{Control, literal},
    settings,
};

/// Databases from which others are made and renamed, in this order: not from inside.
const ELSEWHERE: [&str; 2] = ["postgres", "template1"];

/// The sessions, of those in `pg_stat_activity a`, that this role may end. Those of autovacuum have no role, and the server ends them
/// itself.
pub(super) const MAY_END: &str = "EXISTS (
    SELECT FROM pg_catalog.pg_roles theirs, pg_catalog.pg_roles ours
    WHERE theirs.oid = a.usesysid AND ours.rolname = current_user
        AND (ours.rolsuper OR NOT theirs.rolsuper AND (pg_catalog.pg_has_role(theirs.oid, 'USAGE')
            OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'))))";

/// What is in a database, other than what every new one has.
const OBJECTS: &str = "
    SELECT (SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S'))
        + (SELECT count(*) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
            WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')
        + (SELECT count(*) FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
            WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND t.typtype IN ('d', 'e', 'r'))
        + (SELECT count(*) FROM pg_catalog.pg_namespace
            WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public'))
        + (SELECT count(*) FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql')
        + (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata)";

/// Connections: how many the server takes from this role, and how many there are.
const CONNECTIONS: &str = "
    SELECT least(
        pg_catalog.current_setting('max_connections')::int8
            - pg_catalog.current_setting('superuser_reserved_connections')::int8
            - coalesce(pg_catalog.current_setting('reserved_connections', true)::int8, 0)
            - (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database)::int8,
        CASE WHEN r.rolconnlimit < 0 OR r.rolsuper THEN NULL ELSE r.rolconnlimit
            - (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = r.rolname) END)
    FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";

/// A server, and the database on it that is to be restored.
#[derive(Debug, Clone)]
pub(super) struct Survey {
    pub(super) server: Server,
    /// The database from which others are made and renamed.
    pub(super) elsewhere: String,
    pub(super) can_create: bool,
    /// Connections that this role can still make.
    pub(super) free_connections: u64,
    pub(super) extensions: BTreeSet<String>,
    pub(super) roles: BTreeSet<String>,
    /// Those of them that this role can make owners.
    pub(super) own_roles: BTreeSet<String>,
    pub(super) tablespaces: BTreeSet<String>,
    pub(super) target: Option<Target>,
}

/// The database that is to be replaced, and what its successor is to have of it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) oid: String,
    pub(super) owner: String,
    pub(super) encoding: String,
    pub(super) collate: String,
    pub(super) ctype: String,
    pub(super) provider: Option<String>,
    pub(super) locale: Option<String>,
    pub(super) icu_rules: Option<String>,
    /// Where it is, unless that is where new ones are: nobody has to be allowed that.
    pub(super) tablespace: Option<String>,
    pub(super) connection_limit: i64,
    pub(super) is_template: bool,
    /// Bytes on disk.
    pub(super) bytes: u64,
    /// Whether this role may rename it.
    pub(super) is_ours: bool,
    pub(super) comment: Option<String>,
    pub(super) has_privileges: bool,
    /// Sessions of others.
    pub(super) sessions: u64,
    /// How many of them this role may not end.
    pub(super) lasting: u64,
    /// Its settings that this role may not give to another database: their names, without values.
    pub(super) beyond: BTreeSet<String>,
    /// How many objects are in it; none where it cannot be looked into.
    pub(super) objects: Option<u64>,
}

/// Asks the server of `upstream` about itself and the database `name`.
pub(super) async fn survey(upstream: &Arc<Upstream>, name: &str) -> Result<Survey, SliceError> {
    let (mut control, elsewhere) = from_elsewhere(upstream, name).await?;
    let version = control.number("SELECT pg_catalog.current_setting('server_version_num')").await?;
    let server = Server { version_number: u32::try_from(version).unwrap_or(u32::MAX), database_bytes: 0 };
    let may = control
        .value("SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user")
        .await?;
    let free_connections = control.number(CONNECTIONS).await?;
    let extensions = control.column("SELECT name FROM pg_catalog.pg_available_extensions").await?;
    let roles = control.column("SELECT rolname FROM pg_catalog.pg_roles").await?;
    // From version 16 on, a member need not be able to act as the role.
    let ability = if server.major() >= 16 { "SET" } else { "MEMBER" };
    let own_roles = control
        .column(&format!(
            "SELECT rolname FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, '{ability}')"
        ))
        .await?;
    let tablespaces = control.column("SELECT spcname FROM pg_catalog.pg_tablespace").await?;
    let found = control.rows(&target(name)).await?;
    let mut beyond = BTreeSet::new();
    if let Some(Some(oid)) = found.first().and_then(|row| row.first()) {
        beyond = control.column(&settings::beyond(server.major(), oid)).await?;
    }
    control.end().await;
    let target = match found.into_iter().next() {
        None => None,
        Some(row) => {
            let mut target = Target { beyond, ..Target::of(&row) };
            if flag(&row, 11) {
                // It may be closed to this role; then nobody knows what is in it.
                target.objects = match Control::open(upstream, name, control.peer).await {
                    Ok(mut inside) => {
                        let objects = inside.number(OBJECTS).await?;
                        inside.end().await;
                        Some(objects)
                    }
                    Err(_) => None,
                };
            }
            Some(target)
        }
    };
    Ok(Survey {
        server,
        elsewhere,
        can_create: may.as_deref() == Some("t"),
        free_connections,
        extensions,
        roles,
        own_roles,
        tablespaces,
        target,
    })
}

/// A session in another database than `name`.
pub(super) async fn from_elsewhere(
    upstream: &Arc<Upstream>,
    name: &str,
) -> Result<(Control, String), SliceError> {
    let mut last = None;
    for database in ELSEWHERE.into_iter().filter(|database| *database != name) {
        match Control::open(upstream, database, None).await {
            Ok(control) => return Ok((control, database.to_owned())),
            Err(SliceError::Failed(failure)) if failure.code == "no_such_database" => last = Some(failure),
            Err(error) => return Err(error),
        }
    }
    let why = last.map(|failure| failure.message).unwrap_or_default();
    Err(SliceError::permanent(
        "no_such_database",
        format!("there is no database to make others from: {why}; make one called postgres"),
    ))
}

/// What is asked of the database `name`, which is to be replaced. Its settings have other names in each version.
fn target(name: &str) -> String {
    format!(
        "SELECT d.oid, pg_catalog.pg_get_userbyid(d.datdba), pg_catalog.pg_encoding_to_char(d.encoding),
            d.datcollate, d.datctype, j->>'datlocprovider', coalesce(j->>'datlocale', j->>'daticulocale'), j->>'daticurules',
            t.spcname, d.datconnlimit, d.datistemplate, d.datallowconn, pg_catalog.pg_database_size(d.oid),
            pg_catalog.pg_has_role(d.datdba, 'USAGE'), pg_catalog.shobj_description(d.oid, 'pg_database'),
            d.datacl IS NOT NULL,
            used.sessions, used.lasting
        FROM pg_catalog.pg_database d CROSS JOIN LATERAL pg_catalog.to_jsonb(d) j
        CROSS JOIN LATERAL (SELECT count(*) AS sessions, count(*) FILTER (WHERE NOT {MAY_END}) AS lasting
            FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid AND a.usesysid IS NOT NULL
                AND coalesce((pg_catalog.to_jsonb(a)->>'backend_type'), 'client backend') IN ('client backend', 'walsender')) used
        LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace AND d.dattablespace <>
            (SELECT dattablespace FROM pg_catalog.pg_database WHERE datname = 'template0')
        WHERE d.datname = {}",
        literal(name)
    )
}

impl Target {
    fn of(row: &[Option<String>]) -> Self {
        let value = |index: usize| row.get(index).cloned().flatten();
        let text = |index: usize| value(index).unwrap_or_default();
        Self {
            oid: text(0),
            owner: text(1),
            encoding: text(2),
            collate: text(3),
            ctype: text(4),
            provider: value(5),
            locale: value(6),
            icu_rules: value(7),
            tablespace: value(8),
            connection_limit: text(9).parse().unwrap_or(-1),
            is_template: flag(row, 10),
            bytes: text(12).parse().unwrap_or(0),
            is_ours: flag(row, 13),
            comment: value(14),
            has_privileges: flag(row, 15),
            sessions: text(16).parse().unwrap_or(0),
            lasting: text(17).parse().unwrap_or(0),
            beyond: BTreeSet::new(),
            objects: None,
        }
    }
}

fn flag(row: &[Option<String>], index: usize) -> bool {
    row.get(index).is_some_and(|value| value.as_deref() == Some("t"))
}
