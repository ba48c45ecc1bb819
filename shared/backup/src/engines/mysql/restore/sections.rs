//! Where the SQL of a dump can be left, and gone on with in another session.
//!
//! The dump programs write a table's structure, rows and triggers in one go, with a comment before it and `DROP TABLE IF EXISTS`
//! first (`get_table_structure` in `mysqldump.c`): from that comment on, all can be run again whatever was run before. What a session
//! needs besides are the settings that a dump begins with.

/// How the line begins that announces a table.
const TABLE: &[u8] = b"-- Table structure for table `";

/// How the first line of a dump begins: a dump may be several, one after the other.
const DUMPS: [&[u8]; 2] = [b"-- MySQL dump ", b"-- MariaDB dump "];

/// What stands around routines, triggers and events, whose lines are anybody's.
const DELIMITED: &[u8] = b"DELIMITER ;;";
const UNDELIMITED: &[u8] = b"DELIMITER ;";

/// How much of a line is looked at, in bytes. Settings are shorter.
const LINE_BYTES: usize = 512;

/// A dump that is looked through.
#[derive(Debug)]
pub(super) struct Sections {
    /// The line so far, or its beginning.
    line: Vec<u8>,
    is_delimited: bool,
    /// Whether nothing but settings has come yet.
    is_heading: bool,
    settings: Vec<u8>,
}

impl Sections {
    /// From the beginning of a dump on.
    pub(super) fn new() -> Self {
        Self { line: Vec::new(), is_delimited: false, is_heading: true, settings: Vec::new() }
    }

    /// From a table on, in a dump that begins with these settings.
    pub(super) fn within(settings: &[u8]) -> Self {
        Self { is_heading: false, settings: settings.to_owned(), ..Self::new() }
    }

    /// The statements that the dump begins with, for a session that goes on with it.
    pub(super) fn settings(&self) -> &[u8] {
        &self.settings
    }

    /// Looks through `piece` up to the next table: gives how much of it comes before, the line that announces it included. Without a
    /// table, it has looked through all of it.
    pub(super) fn next(&mut self, piece: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = &piece[at..];
            let length = memchr::memchr(b'\n', rest);
            let line = &rest[..length.unwrap_or(rest.len())];
            let room = LINE_BYTES - self.line.len();
            self.line.extend_from_slice(&line[..line.len().min(room)]);
            at += length? + 1;
            if self.ends_line() {
                return Some(at);
            }
        }
    }

    /// Whether it has announced a table that can be begun with.
    fn ends_line(&mut self) -> bool {
        let line = std::mem::take(&mut self.line);
        if self.is_delimited {
            self.is_delimited = line != UNDELIMITED;
            return false;
        }
        self.is_delimited = line == DELIMITED;
        if DUMPS.iter().any(|first| line.starts_with(first)) {
            self.is_heading = true;
            self.settings.clear();
        } else if self.is_heading && is_setting(&line) {
            self.settings.extend_from_slice(&line);
            self.settings.push(b'\n');
        } else if !(line.is_empty() || line.starts_with(b"--") || line.starts_with(b"/*M!999999\\- ")) {
            self.is_heading = false;
        }
        // Of a dump that is written in another way, nothing is known.
        line.starts_with(TABLE) && !self.settings.is_empty()
    }
}

/// Whether a line is `/*!40101 SET … */;`, whole.
fn is_setting(line: &[u8]) -> bool {
    let version = line.strip_prefix(b"/*!").or_else(|| line.strip_prefix(b"/*M!"));
    let Some(version) = version else { return false };
    let digits = version.iter().take_while(|byte| byte.is_ascii_digit()).count();
    version[digits..].starts_with(b" SET ") && line.ends_with(b"*/;")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const HEAD: &str = "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n--\n-- Server version\t10.11\n\n\
        /*!40101 SET NAMES utf8mb4 */;\n/*M!100616 SET @OLD=1, NOTE_VERBOSITY=0 */;\n\n";
    const SETTINGS: &str = "/*!40101 SET NAMES utf8mb4 */;\n/*M!100616 SET @OLD=1, NOTE_VERBOSITY=0 */;\n";
    const TABLES: &str = "--\n-- Table structure for table `a`\n--\n\nDROP TABLE IF EXISTS `a`;\n/*!40101 SET x=1 */;\n\
        INSERT INTO `a` VALUES ('-- Table structure for table `b`');\nDELIMITER ;;\n\
        -- Table structure for table `c`\nDELIMITER ;\n-- Table structure for view `v`\n--\n-- Table structure for table `d`\n--\n";

    /// What comes before each table, and the settings then.
    fn parts(dump: &str, mut sections: Sections, step: usize) -> Vec<(String, String)> {
        let (mut parts, mut part) = (Vec::new(), Vec::new());
        for mut piece in dump.as_bytes().chunks(step) {
            while let Some(end) = sections.next(piece) {
                part.extend_from_slice(&piece[..end]);
                piece = &piece[end..];
                let settings = String::from_utf8(sections.settings().to_owned()).unwrap();
                parts.push((String::from_utf8(std::mem::take(&mut part)).unwrap(), settings));
            }
            part.extend_from_slice(piece);
        }
        parts
    }

    #[rstest]
    fn it_can_be_left_before_each_table(#[values(1, 7, 4096)] step: usize) {
        let found = parts(&format!("{HEAD}{TABLES}"), Sections::new(), step);
        let ends: Vec<_> = found.iter().map(|(part, _)| part.lines().last().unwrap()).collect();
        assert_eq!(ends, ["-- Table structure for table `a`", "-- Table structure for table `d`"]);
        assert!(found.iter().all(|(_, settings)| settings == SETTINGS), "{found:?}");
        assert_eq!(parts(TABLES, Sections::within(SETTINGS.as_bytes()), step).len(), 2);
    }

    #[rstest]
    fn another_dump_has_its_own_settings(#[values(1, 4096)] step: usize) {
        let other = HEAD.replace("utf8mb4", "latin1");
        let found =
            parts(&format!("{HEAD}{TABLES}-- Dump completed\n{other}{TABLES}"), Sections::new(), step);
        assert_eq!(found.len(), 4);
        assert_eq!(found[3].1, SETTINGS.replace("utf8mb4", "latin1"));
    }

    #[test]
    fn what_has_no_settings_cannot_be_left() {
        assert_eq!(parts(TABLES, Sections::new(), 4096), []);
    }
}
