//! The statements by which `pg_dump` reads rows (`dumpTableData_copy` in `pg_dump.c`).
//!
//! They are in the encoding of the database, and are kept as bytes. All of their syntax is ASCII, and in no encoding that a
//! server has is an ASCII byte a part of another character.

/// `COPY … TO stdout;` as `pg_dump` has issued it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CopyStatement {
    text: Vec<u8>,
    copied: Copied,
}

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Copied {
    /// The answer of a query.
    Query,
    /// A table without columns.
    Nothing,
    Table(CopiedTable),
}

/// A table that is copied whole, with its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CopiedTable {
    schema: Vec<u8>,
    name: Vec<u8>,
    /// As SQL.
    relation: Vec<u8>,
    /// As SQL, separated by commas.
    columns: Vec<u8>,
}

/// Tells statements apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    /// It reads the rows of a table.
    Copy(CopyStatement),
    /// It changes what the text of a row looks like, or how long things may take: every session needs it.
    Setting,
    /// It locks tables.
    Lock,
    /// Anything else.
    Other,
}

impl Statement {
    /// What `sql` is. A `COPY` of a kind that `pg_dump` has never issued is an error.
    pub(super) fn of(sql: &[u8]) -> Result<Self, UnknownCopy> {
        let sql = sql.trim_ascii();
        let word = |expected: &str| {
            sql.get(..expected.len()).is_some_and(|word| word.eq_ignore_ascii_case(expected.as_bytes()))
        };
        if word("COPY ") {
            return CopyStatement::of(sql)
                .map(Self::Copy)
                .ok_or_else(|| UnknownCopy(String::from_utf8_lossy(sql).into_owned()));
        }
        if word("LOCK TABLE ") {
            return Ok(Self::Lock);
        }
        let sets = b"set_config(";
        let is_setting = word("SET ") && !word("SET TRANSACTION") && !word("SET LOCAL")
            || word("SELECT ") && sql.windows(sets.len()).any(|window| window == sets);
        Ok(if is_setting { Self::Setting } else { Self::Other })
    }
}

/// A statement that reads rows in a way that is not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pg_dump reads rows in a way that is not known: {0}")]
pub(super) struct UnknownCopy(pub(super) String);

/// What the definition of an entry begins with when its rows go to the root of its partitions: a table that is hashed by a
/// value whose hash may be another one where it is restored (`forcePartitionRootLoad` in `pg_dump.c`).
const BY_THE_ROOT: &[u8] = b"-- load via partition root ";

impl CopyStatement {
    fn of(sql: &[u8]) -> Option<Self> {
        let copied = sql.strip_suffix(b";")?.trim_ascii_end().strip_suffix(b" TO stdout")?.get(5..)?;
        let copied = copied.trim_ascii();
        if copied.starts_with(b"(") {
            return Some(Self { text: sql.to_owned(), copied: Copied::Query });
        }
        let Qualified { relation, schema, name, rest } = qualified(copied)?;
        let copied = match rest.trim_ascii() {
            // Without a list of columns there are none to select.
            b"" => Copied::Nothing,
            columns => Copied::Table(CopiedTable {
                schema,
                name,
                relation: relation.to_owned(),
                columns: columns.strip_prefix(b"(")?.strip_suffix(b")")?.to_owned(),
            }),
        };
        Some(Self { text: sql.to_owned(), copied })
    }

    /// Reads all rows.
    pub(super) fn whole(&self) -> Vec<u8> {
        self.text.clone()
    }

    /// Schema and name of the table, where it can be read in ranges.
    pub(super) fn divisible(&self) -> Option<(&[u8], &[u8])> {
        match &self.copied {
            Copied::Table(table) => Some((&table.schema, &table.name)),
            Copied::Query | Copied::Nothing => None,
        }
    }

    /// Reads the rows in the blocks from `from` on, and before `to`.
    pub(super) fn range(&self, from: u64, to: Option<u64>) -> Vec<u8> {
        let Copied::Table(CopiedTable { relation, columns, .. }) = &self.copied else { return self.whole() };
        let end = to.map(|to| format!(" AND ctid < '({to},0)'::pg_catalog.tid")).unwrap_or_default();
        let blocks = format!(" WHERE ctid >= '({from},0)'::pg_catalog.tid{end}) TO stdout;");
        [b"COPY (SELECT ", &columns[..], b" FROM ONLY ", relation, blocks.as_bytes()].concat()
    }

    /// Whether `restoring`, the statement of an entry with this `definition`, takes what this one gives.
    pub(super) fn feeds(&self, definition: &[u8], restoring: &[u8]) -> bool {
        let Some(restoring) = restoring.trim_ascii_end().strip_suffix(b"FROM stdin;") else { return false };
        let restoring = restoring.trim_ascii_end();
        match &self.copied {
            // A query says nothing of the table that its rows go to.
            Copied::Query => restoring.starts_with(b"COPY "),
            Copied::Table(table) if definition.starts_with(BY_THE_ROOT) => {
                let into = restoring.strip_prefix(b"COPY ").and_then(qualified);
                into.is_some_and(|into| into.rest.trim_ascii() == [b"(", &table.columns[..], b")"].concat())
            }
            Copied::Table(_) | Copied::Nothing => {
                let given = self.text.trim_ascii_end().strip_suffix(b";").unwrap_or(&self.text);
                let given = given.trim_ascii_end().strip_suffix(b"TO stdout").unwrap_or(given);
                given.trim_ascii_end() == restoring
            }
        }
    }
}

/// A qualified name at the start of SQL.
struct Qualified<'a> {
    /// As it stands there.
    relation: &'a [u8],
    /// Without quotes.
    schema: Vec<u8>,
    /// Without quotes.
    name: Vec<u8>,
    /// What follows it.
    rest: &'a [u8],
}

/// The qualified name at the start of `sql`.
fn qualified(sql: &[u8]) -> Option<Qualified<'_>> {
    let (schema, rest) = identifier(sql)?;
    let (name, rest) = identifier(rest.strip_prefix(b".")?)?;
    Some(Qualified { relation: &sql[..sql.len() - rest.len()], schema, name, rest })
}

/// The identifier at the start of `sql`, without its quotes, and what follows it.
fn identifier(sql: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(quoted) = sql.strip_prefix(b"\"") else {
        let end = sql.iter().position(|byte| b". (;".contains(byte)).unwrap_or(sql.len());
        return (end > 0).then(|| (sql[..end].to_owned(), &sql[end..]));
    };
    let mut name = Vec::new();
    let mut rest = quoted;
    loop {
        let end = rest.iter().position(|byte| *byte == b'"')?;
        name.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(b"\"") {
            Some(after) => {
                name.push(b'"');
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
        match Statement::of(sql.as_bytes()) {
            Ok(Statement::Copy(statement)) => statement,
            other => panic!("{sql}: {other:?}"),
        }
    }

    fn text(sql: Vec<u8>) -> String {
        String::from_utf8(sql).unwrap()
    }

    #[rstest]
    #[case("COPY public.product (id, name) TO stdout;", Some(("public", "product")))]
    #[case(r#"COPY public."select" (id) TO stdout;"#, Some(("public", "select")))]
    #[case(r#"COPY "My ""Schema"".x"."a.b (c) TO stdout;" (id) TO stdout;"#, Some((r#"My "Schema".x"#, "a.b (c) TO stdout;")))]
    #[case("COPY public.nothing  TO stdout;", None)]
    #[case("COPY (SELECT id FROM ONLY public.config WHERE id > 3) TO stdout;", None)]
    fn a_copy_names_its_table(#[case] sql: &str, #[case] table: Option<(&str, &str)>) {
        let statement = copy(sql);
        assert_eq!(statement.divisible(), table.map(|(schema, name)| (schema.as_bytes(), name.as_bytes())));
        assert_eq!(text(statement.whole()), sql);
    }

    #[test]
    fn a_range_has_the_same_columns() {
        let statement = copy(r#"COPY public."a table" (id, "a ""b"" column") TO stdout;"#);
        assert_eq!(
            text(statement.range(10, Some(20))),
            r#"COPY (SELECT id, "a ""b"" column" FROM ONLY public."a table" WHERE ctid >= '(10,0)'::pg_catalog.tid AND ctid < '(20,0)'::pg_catalog.tid) TO stdout;"#
        );
        assert!(
            text(statement.range(20, None)).ends_with("WHERE ctid >= '(20,0)'::pg_catalog.tid) TO stdout;")
        );
    }

    #[rstest]
    #[case("COPY public.t (a) TO stdout;", "COPY public.t (a) FROM stdin;\n", true)]
    #[case("COPY public.t  TO stdout;", "COPY public.t  FROM stdin;\n", true)]
    #[case("COPY (SELECT a FROM ONLY public.t ) TO stdout;", "COPY public.t (a) FROM stdin;\n", true)]
    #[case("COPY public.t (a) TO stdout;", "COPY public.u (a) FROM stdin;\n", false)]
    #[case("COPY public.t (a) TO stdout;", "COPY public.t (a, b) FROM stdin;\n", false)]
    fn rows_go_to_the_entry_that_takes_them(#[case] sql: &str, #[case] restoring: &str, #[case] feeds: bool) {
        assert_eq!(copy(sql).feeds(b"", restoring.as_bytes()), feeds);
    }

    #[rstest]
    #[case("COPY public.root (a, b) FROM stdin;\n", true)]
    #[case("COPY public.root (a) FROM stdin;\n", false)]
    #[case("COPY public.root (a, b) FROM program;\n", false)]
    fn rows_of_a_partition_may_go_to_its_root(#[case] restoring: &str, #[case] feeds: bool) {
        let statement = copy("COPY public.root_p0 (a, b) TO stdout;");
        let definition = b"-- load via partition root public.root";
        assert_eq!(statement.feeds(definition, restoring.as_bytes()), feeds);
        assert!(!statement.feeds(b"", restoring.as_bytes()));
    }

    /// As a database in LATIN1 has it.
    #[test]
    fn a_statement_need_not_be_utf8() {
        let sql = b"COPY public.\"K\xe4se\" (\"gr\xf6\xdfe\") TO stdout;";
        let Ok(Statement::Copy(statement)) = Statement::of(sql) else { panic!() };
        assert_eq!(statement.whole(), sql);
        assert_eq!(statement.divisible(), Some((&b"public"[..], &b"K\xe4se"[..])));
        assert!(
            statement
                .range(1, None)
                .starts_with(b"COPY (SELECT \"gr\xf6\xdfe\" FROM ONLY public.\"K\xe4se\" WHERE")
        );
        assert!(statement.feeds(b"", b"COPY public.\"K\xe4se\" (\"gr\xf6\xdfe\") FROM stdin;\n"));
        assert!(!statement.feeds(b"", b"COPY public.\"K\xfcse\" (\"gr\xf6\xdfe\") FROM stdin;\n"));
        let query = b"COPY (SELECT a FROM ONLY public.t WHERE a = '\xfc') TO stdout;";
        let Ok(Statement::Copy(statement)) = Statement::of(query) else { panic!() };
        assert_eq!(statement.whole(), query);
    }

    #[rstest]
    #[case("SET DATESTYLE = ISO", Statement::Setting)]
    #[case("set client_encoding to 'LATIN1'", Statement::Setting)]
    #[case("SELECT pg_catalog.set_config('search_path', '', false);", Statement::Setting)]
    #[case("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", Statement::Other)]
    #[case("LOCK TABLE public.t, public.u IN ACCESS SHARE MODE", Statement::Lock)]
    #[case("BEGIN", Statement::Other)]
    #[case("SELECT c.tableoid FROM pg_class c", Statement::Other)]
    fn settings_are_told_from_the_rest(#[case] sql: &str, #[case] statement: Statement) {
        assert_eq!(Statement::of(sql.as_bytes()), Ok(statement));
    }

    #[rstest]
    #[case("COPY public.t (a) TO PROGRAM 'cat';")]
    #[case("COPY public.t (a) TO stdout WITH BINARY;")]
    #[case("COPY unqualified (a) TO stdout;")]
    fn a_copy_of_an_unknown_kind_is_an_error(#[case] sql: &str) {
        assert!(Statement::of(sql.as_bytes()).is_err());
    }
}
