//! Whether an account may read all of a database. The dump programs leave out in silence what an account cannot see.

use holdfast_domain::application::MysqlService;

use super::failure::{Fault, failure};
use crate::error::SliceError;

/// What it takes to see and read every table, view, trigger and event.
const NEEDED: [&str; 4] = ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"];

/// With any of these on the database, the server lists all of its routines; one whose text the account may not read then
/// ends the dump with an error.
const LISTS_ROUTINES: [&str; 5] =
    ["EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE", "SHOW CREATE ROUTINE", "SHOW_ROUTINE"];

/// Checks the lines of `SHOW GRANTS`.
pub(super) fn check(service: &MysqlService, grants: &[String]) -> Result<(), SliceError> {
    let missing = missing(&service.database, grants);
    if missing.is_empty() {
        return Ok(());
    }
    let words =
        format!("the account lacks {}, and a dump would leave out what it cannot see", missing.join(", "));
    Err(failure(service, Fault::PermissionDenied, &words))
}

/// Those of `privileges` that the lines of `SHOW GRANTS` do not give on all of `database`.
pub(super) fn lacking(database: &str, grants: &[String], privileges: &[&'static str]) -> Vec<&'static str> {
    let grants: Vec<Grant> = grants.iter().filter_map(|line| Grant::parse(line)).collect();
    let has =
        |privilege: &str| grants.iter().any(|grant| grant.gives(privilege) && grant.is_on_all_of(database));
    privileges.iter().copied().filter(|privilege| !has(privilege)).collect()
}

/// Whether the lines of `SHOW GRANTS` give one of `privileges` on everything there is.
pub(super) fn has_globally(grants: &[String], privileges: &[&str]) -> bool {
    let grants = grants.iter().filter_map(|line| Grant::parse(line)).filter(|grant| grant.target == "*.*");
    grants.into_iter().any(|grant| privileges.iter().any(|privilege| grant.gives(privilege)))
}

/// Whether the lines of `SHOW GRANTS` let the account see the text of routines.
pub(super) fn reads_routines(database: &str, grants: &[String]) -> bool {
    let parsed = grants.iter().filter_map(|line| Grant::parse(line));
    let reads_proc = parsed.into_iter().any(|grant| {
        grant.gives("SELECT")
            && (grant.is_on_all_of("mysql") || ["mysql.proc", "`mysql`.`proc`"].contains(&grant.target))
    });
    reads_proc || lacking(database, grants, &LISTS_ROUTINES).len() < LISTS_ROUTINES.len()
}

fn missing(database: &str, grants: &[String]) -> Vec<&'static str> {
    let mut missing = lacking(database, grants, &NEEDED);
    if !reads_routines(database, grants) {
        missing.push("the right to see routines");
    }
    missing
}

/// `GRANT SELECT, SHOW VIEW ON `shop`.* TO …`.
struct Grant<'a> {
    privileges: Vec<&'a str>,
    target: &'a str,
}

impl<'a> Grant<'a> {
    /// None for a role's name, and for privileges on some columns of a table.
    fn parse(line: &'a str) -> Option<Self> {
        let (privileges, rest) = line.strip_prefix("GRANT ")?.split_once(" ON ")?;
        let (target, _) = rest.rsplit_once(" TO ")?;
        // `IDENTIFIED BY PASSWORD …` comes after the account, and has no say.
        let target = target.split(" TO ").next().unwrap_or(target);
        // MySQL puts no spaces between those that are newer than the others.
        Some(Self { privileges: privileges.split(',').map(str::trim).collect(), target })
    }

    fn gives(&self, privilege: &str) -> bool {
        self.privileges.iter().any(|given| *given == privilege || *given == "ALL PRIVILEGES")
    }

    fn is_on_all_of(&self, database: &str) -> bool {
        if self.target == "*.*" {
            return true;
        }
        let Some(quoted) = self.target.strip_suffix(".*") else { return false };
        let pattern = quoted.strip_prefix('`').and_then(|quoted| quoted.strip_suffix('`')).unwrap_or(quoted);
        let pattern: Vec<char> = pattern.replace("``", "`").chars().collect();
        let database: Vec<char> = database.chars().collect();
        is_like(&database, &pattern)
    }
}

/// SQL's LIKE, as the server compares names of databases in grants.
fn is_like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|from| is_like(&text[from..], rest)),
        ['_', rest @ ..] => !text.is_empty() && is_like(&text[1..], rest),
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => {
            text.first() == Some(literal) && is_like(&text[1..], rest)
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::everything(&["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"], &[])]
    #[case::owner(&["GRANT USAGE ON *.* TO `a`@`%`", "GRANT ALL PRIVILEGES ON `shop_1`.* TO `a`@`%`"], &[])]
    #[case::global(&["GRANT SELECT, SHOW VIEW, EVENT, TRIGGER ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*B6'"], &[])]
    #[case::routines(&["GRANT SELECT, SHOW VIEW, EVENT, TRIGGER ON `shop\\_1`.* TO `a`@`%`"], &["the right to see routines"])]
    #[case::proc(&["GRANT SELECT, SHOW VIEW, EVENT, TRIGGER ON `shop%`.* TO `a`@`%`", "GRANT SELECT ON `mysql`.`proc` TO `a`@`%`"], &[])]
    #[case::mysql_routine(&["GRANT SELECT, SHOW VIEW, EVENT, TRIGGER ON `shop_1`.* TO `a`@`%`", "GRANT PROCESS_ADMIN,SHOW_ROUTINE ON *.* TO `a`@`%`"], &[])]
    #[case::role(&["GRANT `r` TO `a`@`%`", "GRANT EXECUTE, SELECT ON *.* TO `r`"], &["SHOW VIEW", "TRIGGER", "EVENT"])]
    #[case::another(&["GRANT ALL PRIVILEGES ON `shop\\_2`.* TO `a`@`%`"],
        &["SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "the right to see routines"])]
    #[case::one_table(&["GRANT SELECT, SHOW VIEW, EVENT, TRIGGER, EXECUTE ON `shop_1`.`t` TO `a`@`%`"],
        &["SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "the right to see routines"])]
    #[case::nothing(&[], &["SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "the right to see routines"])]
    fn what_an_account_lacks_is_named(#[case] grants: &[&str], #[case] lacking: &[&str]) {
        let grants: Vec<_> = grants.iter().map(|&line| line.to_owned()).collect();
        assert_eq!(missing("shop_1", &grants), lacking);
    }
}
