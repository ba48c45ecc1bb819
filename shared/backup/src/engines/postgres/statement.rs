//! The statements by which `pg_dump` reads rows (`dumpTableData_copy` in `pg_dump.c`).

/// `COPY … TO stdout;` as `pg_dump` has issued it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CopyStatement {
    text: String,
    table: Option<CopiedTable>,
}

/// A table that is copied whole, with its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CopiedTable {
    schema: String,
    name: String,
    /// As SQL.
    relation: String,
    /// As SQL, separated by commas.
    columns: String,
}

/// Tells statements apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    /// It reads the rows of a table.
    Copy(CopyStatement),
    /// It changes what the text of a row looks like, or how long things may take: every session needs it.
    Setting,
    /// Anything else.
    Other,
}

impl Statement {
    /// What `sql` is. A `COPY` of a kind that `pg_dump` has never issued is an error.
    pub(super) fn of(sql: &str) -> Result<Self, UnknownCopy> {
        let sql = sql.trim();
        if sql.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("COPY ")) {
            return CopyStatement::of(sql).map(Self::Copy).ok_or_else(|| UnknownCopy(sql.to_owned()));
        }
        let word = |expected: &str| {
            sql.get(..expected.len()).is_some_and(|word| word.eq_ignore_ascii_case(expected))
        };
        let is_setting = word("SET ") && !word("SET TRANSACTION") && !word("SET LOCAL")
            || word("SELECT ") && sql.contains("set_config(");
        Ok(if is_setting { Self::Setting } else { Self::Other })
    }
}

/// A statement that reads rows in a way that is not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pg_dump reads rows in a way that is not known: {0}")]
pub(super) struct UnknownCopy(pub(super) String);

impl CopyStatement {
    fn of(sql: &str) -> Option<Self> {
        let copied = sql.strip_suffix(';')?.trim_end().strip_suffix(" TO stdout")?.get(5..)?.trim();
        if copied.starts_with('(') {
            return Some(Self { text: sql.to_owned(), table: None });
        }
        let (schema, rest) = identifier(copied)?;
        let (name, rest) = identifier(rest.strip_prefix('.')?)?;
        let relation = copied[..copied.len() - rest.len()].to_owned();
        let columns = match rest.trim() {
            "" => None,
            columns => Some(columns.strip_prefix('(')?.strip_suffix(')')?.to_owned()),
        };
        // Without a list of columns there are none to select.
        let table = columns.map(|columns| CopiedTable { schema, name, relation, columns });
        Some(Self { text: sql.to_owned(), table })
    }

    /// Reads all rows.
    pub(super) fn whole(&self) -> String {
        self.text.clone()
    }

    /// Schema and name of the table, where it can be read in ranges.
    pub(super) fn divisible(&self) -> Option<(&str, &str)> {
        self.table.as_ref().map(|table| (table.schema.as_str(), table.name.as_str()))
    }

    /// Reads the rows in the blocks from `from` on, and before `to`.
    pub(super) fn range(&self, from: u64, to: Option<u64>) -> String {
        let Some(CopiedTable { relation, columns, .. }) = &self.table else { return self.whole() };
        let end = to.map(|to| format!(" AND ctid < '({to},0)'::pg_catalog.tid")).unwrap_or_default();
        format!(
            "COPY (SELECT {columns} FROM ONLY {relation} WHERE ctid >= '({from},0)'::pg_catalog.tid{end}) TO stdout;"
        )
    }

    /// Whether `restoring`, the statement of an entry, takes what this one gives.
    pub(super) fn feeds(&self, restoring: &[u8]) -> bool {
        let Ok(restoring) = std::str::from_utf8(restoring) else { return false };
        // A query says nothing of the table that its rows go to.
        if self.table.is_none() && self.text.starts_with("COPY (") {
            return restoring.starts_with("COPY ");
        }
        let given = self.text.trim_end_matches(';').trim_end().trim_end_matches("TO stdout");
        restoring.strip_prefix(given.trim_end()).is_some_and(|rest| rest.trim() == "FROM stdin;")
    }
}

/// The identifier at the start of `sql`, without its quotes, and what follows it.
fn identifier(sql: &str) -> Option<(String, &str)> {
    let Some(quoted) = sql.strip_prefix('"') else {
        let end = sql.find(['.', ' ', '(', ';']).unwrap_or(sql.len());
        return (end > 0).then(|| (sql[..end].to_owned(), &sql[end..]));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn copy(sql: &str) -> CopyStatement {
        match Statement::of(sql) {
            Ok(Statement::Copy(statement)) => statement,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[rstest]
    #[case("COPY public.product (id, name) TO stdout;", Some(("public", "product")))]
    #[case(r#"COPY public."select" (id) TO stdout;"#, Some(("public", "select")))]
    #[case(r#"COPY "My ""Schema"".x"."a.b (c) TO stdout;" (id) TO stdout;"#, Some((r#"My "Schema".x"#, "a.b (c) TO stdout;")))]
    #[case("COPY public.nothing  TO stdout;", None)]
    #[case("COPY (SELECT id FROM ONLY public.config WHERE id > 3) TO stdout;", None)]
    fn a_copy_names_its_table(#[case] sql: &str, #[case] table: Option<(&str, &str)>) {
        let statement = copy(sql);
        assert_eq!(statement.divisible(), table);
        assert_eq!(statement.whole(), sql);
    }

    #[test]
    fn a_range_has_the_same_columns() {
        let statement = copy(r#"COPY public."a table" (id, "a ""b"" column") TO stdout;"#);
        assert_eq!(
            statement.range(10, Some(20)),
            r#"COPY (SELECT id, "a ""b"" column" FROM ONLY public."a table" WHERE ctid >= '(10,0)'::pg_catalog.tid AND ctid < '(20,0)'::pg_catalog.tid) TO stdout;"#
        );
        assert!(statement.range(20, None).ends_with("WHERE ctid >= '(20,0)'::pg_catalog.tid) TO stdout;"));
    }

    #[rstest]
    #[case("COPY public.t (a) TO stdout;", "COPY public.t (a) FROM stdin;\n", true)]
    #[case("COPY public.t  TO stdout;", "COPY public.t  FROM stdin;\n", true)]
    #[case("COPY (SELECT a FROM ONLY public.t ) TO stdout;", "COPY public.t (a) FROM stdin;\n", true)]
    #[case("COPY public.t (a) TO stdout;", "COPY public.u (a) FROM stdin;\n", false)]
    #[case("COPY public.t (a) TO stdout;", "COPY public.t (a, b) FROM stdin;\n", false)]
    fn rows_go_to_the_entry_that_takes_them(#[case] sql: &str, #[case] restoring: &str, #[case] feeds: bool) {
        assert_eq!(copy(sql).feeds(restoring.as_bytes()), feeds);
    }

    #[rstest]
    #[case("SET DATESTYLE = ISO", Statement::Setting)]
    #[case("set client_encoding to 'LATIN1'", Statement::Setting)]
    #[case("SELECT pg_catalog.set_config('search_path', '', false);", Statement::Setting)]
    #[case("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", Statement::Other)]
    #[case("BEGIN", Statement::Other)]
    #[case("SELECT c.tableoid FROM pg_class c", Statement::Other)]
    fn settings_are_told_from_the_rest(#[case] sql: &str, #[case] statement: Statement) {
        assert_eq!(Statement::of(sql), Ok(statement));
    }

    #[rstest]
    #[case("COPY public.t (a) TO PROGRAM 'cat';")]
    #[case("COPY public.t (a) TO stdout WITH BINARY;")]
    #[case("COPY unqualified (a) TO stdout;")]
    fn a_copy_of_an_unknown_kind_is_an_error(#[case] sql: &str) {
        assert!(Statement::of(sql).is_err());
    }
}
