//! The new database: made beside the one it is to replace, and swapped in at the end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    control::{Control, identifier, literal},
    left::{self, Names, Paused, Whose},
    settings,
    survey::{MAY_END, Survey, Target},
};
use crate::{engines::postgres::login::Upstream, error::SliceError};

/// How often sessions are ended while a database is renamed. The server waits five seconds for them to go.
const END_EVERY: Duration = Duration::from_millis(100);

/// The first major version with a choice of who provides a database's locale.
const PROVIDER_SINCE: u32 = 15;

/// How often it is tried to clean up, where the server does not answer, and how long is waited between.
const CLEAN_UP_TRIES: u32 = 10;
const CLEAN_UP_WAIT: Duration = Duration::from_secs(1);

/// What becomes of the database that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Old {
    /// There was none.
    None,
    /// It is dropped.
    Dropped,
    /// It is kept under this name, because it was asked for, or could not be dropped for this reason.
    Kept(String, Option<String>),
}

/// A new database, and the session that has made it.
pub(super) struct Place {
    upstream: Arc<Upstream>,
    survey: Survey,
    /// The database that it is to be.
    target: String,
    /// What it is called until then.
    pub(super) name: String,
    /// What the server knows it by, once it is made.
    pub(super) oid: String,
    /// A name for the one that is replaced.
    away: String,
    /// The restore that may go on with it in other slices; the database is marked with that.
    restore: Option<String>,
    /// What an earlier slice has left of it.
    paused: Option<Paused>,
    control: Control,
}

/// The way into a new database.
pub(super) struct Entrance {
    upstream: Arc<Upstream>,
    pub(super) database: String,
    pub(super) peer: Option<SocketAddr>,
}

impl Entrance {
    /// A session in the database. It has to be ended before that is renamed.
    pub(super) async fn open(&self) -> Result<Control, SliceError> {
        Control::open(&self.upstream, &self.database, self.peer).await
    }
}

impl Place {
    /// Names a new database for `target`, and drops what a restore that was killed has left, but for what one over several slices
    /// goes on with: `restore`, or another one, which keeps this one out. Nobody else restores `target` as long as this is there.
    pub(super) async fn choose(
        upstream: Arc<Upstream>,
        survey: Survey,
        target: &str,
        keep_old: bool,
        restore: Option<&str>,
    ) -> Result<Self, SliceError> {
        let mut control = Control::open(&upstream, &survey.elsewhere, None).await?;
        if restore.is_some() {
            // The slice before may have ended this very moment.
            left::lock_soon(&mut control, target).await?;
        } else {
            left::lock(&mut control, target).await?;
        }
        let names = Names::of(&mut control, target).await?;
        let whose = restore.map_or(Whose::Nobodys, Whose::GoesOn);
        let kept = left::drop_left(&mut control, &names, whose).await?;
        if let Some(other) = kept.of_others {
            return Err(left::paused(target, &other));
        }
        let row = control
            .row(
                "SELECT substr(md5(random()::text || clock_timestamp()::text), 1, 12),
                    to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS')",
            )
            .await?;
        let value = |index: usize| row.get(index).cloned().flatten().unwrap_or_default();
        let (random, now) = (value(0), value(1));
        let away = if keep_old { kept_name(target, &now) } else { format!("{}{random}", names.replaced) };
        let name = format!("{}{random}", names.new);
        Ok(Self {
            upstream,
            survey,
            target: target.to_owned(),
            name,
            oid: String::new(),
            away,
            restore: restore.map(str::to_owned),
            paused: kept.own,
            control,
        })
    }

    /// Takes over what an earlier slice has left of this restore. Says whether there was anything. Whoever was on it is not any more,
    /// and nobody comes to it who only knows what it was called: a slice that was taken for dead.
    pub(super) async fn take_over(&mut self) -> Result<bool, SliceError> {
        let Some(Paused { name, oid }) = self.paused.take() else { return Ok(false) };
        self.rename_from_under(&name, &self.name.clone(), &oid, true).await?;
        self.oid = oid;
        self.mark().await?;
        Ok(true)
    }

    /// Drops the database, to make it anew.
    pub(super) async fn discard(&mut self) -> Result<(), SliceError> {
        self.control.run(&format!("DROP DATABASE {} WITH (FORCE)", identifier(&self.name))).await
    }

    /// Marks the database as that of its restore, if that may go on with it.
    pub(super) async fn mark(&mut self) -> Result<(), SliceError> {
        match &self.restore {
            Some(restore) => left::mark(&mut self.control, &self.name, restore).await,
            None => Ok(()),
        }
    }

    /// The way into the database.
    pub(super) fn entrance(&self) -> Entrance {
        Entrance { upstream: self.upstream.clone(), database: self.name.clone(), peer: self.control.peer }
    }

    /// Makes the database: with encoding, locale and owner of the one that it is to replace, else as the archive says.
    pub(super) async fn make(&mut self, archived_options: Option<&str>) -> Result<(), SliceError> {
        let options = match &self.survey.target {
            Some(target) => options_of(target),
            None => archived(archived_options, self.survey.server.major()),
        };
        self.control.run(&format!("CREATE DATABASE {} {options}", identifier(&self.name))).await?;
        let oid = format!("SELECT oid FROM pg_catalog.pg_database WHERE datname = {}", literal(&self.name));
        self.oid = self.control.value(&oid).await?.unwrap_or_default();
        self.mark().await
    }

    /// Puts the database in its place. No session may be on it. After an error nothing has changed.
    pub(super) async fn swap(&mut self, overwrite: bool, keep_old: bool) -> Result<Old, SliceError> {
        let target = self.survey.target.clone();
        if self.restore.is_some() {
            // From here on nobody can go on with it.
            self.control.run(&format!("COMMENT ON DATABASE {} IS NULL", identifier(&self.name))).await?;
        }
        let outcome = match &target {
            Some(target) => self.swap_names(target, overwrite).await,
            None => self.rename(&self.name.clone(), &self.target.clone()).await,
        };
        if let Err(error) = outcome
            // It may have been done without us having heard of it.
            && !self.is_in_place().await.unwrap_or(false)
        {
            return Err(error);
        }
        if target.is_none() {
            return Ok(Old::None);
        }
        if keep_old {
            return Ok(Old::Kept(self.away.clone(), None));
        }
        match self.control.run(&format!("DROP DATABASE {} WITH (FORCE)", identifier(&self.away))).await {
            Ok(()) => Ok(Old::Dropped),
            Err(error) => Ok(Old::Kept(self.away.clone(), Some(error.to_string()))),
        }
    }

    async fn swap_names(&mut self, target: &Target, overwrite: bool) -> Result<(), SliceError> {
        for sql in settings::of_database(&mut self.control, target, &self.name).await? {
            self.control.run(&sql).await?;
        }
        let (name, away, place) = (self.name.clone(), self.away.clone(), self.target.clone());
        self.control.run("BEGIN").await?;
        // From here on nobody comes to the database any more.
        self.rename_from_under(&place, &away, &target.oid, overwrite).await?;
        let oid = format!("SELECT oid FROM pg_catalog.pg_database WHERE datname = {}", literal(&away));
        if self.control.value(&oid).await?.as_ref() != Some(&target.oid) {
            let message = format!("{place:?} is another database than before; restore again");
            return Err(SliceError::transient("target_changed", message));
        }
        self.rename(&name, &place).await?;
        self.control.run("COMMIT").await
    }

    /// Renames a database while others may be on it: the server waits for them to go, and if they are to be ended, they are.
    async fn rename_from_under(
        &mut self,
        from: &str,
        to: &str,
        oid: &str,
        end_others: bool,
    ) -> Result<(), SliceError> {
        let mut ending = Control::open(&self.upstream, &self.survey.elsewhere, self.control.peer).await?;
        let others = ending_others(oid);
        {
            let renaming = self.rename(from, to);
            tokio::pin!(renaming);
            loop {
                tokio::select! {
                    biased;
                    renamed = &mut renaming => break renamed?,
                    () = tokio::time::sleep(END_EVERY), if end_others => ending.run(&others).await?,
                }
            }
        }
        ending.end().await;
        Ok(())
    }

    async fn rename(&mut self, from: &str, to: &str) -> Result<(), SliceError> {
        self.control.run(&format!("ALTER DATABASE {} RENAME TO {}", identifier(from), identifier(to))).await
    }

    async fn is_in_place(&mut self) -> Result<bool, SliceError> {
        self.reconnect().await?;
        let left = format!("SELECT oid FROM pg_catalog.pg_database WHERE datname = {}", literal(&self.name));
        Ok(self.control.value(&left).await?.is_none())
    }

    /// Drops the database, whoever is on it. What cannot be dropped is named.
    pub(super) async fn clean_up(mut self) -> Result<(), SliceError> {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(&self.name));
        let mut tries = 0;
        loop {
            let outcome = match self.reconnect().await {
                Ok(()) => self.control.run(&drop).await,
                Err(error) => Err(error),
            };
            let Err(error) = outcome else {
                self.control.end().await;
                return Ok(());
            };
            tries += 1;
            if tries == CLEAN_UP_TRIES {
                return Err(error);
            }
            tokio::time::sleep(CLEAN_UP_WAIT).await;
        }
    }

    /// Ends the session, whatever it is doing, and begins another one when it has let go of its lock: then it has ended.
    async fn reconnect(&mut self) -> Result<(), SliceError> {
        self.control.cancel().await;
        self.control.end().await;
        let mut control = Control::open(&self.upstream, &self.survey.elsewhere, self.control.peer).await?;
        // The session before is closed here.
        std::mem::swap(&mut self.control, &mut control);
        drop(control);
        let lock = format!(
            "SET lock_timeout = '30s'; SELECT pg_catalog.pg_advisory_lock({}); SET lock_timeout = 0",
            left::lock_of(&self.target)
        );
        self.control.run(&lock).await
    }

    /// Ends the session.
    pub(super) async fn leave(mut self) {
        self.control.end().await;
    }
}

/// Ends the sessions on a database that this role may end. If others stay, the server says that the database is in use.
fn ending_others(oid: &str) -> String {
    format!(
        "SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
        WHERE a.datid = {oid} AND {MAY_END}"
    )
}

/// The options of `CREATE DATABASE` that an archive names, for a server of `major`. `pg_dump` 15 dumps servers of 14 as well, and names
/// the provider that is the only one there.
fn archived(options: Option<&str>, major: u32) -> String {
    let options = options.unwrap_or("WITH TEMPLATE = template0");
    if major < PROVIDER_SINCE { options.replace(" LOCALE_PROVIDER = libc", "") } else { options.to_owned() }
}

/// The options of `CREATE DATABASE` for one like `target`.
fn options_of(target: &Target) -> String {
    let locale = target.locale.as_deref().map(literal).unwrap_or_default();
    let provided = match (target.provider.as_deref(), &target.icu_rules) {
        (Some("i"), None) => format!(" LOCALE_PROVIDER = icu ICU_LOCALE = {locale}"),
        (Some("i"), Some(rules)) => {
            format!(" LOCALE_PROVIDER = icu ICU_LOCALE = {locale} ICU_RULES = {}", literal(rules))
        }
        (Some("b"), _) => format!(" LOCALE_PROVIDER = builtin BUILTIN_LOCALE = {locale}"),
        _ => String::new(),
    };
    // Only a rehearsal comes so far with somebody else's.
    let owner = target.is_ours.then(|| format!(" OWNER = {}", identifier(&target.owner)));
    let tablespace = target.tablespace.as_deref().map(|name| format!(" TABLESPACE = {}", identifier(name)));
    format!(
        "WITH TEMPLATE = template0{} ENCODING = {} LC_COLLATE = {} LC_CTYPE = {}{provided}{}",
        owner.unwrap_or_default(),
        literal(&target.encoding),
        literal(&target.collate),
        literal(&target.ctype),
        tablespace.unwrap_or_default()
    )
}

/// What a database is called that was replaced and is kept: its name as far as there is room, and when that was.
fn kept_name(target: &str, now: &str) -> String {
    /// The longest name that a server takes, in bytes (`NAMEDATALEN` - 1).
    const LONGEST: usize = 63;
    let ending = format!("_before_{now}");
    let mut end = target.len().min(LONGEST - ending.len());
    while !target.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", &target[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_database_has_a_name_that_fits() {
        assert_eq!(kept_name("shop", "20261129010203"), "shop_before_20261129010203");
        let long = kept_name(&"ä".repeat(31), "20261129010203");
        assert!(
            long.len() <= 63 && long.starts_with("ää") && long.ends_with("_before_20261129010203"),
            "{long}"
        );
    }
}
