//! A session with the server: the family's own client program, which is given statements as they come.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout},
    task::JoinHandle,
    time::timeout,
};

use super::failure::{failure, of_end};
use crate::{
    engines::mysql::{access::Access, failure::Fault, greeting::Family, process},
    error::SliceError,
};

/// What the last line of an answer is.
const END: &str = "holdfast: that was all";

/// How long an answer may take: a server reads the definition of every table for some.
const ANSWER_WITHIN: Duration = Duration::from_mins(5);

/// How long a program that is not heard of any more may take to end.
const END_WITHIN: Duration = Duration::from_secs(10);

/// How long a statement waits for others to let go of a table, in seconds.
const LOCK_WAIT_SECONDS: u32 = 20;

/// How long the server waits for the next statement, in seconds, unless it is told otherwise.
const IDLE_SECONDS: u64 = 10 * 60;

/// What keeps a client program from running or reading anything on this machine, whatever a dump or a server has it read: names
/// and definitions come from there, and `\! command` is a line like any other. `MariaDB`'s has a sandbox; one without it does not
/// start. Of `MySQL`'s, `--binary-mode` leaves no command but `DELIMITER` and `\C` in what is not typed, and newer ones can be
/// told so besides. No server gets a file that it asks for.
fn restrictions(family: Family) -> &'static [&'static str] {
    match family {
        Family::MariaDb => &["--sandbox", "--local-infile=0"],
        Family::MySql => &["--binary-mode", "--loose-system-command=OFF", "--local-infile=0"],
    }
}

/// One line of an answer, in columns.
pub(super) type Row = Vec<Vec<u8>>;

/// A session. Dropped, its program is killed.
pub(super) struct Session<'a> {
    access: &'a Access,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    said: JoinHandle<String>,
    /// The server's number of it.
    pub(super) id: String,
}

impl<'a> Session<'a> {
    /// Begins a session in `database`, or in none.
    pub(super) async fn open(access: &'a Access, database: Option<&str>) -> Result<Self, SliceError> {
        let broken = |error: io::Error| {
            let words = format!("{} could not be run: {error}", access.programs.client.display());
            failure(&access.service, Fault::DumpFailed, &words)
        };
        let database = database.map(|database| format!("--database={database}"));
        let mut arguments = vec![
            "--batch",
            "--skip-column-names",
            "--unbuffered",
            "--default-character-set=utf8mb4",
            "--max-allowed-packet=1G",
        ];
        arguments.extend(restrictions(access.programs.family));
        arguments.extend(database.as_deref());
        let mut child = process::start_for_input(&access.programs.client, access.settings(), &arguments)
            .map_err(broken)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(broken(io::Error::other("its pipes are not there")));
        };
        // It ends with the program.
        let said = tokio::spawn(process::last_words(stderr));
        let (stdout, id) = (BufReader::new(stdout), String::new());
        let mut session = Self { access, child, stdin, stdout, said, id };
        let rows = session
            .ask(&format!(
                "SET SESSION sql_mode = '', lock_wait_timeout = {LOCK_WAIT_SECONDS}, wait_timeout = {IDLE_SECONDS};\n\
                 SELECT CONNECTION_ID();"
            ))
            .await?;
        session.id = rows.first().map(|row| text(row, 0)).unwrap_or_default();
        Ok(session)
    }

    /// Runs `sql`, whose statements end with `;`; gives the lines of all answers. After an error the session is over.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Vec<Row>, SliceError> {
        self.run(sql.as_bytes()).await
    }

    /// The same for SQL that is not all text.
    pub(super) async fn run(&mut self, sql: &[u8]) -> Result<Vec<Row>, SliceError> {
        let answered = timeout(ANSWER_WITHIN, async {
            let end = format!("\nSELECT '{END}';\n");
            let (stdin, stdout) = (&mut self.stdin, &mut self.stdout);
            let writing = async {
                // Of a program that has ended by itself, more is told below.
                let _ = stdin.write_all(sql).await;
                let _ = stdin.write_all(end.as_bytes()).await;
                let _ = stdin.flush().await;
            };
            let reading = async {
                let mut rows = Vec::new();
                let mut line = Vec::new();
                while stdout.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
                    let content = line.strip_suffix(b"\n").unwrap_or(&line);
                    if content == END.as_bytes() {
                        return Some(rows);
                    }
                    rows.push(content.split(|byte| *byte == b'\t').map(unescaped).collect());
                    line.clear();
                }
                None
            };
            tokio::pin!(writing);
            tokio::select! {
                rows = reading => rows,
                // It never ends: what is written is answered.
                () = async { (&mut writing).await; std::future::pending::<()>().await } => None,
            }
        });
        match answered.await {
            Ok(Some(rows)) => Ok(rows),
            Ok(None) => Err(self.why_ended().await),
            Err(_) => {
                process::end(&mut self.child).await;
                let words = format!("no answer within {} seconds", ANSWER_WITHIN.as_secs());
                Err(failure(&self.access.service, Fault::UnreachableHost, &words))
            }
        }
    }

    /// Gives SQL to run, without waiting for it. An error is that of the server, or that the session is over.
    pub(super) async fn feed(&mut self, sql: &[u8]) -> Result<(), SliceError> {
        let mut printed = [0; 4096];
        let mut left = sql;
        while !left.is_empty() {
            tokio::select! {
                written = self.stdin.write(left) => match written {
                    Ok(written) => left = &left[written..],
                    Err(_) => return Err(self.why_ended().await),
                },
                // A dump answers little: what functions give that it calls, such as SETVAL.
                read = tokio::io::AsyncReadExt::read(&mut self.stdout, &mut printed) => {
                    if !read.is_ok_and(|read| read > 0) {
                        return Err(self.why_ended().await);
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for everything that was given to be done.
    pub(super) async fn finish(mut self) -> Result<(), SliceError> {
        drop(self.stdin);
        let _ = tokio::io::copy(&mut self.stdout, &mut tokio::io::sink()).await;
        let status = self.child.wait().await;
        let said = self.said.await.unwrap_or_default();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(of_end(&self.access.service, status, &said)),
            Err(error) => Err(failure(&self.access.service, Fault::DumpFailed, &error.to_string())),
        }
    }

    async fn why_ended(&mut self) -> SliceError {
        let Ok(Ok(status)) = timeout(END_WITHIN, self.child.wait()).await else {
            process::end(&mut self.child).await;
            return failure(
                &self.access.service,
                Fault::ConnectionLost,
                "the client program does not answer",
            );
        };
        let said = (&mut self.said).await.unwrap_or_default();
        of_end(&self.access.service, status, &said)
    }
}

/// Runs `sql` in a session of its own, in `database` or in none.
pub(super) async fn ask(
    access: &Access,
    database: Option<&str>,
    sql: impl AsRef<[u8]>,
) -> Result<Vec<Row>, SliceError> {
    let mut session = Session::open(access, database).await?;
    let rows = session.run(sql.as_ref()).await?;
    session.finish().await?;
    Ok(rows)
}

/// Ends the session `id` of this account on the server, which may not have noticed that its program is gone, and waits until it
/// has ended.
pub(super) async fn kill(access: &Access, id: &str) -> Result<(), SliceError> {
    const TRIES: u32 = 100;
    const WAIT: Duration = Duration::from_millis(100);
    let left = format!(
        "SELECT COUNT(*) FROM information_schema.processlist
            WHERE id = {} AND user = SUBSTRING_INDEX(USER(), '@', 1);",
        id.parse::<u64>().unwrap_or(0)
    );
    for attempt in 0..TRIES {
        let rows = ask(access, None, &left).await?;
        if rows.first().is_none_or(|row| text(row, 0) == "0") {
            return Ok(());
        }
        if attempt == 0 {
            // It may have ended by itself just now.
            let _ = ask(access, None, format!("KILL {id};")).await;
        }
        tokio::time::sleep(WAIT).await;
    }
    Err(failure(
        &access.service,
        Fault::TablesLocked,
        &format!("the session {id} of this account does not end"),
    ))
}

/// Ends the sessions of this account that have chosen `database`.
pub(super) async fn kill_in(access: &Access, database: &str) -> Result<(), SliceError> {
    let sessions = format!(
        "SELECT id FROM information_schema.processlist
            WHERE db = {} AND user = SUBSTRING_INDEX(USER(), '@', 1) AND id <> CONNECTION_ID();",
        literal(database)
    );
    for row in ask(access, None, sessions).await? {
        kill(access, &text(&row, 0)).await?;
    }
    Ok(())
}

/// A column as text; empty where there is none.
pub(super) fn text(row: &[Vec<u8>], column: usize) -> String {
    row.get(column).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

/// A name as SQL has it.
pub(super) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text as SQL has it, in a session of ours.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// What `--batch` has escaped (`safe_put_field` in `mysql.cc`).
fn unescaped(printed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(printed.len());
    let mut printed = printed.iter();
    while let Some(byte) = printed.next() {
        bytes.push(match byte {
            b'\\' => match printed.next() {
                Some(b'0') => 0,
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                Some(other) => *other,
                None => b'\\',
            },
            other => *other,
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_escaped_is_as_it_was() {
        assert_eq!(unescaped(br"a\tb\nc\\nd\0"), b"a\tb\nc\\nd\0");
    }

    #[test]
    fn names_and_texts_stay_what_they_are() {
        assert_eq!(identifier("a`b"), "`a``b`");
        assert_eq!(literal(r"a'b\c"), r"'a\'b\\c'");
    }
}
