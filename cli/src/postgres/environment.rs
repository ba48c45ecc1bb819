//! The variables that every program of `PostgreSQL` reads:
//! <https://www.postgresql.org/docs/current/libpq-envars.html>.

use std::collections::BTreeMap;

/// Variables by their names.
pub(crate) type Environment = BTreeMap<&'static str, String>;

/// Those that have a say here.
const NAMES: [&str; 10] = [
    "HOME",
    "USER",
    "PGHOST",
    "PGPORT",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGDATABASE",
    "PGSSLMODE",
    "PGSSLROOTCERT",
];

/// Those that choose the server or the role, or what is demanded of the server, and cannot do so here.
pub(super) const NOT_SUPPORTED: [&str; 13] = [
    "PGSERVICE",
    "PGHOSTADDR",
    "PGOPTIONS",
    "PGCHANNELBINDING",
    "PGREQUIRESSL",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGTARGETSESSIONATTRS",
    "PGSSLNEGOTIATION",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLCRL",
    "PGSSLCRLDIR",
];

/// What of the environment has a say here, or would have elsewhere.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where dumps and restores read the environment; as an option, a password would be on the command line"
)]
pub(crate) fn read() -> Environment {
    NAMES
        .iter()
        .chain(&NOT_SUPPORTED)
        .filter_map(|name| Some((*name, std::env::var(name).ok().filter(|value| !value.is_empty())?)))
        .collect()
}
