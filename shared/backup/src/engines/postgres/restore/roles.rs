//! Which roles the statements of an archive name, and statements without those that name some.
//!
//! Their text is `pg_dump`'s own (`dumputils.c`); only as much of the syntax is known here as it takes to find the roles.

use std::collections::BTreeSet;

/// A word of SQL: where it is, and what it means.
struct Word<'a> {
    text: std::borrow::Cow<'a, str>,
    /// Not in quotes: it may be a keyword.
    bare: bool,
    end: usize,
}

/// The roles that grants, revocations and default privileges name.
pub(super) fn of_privileges(statements: &str) -> BTreeSet<String> {
    roles(statements, &["TO", "FROM"])
}

/// The roles that a policy is for.
pub(super) fn of_policy(definition: &str) -> BTreeSet<String> {
    let expression = [" USING (", " WITH CHECK ("].iter().filter_map(|words| definition.find(words)).min();
    roles(&definition[..expression.unwrap_or(definition.len())], &["TO"])
}

/// `statements` without those that name one of `missing`.
pub(super) fn without(statements: &str, missing: &BTreeSet<String>) -> String {
    statements_of(statements).filter(|statement| of_privileges(statement).is_disjoint(missing)).collect()
}

fn roles(text: &str, before: &[&str]) -> BTreeSet<String> {
    let mut roles = BTreeSet::new();
    let all: Vec<_> = words(text).collect();
    for (index, word) in all.iter().enumerate() {
        let is = |index: usize, keyword: &str| {
            all.get(index).is_some_and(|word: &Word<'_>| word.bare && word.text.eq_ignore_ascii_case(keyword))
        };
        let named = word.bare && before.iter().any(|keyword| is(index, keyword))
            || is(index, "ROLE") && index > 0 && is(index - 1, "FOR")
            || is(index, "AUTHORIZATION") && index > 0 && is(index - 1, "SESSION");
        if !named {
            continue;
        }
        if let Some(role) = all.get(index + 1)
            && !(role.bare
                && ["PUBLIC", "CURRENT_USER", "DEFAULT", ";"].iter().any(|word| is(index + 1, word)))
        {
            roles.insert(role.text.clone().into_owned());
        }
        // A policy may be for several.
        let mut next = index + 2;
        while is(next, ",") && before == ["TO"] {
            roles.extend(all.get(next + 1).map(|role| role.text.clone().into_owned()));
            next += 2;
        }
    }
    roles
}

/// Statements, each with its semicolon and what follows it up to the next one.
fn statements_of(text: &str) -> impl Iterator<Item = &str> {
    let ends: Vec<usize> =
        words(text).filter(|word| word.bare && word.text == ";").map(|word| word.end).collect();
    let mut begin = 0;
    ends.into_iter().map(move |end| {
        let after = text[end..].len() - text[end..].trim_start().len();
        let statement = &text[begin..end + after];
        begin = end + after;
        statement
    })
}

fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += text[at..].len() - text[at..].trim_start().len();
        let rest = &text[at..];
        let first = rest.chars().next()?;
        let length = match first {
            '"' | '\'' => quoted_length(rest, first),
            _ if is_part(first) => rest.find(|c: char| !is_part(c)).unwrap_or(rest.len()),
            other => other.len_utf8(),
        };
        let (word, quoted) = (&rest[..length], first == '"');
        at += length;
        let text = if quoted {
            let inner = word[1..].strip_suffix('"').unwrap_or(&word[1..]);
            inner.replace("\"\"", "\"").into()
        } else {
            word.into()
        };
        Some(Word { text, bare: !quoted && first != '\'', end: at })
    })
}

/// How long the quoted text at the start of `text` is; a quote in it is doubled.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut at = 1;
    loop {
        match text[at..].find(quote) {
            None => return text.len(),
            Some(found) if text[at + found + 1..].starts_with(quote) => at += found + 2,
            Some(found) => return at + found + 1,
        }
    }
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn set(roles: &[&str]) -> BTreeSet<String> {
        roles.iter().map(|role| (*role).to_owned()).collect()
    }

    #[rstest]
    #[case("GRANT SELECT ON TABLE public.t TO reader;\n", &["reader"])]
    #[case("REVOKE ALL ON TABLE public.t FROM PUBLIC;\nGRANT ALL ON TABLE public.t TO \"Odd \"\"one\"\"; TO x\";\n", &["Odd \"one\"; TO x"])]
    #[case("ALTER DEFAULT PRIVILEGES FOR ROLE shop IN SCHEMA public GRANT SELECT ON TABLES TO reader WITH GRANT OPTION;\n", &["shop", "reader"])]
    #[case("SET SESSION AUTHORIZATION boss;\nGRANT ALL ON SCHEMA s TO a;\nRESET SESSION AUTHORIZATION;\n", &["boss", "a"])]
    #[case("GRANT SELECT(\"to\",b) ON TABLE public.\"from\" TO a;\n", &["a"])]
    fn privileges_name_roles(#[case] statements: &str, #[case] roles: &[&str]) {
        assert_eq!(of_privileges(statements), set(roles));
    }

    #[rstest]
    #[case("CREATE POLICY p ON public.t USING ((a IN ( SELECT x.a FROM y)));\n", &[])]
    #[case("CREATE POLICY p ON public.t FOR SELECT TO a, \"B c\" USING ((o = 'x TO z'::text));\n", &["a", "B c"])]
    #[case("CREATE POLICY p ON public.t TO a WITH CHECK (true);\n", &["a"])]
    fn a_policy_is_for_roles(#[case] definition: &str, #[case] roles: &[&str]) {
        assert_eq!(of_policy(definition), set(roles));
    }

    #[test]
    fn a_statement_that_names_a_missing_role_is_left_out() {
        let statements = "REVOKE ALL ON TABLE t FROM PUBLIC;\nGRANT SELECT ON TABLE t TO \"a;b\";\nGRANT ALL ON TABLE t TO c;\n";
        assert_eq!(
            without(statements, &set(&["a;b", "other"])),
            "REVOKE ALL ON TABLE t FROM PUBLIC;\nGRANT ALL ON TABLE t TO c;\n"
        );
        assert_eq!(without(statements, &set(&[])), statements);
    }
}
