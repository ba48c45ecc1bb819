//! What is asked of the server, before a dump and after it, through the family's own client program.

use std::{collections::BTreeMap, time::Duration};

use holdfast_archive::checksum::Sha256;
use tokio::{io::AsyncReadExt, time::timeout};

use super::{
    access::Access,
    failure::{Fault, failure, of_end},
    greeting::{Family, short},
    process,
};
use crate::error::SliceError;

/// How long the answers may take: a server reads the definition of every table for them.
const ASK_WITHIN: Duration = Duration::from_mins(2);

/// What a server says about itself and a database.
#[derive(Debug)]
pub(super) struct About {
    /// Such as `10.11.19-MariaDB`.
    pub(super) version: String,
    /// Size of the tables on disk without their indexes, roughly.
    pub(super) bytes: u64,
    /// The lines of `SHOW GRANTS` for the account.
    pub(super) grants: Vec<String>,
}

/// Asks about the version, the size and the account.
pub(super) async fn about(access: &Access) -> Result<About, SliceError> {
    let grants = show_grants(access.programs.family);
    let sql = format!(
        "SELECT VERSION(); SELECT COALESCE(SUM(data_length), 0) FROM information_schema.tables \
         WHERE table_schema = DATABASE(); {grants}"
    );
    let mut lines = ask(access, &sql).await?.into_iter();
    let (version, bytes) = (lines.next(), lines.next().and_then(|bytes| bytes.parse().ok()));
    let (Some(version), Some(bytes)) = (version, bytes) else {
        let words = "the server did not say its version and the size of the database";
        return Err(failure(&access.service, Fault::Refused, words));
    };
    Ok(About { version: short(&version), bytes, grants: lines.collect() })
}

/// The statements that list what the account may do. `MySQL` lists what roles give only when they are named, `MariaDB` by itself.
pub(super) fn show_grants(family: Family) -> &'static str {
    match family {
        Family::MariaDb => "SHOW GRANTS",
        Family::MySql => {
            "SET @holdfast = CONCAT('SHOW GRANTS FOR CURRENT_USER()', IF(CURRENT_ROLE() = 'NONE', '', \
             CONCAT(' USING ', CURRENT_ROLE()))); PREPARE holdfast FROM @holdfast; EXECUTE holdfast"
        }
    }
}

/// Names of the tables whose engine has no transactions, and so no snapshot.
pub(super) async fn outside_snapshot(access: &Access) -> Result<Vec<String>, SliceError> {
    let sql = "SELECT t.table_name FROM information_schema.tables t \
               LEFT JOIN information_schema.engines e ON e.engine = t.engine \
               WHERE t.table_schema = DATABASE() AND t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') \
               AND COALESCE(e.transactions, 'NO') <> 'YES' ORDER BY 1";
    ask(access, sql).await
}

/// The columns of every table, as a sum that changes with any of them.
///
/// A statement that changes them is the one thing that neither ends a dump nor waits for it, where the server does it
/// without copying the table: the dump then has the table as it was, and rows as they are.
pub(super) struct Columns(BTreeMap<String, String>);

/// Asks for the columns of every table.
pub(super) async fn columns(access: &Access) -> Result<Columns, SliceError> {
    let sql = "SELECT BIT_XOR(CAST(CONV(LEFT(SHA2(CONCAT_WS('|', ordinal_position, column_name, column_type, is_nullable, \
               COALESCE(column_default, '-'), extra, COALESCE(collation_name, '-'), \
               COALESCE(generation_expression, '-')), 256), 16), 16, 10) AS UNSIGNED)), table_name \
               FROM information_schema.columns WHERE table_schema = DATABASE() GROUP BY table_name";
    let lines = ask(access, sql).await?;
    let table = |line: &String| line.split_once('\t').map(|(sum, name)| (name.to_owned(), sum.to_owned()));
    Ok(Columns(lines.iter().filter_map(table).collect()))
}

impl Columns {
    /// Refuses a dump during which a table got other columns. Tables that came or went are no matter: of those the dump has
    /// what there was, or it failed.
    pub(super) fn check_unchanged(&self, access: &Access, after: &Self) -> Result<(), SliceError> {
        let altered = |(name, sum): &(&String, &String)| after.0.get(*name).is_some_and(|now| now != *sum);
        match self.0.iter().find(altered) {
            None => Ok(()),
            Some((name, _)) => {
                let words = format!("the columns of {name:?} were altered during the dump");
                Err(failure(&access.service, Fault::SchemaChanged, &words))
            }
        }
    }
}

/// A table, and its size on disk in bytes, roughly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sized {
    /// Its name.
    pub(super) table: String,
    /// Its size, without its indexes.
    pub(super) bytes: u64,
}

/// All tables, in the order of their names, if they can be dumped one after the other: a table may need a sequence to be there already, and
/// a name that the client program writes otherwise would not be found.
pub(super) async fn tables(access: &Access) -> Result<Option<Vec<Sized>>, SliceError> {
    let sql = "SELECT table_type, COALESCE(data_length, 0), table_name FROM information_schema.tables \
               WHERE table_schema = DATABASE() AND table_type NOT LIKE '%VIEW' ORDER BY table_name";
    let parse = |line: &String| {
        let mut fields = line.splitn(3, '\t');
        let (kind, bytes, table) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?);
        let is_plain = kind != "SEQUENCE" && !table.contains('\\');
        is_plain.then(|| Sized { table: table.to_owned(), bytes })
    };
    Ok(ask(access, sql).await?.iter().map(parse).collect())
}

/// What is another one once rows were written or a table was made, altered, emptied or dropped. The server forgets when rows were
/// written when it is started anew, and does not count it as writing when a table is emptied: that shows in its size.
pub(super) async fn standing(access: &Access) -> Result<String, SliceError> {
    let sql = "SET @holdfast = 0 /*!80000 , SESSION information_schema_stats_expiry = 0 */; \
               SELECT table_name, table_type, COALESCE(create_time, '-'), COALESCE(update_time, '-'), \
               COALESCE(auto_increment, '-'), COALESCE(data_length, '-') \
               FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name";
    let tables = ask(access, sql).await?;
    let Columns(columns) = columns(access).await?;
    let columns = columns.iter().map(|(table, sum)| format!("{table}\t{sum}"));
    let all: Vec<String> = tables.into_iter().chain(columns).collect();
    Ok(Sha256::of(all.join("\n").as_bytes()).to_string())
}

/// Runs `sql` in the database; gives the lines of all answers.
async fn ask(access: &Access, sql: &str) -> Result<Vec<String>, SliceError> {
    let service = &access.service;
    let broken = |error: std::io::Error| {
        let words = format!("{} could not be run: {error}", access.programs.client.display());
        failure(service, Fault::DumpFailed, &words)
    };
    let asking = async {
        let (database, execute) = (format!("--database={}", service.database), format!("--execute={sql}"));
        let arguments =
            ["--batch", "--skip-column-names", "--default-character-set=utf8mb4", &database, &execute];
        let mut child =
            process::start(&access.programs.client, access.settings(), &arguments).await.map_err(broken)?;
        let (Some(mut stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(broken(std::io::Error::other("its output is not there")));
        };
        let mut answer = Vec::new();
        let (read, said) = tokio::join!(stdout.read_to_end(&mut answer), process::last_words(stderr));
        let status = child.wait().await.map_err(broken)?;
        if !status.success() {
            return Err(of_end(service, status, &said));
        }
        read.map_err(broken)?;
        Ok(String::from_utf8_lossy(&answer).lines().map(str::to_owned).collect())
    };
    timeout(ASK_WITHIN, asking).await.unwrap_or_else(|_| {
        let words = format!("no answer within {} seconds", ASK_WITHIN.as_secs());
        Err(failure(service, Fault::UnreachableHost, &words))
    })
}
