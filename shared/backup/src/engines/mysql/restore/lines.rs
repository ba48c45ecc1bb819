//! The few lines of a dump that are not taken as they are.
//!
//! Around routines, triggers and events that are older than the character set of their database, the dump programs write `ALTER
//! DATABASE` with the name that the database had (`switch_db_collation` in `mysqldump.c`). Run in another database, that would
//! alter the one of the old name; without the name it is the chosen one. And where definers are not wanted, they are left out.

use std::collections::VecDeque;

/// How much of a line decides, in bytes: a definer is an account, whose name and host are at most 80 and 255 characters.
const HEAD_BYTES: usize = 2 * 1024;

/// How much of the end is kept, in bytes.
const TAIL_BYTES: usize = 256;

/// How the lines with a definer begin, up to it; and whether all of its comment goes with it.
const WITH_DEFINER: [(&[u8], &[u8]); 4] = [
    (b"/*!50003 CREATE*/ /*!50017 DEFINER=", b"/*!50003 CREATE*/ /*!50017 "),
    (b"/*!50106 CREATE*/ /*!50117 DEFINER=", b"/*!50106 CREATE*/ /*!50117 "),
    (b"/*!50013 DEFINER=", b"/*!50013 "),
    (b"CREATE DEFINER=", b"CREATE "),
];

/// A dump on its way.
pub(super) struct Lines {
    without_definers: bool,
    /// The beginning of a line that is not decided yet.
    head: Vec<u8>,
    /// Whether what comes next belongs to a line that is decided.
    is_decided: bool,
    tail: VecDeque<u8>,
}

impl Lines {
    pub(super) fn new(without_definers: bool) -> Self {
        Self { without_definers, head: Vec::new(), is_decided: false, tail: VecDeque::new() }
    }

    /// Takes the next piece; gives what of it is to be run.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Vec<u8> {
        self.tail.extend(&piece[piece.len().saturating_sub(TAIL_BYTES)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
        let mut out = Vec::with_capacity(piece.len() + self.head.len());
        while !piece.is_empty() {
            let end = piece.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let rest = &piece[..end.unwrap_or(piece.len())];
            piece = &piece[rest.len()..];
            if self.is_decided {
                out.extend_from_slice(rest);
            } else if self.head.is_empty() && !matches!(rest[0], b'A' | b'C' | b'/') {
                out.extend_from_slice(rest);
                self.is_decided = true;
            } else {
                self.head.extend_from_slice(rest);
                if end.is_some() || self.head.len() >= HEAD_BYTES {
                    self.decide(&mut out);
                }
            }
            if end.is_some() {
                self.is_decided = false;
            }
        }
        out
    }

    /// What is left when everything was taken, and the end of the dump as it is.
    pub(super) fn finish(&mut self) -> (Vec<u8>, Vec<u8>) {
        let mut out = Vec::new();
        self.decide(&mut out);
        (out, self.tail.iter().copied().collect())
    }

    fn decide(&mut self, out: &mut Vec<u8>) {
        let head = std::mem::take(&mut self.head);
        self.is_decided = true;
        if let Some(rest) = head.strip_prefix(b"ALTER DATABASE ")
            && let Some(named) = identifier(rest)
            && rest[named..].starts_with(b" CHARACTER SET ")
        {
            out.extend_from_slice(b"ALTER DATABASE");
            out.extend_from_slice(&rest[named..]);
            return;
        }
        if self.without_definers {
            for (before, kept) in WITH_DEFINER {
                if let Some(rest) = head.strip_prefix(before)
                    && let Some(definer) = account(rest)
                {
                    out.extend_from_slice(kept);
                    out.extend_from_slice(rest[definer..].trim_ascii_start());
                    return;
                }
            }
        }
        out.extend_from_slice(&head);
    }
}

/// The length of the quoted identifier that `text` begins with.
fn identifier(text: &[u8]) -> Option<usize> {
    let mut at = usize::from(text.first() == Some(&b'`'));
    if at == 0 {
        return None;
    }
    loop {
        at += 1 + text[at..].iter().position(|byte| *byte == b'`')?;
        if text.get(at) != Some(&b'`') {
            return Some(at);
        }
        at += 1;
    }
}

/// The length of the account or role that `text` begins with.
fn account(text: &[u8]) -> Option<usize> {
    let user = identifier(text)?;
    match text.get(user) {
        Some(b'@') => Some(user + 1 + identifier(&text[user + 1..])?),
        _ => Some(user),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn through(lines: &str, without_definers: bool, step: usize) -> String {
        let mut through = Lines::new(without_definers);
        let mut out: Vec<u8> = lines.as_bytes().chunks(step).flat_map(|piece| through.push(piece)).collect();
        let (rest, tail) = through.finish();
        out.extend(rest);
        assert!(lines.as_bytes().ends_with(&tail));
        String::from_utf8(out).unwrap()
    }

    #[rstest]
    #[case(
        "ALTER DATABASE `a``b` CHARACTER SET latin1 COLLATE x ;\n",
        "ALTER DATABASE CHARACTER SET latin1 COLLATE x ;\n"
    )]
    #[case(
        "INSERT INTO t VALUES ('ALTER DATABASE `a` CHARACTER SET x');\n",
        "INSERT INTO t VALUES ('ALTER DATABASE `a` CHARACTER SET x');\n"
    )]
    #[case("ALTER DATABASE `a", "ALTER DATABASE `a")]
    #[case("ALTER DATABASE `a` READ ONLY = 1;\n", "ALTER DATABASE `a` READ ONLY = 1;\n")]
    #[case(
        "CREATE DEFINER=`a`@`%` PROCEDURE p() SELECT 1 ;;\n",
        "CREATE DEFINER=`a`@`%` PROCEDURE p() SELECT 1 ;;\n"
    )]
    #[case("\n\nA\n/", "\n\nA\n/")]
    #[case("", "")]
    fn a_dump_alters_no_database_but_its_own(
        #[case] lines: &str,
        #[case] expected: &str,
        #[values(1, 7, 4096)] step: usize,
    ) {
        assert_eq!(through(lines, false, step), expected);
    }

    #[rstest]
    #[case("CREATE DEFINER=`a`@`%` PROCEDURE `p`()\n", "CREATE PROCEDURE `p`()\n")]
    #[case("CREATE DEFINER=`role` FUNCTION `f`()\n", "CREATE FUNCTION `f`()\n")]
    #[case(
        "/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b``c`*/ /*!50003 TRIGGER t AFTER */;;\n",
        "/*!50003 CREATE*/ /*!50017 */ /*!50003 TRIGGER t AFTER */;;\n"
    )]
    #[case(
        "/*!50106 CREATE*/ /*!50117 DEFINER=`a`@`%`*/ /*!50106 EVENT `e` */ ;;\n",
        "/*!50106 CREATE*/ /*!50117 */ /*!50106 EVENT `e` */ ;;\n"
    )]
    #[case("/*!50013 DEFINER=`a`@`%` SQL SECURITY INVOKER */\n", "/*!50013 SQL SECURITY INVOKER */\n")]
    #[case("CREATE TABLE `t` (\n  `DEFINER=` int\n);\n", "CREATE TABLE `t` (\n  `DEFINER=` int\n);\n")]
    fn definers_are_left_out(#[case] lines: &str, #[case] expected: &str, #[values(1, 7, 4096)] step: usize) {
        assert_eq!(through(lines, true, step), expected);
    }

    #[test]
    fn a_long_line_is_not_held() {
        let mut lines = Lines::new(true);
        let long = vec![b'A'; 2 * HEAD_BYTES];
        assert_eq!(lines.push(&long), long);
        assert_eq!(
            lines.push(b"ALTER DATABASE `a` CHARACTER SET x\n"),
            b"ALTER DATABASE `a` CHARACTER SET x\n"
        );
        assert_eq!(lines.push(b"ALTER DATABASE `a` CHARACTER SET x\n"), b"ALTER DATABASE CHARACTER SET x\n");
    }
}
