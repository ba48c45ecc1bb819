//! What a database has of its own beside what is in it: privileges, settings, a limit, a comment.

use super::{
    control::{Control, identifier, literal},
    survey::Target,
};
use crate::error::SliceError;

/// Settings whose values are lists of names (`GUC_LIST_QUOTE`; `variable_is_guc_list_quote` in `dumputils.c`).
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// The statements that give the database `name` what `target` has.
pub(super) async fn of_database(
    control: &mut Control,
    target: &Target,
    name: &str,
) -> Result<Vec<String>, SliceError> {
    let name = identifier(name);
    let mut statements = Vec::new();
    if target.has_privileges {
        statements.push(format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC, {}", identifier(&target.owner)));
        let grants = control
            .rows(&format!(
                "SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee) END, a.privilege_type,
                    a.is_grantable
                 FROM pg_catalog.pg_database d CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) a WHERE d.oid = {}",
                target.oid
            ))
            .await?;
        for grant in grants {
            let [grantee, Some(privilege), grantable] = &grant[..] else { continue };
            let grantee = grantee.as_deref().map_or("PUBLIC".to_owned(), identifier);
            let option = if grantable.as_deref() == Some("t") { " WITH GRANT OPTION" } else { "" };
            statements.push(format!("GRANT {privilege} ON DATABASE {name} TO {grantee}{option}"));
        }
    }
    let settings = control
        .rows(&format!(
            "SELECT r.rolname, c.config
             FROM pg_catalog.pg_db_role_setting s CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) c(config)
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = {}",
            target.oid
        ))
        .await?;
    for setting in settings {
        let [role, Some(config)] = &setting[..] else { continue };
        let Some((variable, value)) = config.split_once('=') else { continue };
        let whose = match role {
            None => format!("DATABASE {name}"),
            Some(role) => format!("ROLE {} IN DATABASE {name}", identifier(role)),
        };
        statements.push(format!(
            "ALTER {whose} SET {} TO {}",
            identifier_path(variable),
            value_of(variable, value)
        ));
    }
    if let Some(comment) = &target.comment {
        statements.push(format!("COMMENT ON DATABASE {name} IS {}", literal(comment)));
    }
    if target.connection_limit >= 0 {
        statements.push(format!("ALTER DATABASE {name} CONNECTION LIMIT {}", target.connection_limit));
    }
    Ok(statements)
}

/// The question which settings of the database `oid` this role may not give to another one, of a server of `major` (`AlterRoleSet` and
/// `validate_option_array_item` in the server's sources): those that only superusers set, or nobody knows, such as those of applications,
/// unless they were granted; and those for roles other than itself that it does not administer.
pub(super) fn beyond(major: u32, oid: &str) -> String {
    let is_granted = if major >= 15 {
        "pg_catalog.has_parameter_privilege(split_part(c.config, '=', 1), 'SET')"
    } else {
        "false"
    };
    let administers =
        if major >= 16 { "pg_catalog.pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION')" } else { "true" };
    format!(
        "SELECT split_part(c.config, '=', 1) || coalesce(' for the role ' || r.rolname, '')
         FROM pg_catalog.pg_db_role_setting s CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) c(config)
         LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
         JOIN pg_catalog.pg_roles me ON me.rolname = current_user AND NOT me.rolsuper
         WHERE s.setdatabase = {oid} AND NOT (
            (s.setrole IN (0, me.oid) OR me.rolcreaterole AND NOT r.rolsuper AND {administers})
            AND ({is_granted} OR EXISTS (SELECT FROM pg_catalog.pg_settings p
                WHERE lower(p.name) = lower(split_part(c.config, '=', 1)) AND p.context IN ('user', 'backend'))))"
    )
}

/// The name of a setting; those of extensions have a dot.
fn identifier_path(variable: &str) -> String {
    variable.split('.').map(identifier).collect::<Vec<_>>().join(".")
}

/// The value of a setting as SQL. That of a list is a list of names, of which those in quotes are quoted as names are.
fn value_of(variable: &str, value: &str) -> String {
    if !LISTS.contains(&variable.to_ascii_lowercase().as_str()) {
        return literal(value);
    }
    let mut names = vec![String::new()];
    let mut quoted = false;
    let mut characters = value.trim().chars().peekable();
    while let Some(character) = characters.next() {
        let count = names.len();
        let name = &mut names[count - 1];
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                name.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(String::new()),
            ' ' if !quoted => {}
            other => name.push(other),
        }
    }
    names.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("work_mem", "64MB", "'64MB'")]
    #[case("app.motto", "it's, \"so\"", "'it''s, \"so\"'")]
    #[case("search_path", "\"$user\", public", "'$user', 'public'")]
    #[case("search_path", "\"a, \"\"b\"\"\", c; DROP", "'a, \"b\"', 'c;DROP'")]
    #[case("search_path", "\"\"", "''")]
    fn a_setting_is_written_as_sql(#[case] variable: &str, #[case] value: &str, #[case] sql: &str) {
        assert_eq!(value_of(variable, value), sql);
    }
}
