//! What is asked on a session: questions with short answers, and rows by the gigabyte.

use std::{io, str};

use bytes::{Buf, Bytes};

use super::{
    login::Session,
    unit::{Collector, PIECE_BYTES},
    wire::{Refusal, head, query, row, unexpected},
};

/// Why a statement did not come to its end.
#[derive(Debug)]
pub(super) enum StatementError {
    /// The server refused; the session can go on, unless the server has closed it.
    Refused(Refusal),
    /// The connection broke.
    Lost(io::Error),
}

impl From<io::Error> for StatementError {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// The rows of an answer.
pub(super) type Rows = Vec<Vec<Option<Bytes>>>;

impl Session {
    /// Runs SQL whose answer is short.
    pub(super) async fn ask(&mut self, sql: &[u8]) -> Result<Rows, StatementError> {
        self.wire.send(&query(sql)).await?;
        let (mut rows, mut refusal) = (Rows::new(), None);
        loop {
            let message = match self.wire.message().await {
                Ok(message) => message,
                Err(error) => return Err(refused_or_lost(refusal, error)),
            };
            match message.tag {
                b'D' => rows.push(row(message.body())?),
                b'E' => refusal = Some(Refusal::read(&message.body())),
                b'Z' => return refusal.map_or(Ok(rows), |refusal| Err(StatementError::Refused(refusal))),
                b'T' | b'C' | b'I' | b'N' | b'S' | b'A' => {}
                other => return Err(unexpected(&format!("message {:?}", char::from(other))).into()),
            }
        }
    }

    /// Runs a `COPY … TO stdout`; returns how many rows it gave, which is what the server says it gave.
    pub(super) async fn copy(&mut self, sql: &[u8], into: &mut Collector<'_>) -> Result<u64, StatementError> {
        self.ask_for_rows([sql]).await?;
        let rows = self.next_rows(into).await?;
        self.end_of_rows().await?;
        Ok(rows)
    }

    /// Sends several `COPY … TO stdout` as one query. [`Session::next_rows`] is then due for each of them, in order, and at
    /// last [`Session::end_of_rows`]; an error of either ends the query.
    pub(super) async fn ask_for_rows<'a>(
        &mut self,
        statements: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), StatementError> {
        let sql = statements.into_iter().collect::<Vec<_>>().join(&b'\n');
        Ok(self.wire.send(&query(&sql)).await?)
    }

    /// The rows of the next statement; returns how many there were, which is what the server says it gave.
    pub(super) async fn next_rows(&mut self, into: &mut Collector<'_>) -> Result<u64, StatementError> {
        let mut rows = 0;
        loop {
            rows += self.take_rows(into).await?;
            // The next message is no row, or its beginning is not there yet.
            let Some(message) = self.row_or_message(into, &mut rows).await? else { continue };
            match message.tag {
                // Text, in as many columns as there are.
                b'H' if message.body().first() == Some(&0) => {}
                b'c' | b'N' | b'S' | b'A' => {}
                b'C' => match copied(&message.body()) {
                    Some(said) if said == rows => return Ok(rows),
                    said => return Err(unexpected(&format!("an end after {rows} rows, of {said:?}")).into()),
                },
                b'E' => return Err(self.refused(Refusal::read(&message.body())).await),
                other => return Err(unexpected(&format!("message {:?}", char::from(other))).into()),
            }
        }
    }

    /// Waits until the server is ready for the next query.
    pub(super) async fn end_of_rows(&mut self) -> Result<(), StatementError> {
        loop {
            let message = self.wire.message().await?;
            match message.tag {
                b'Z' => return Ok(()),
                b'N' | b'S' | b'A' => {}
                b'E' => return Err(self.refused(Refusal::read(&message.body())).await),
                other => return Err(unexpected(&format!("message {:?}", char::from(other))).into()),
            }
        }
    }

    /// After a refusal the server runs nothing more of the query, and is ready for the next one. A server that ends the
    /// session closes the connection instead, having said why.
    pub(super) async fn refused(&mut self, refusal: Refusal) -> StatementError {
        while let Ok(message) = self.wire.message().await {
            if message.tag == b'Z' {
                break;
            }
        }
        StatementError::Refused(refusal)
    }

    /// Takes the rows that are there whole; returns how many.
    async fn take_rows(&mut self, into: &mut Collector<'_>) -> io::Result<u64> {
        let mut rows = 0;
        loop {
            let unread = self.wire.unread();
            let filling = into.filling();
            let mut at = 0;
            while filling.len() < PIECE_BYTES
                && let Some(next) = head(&unread[at..])?
                && next.tag == b'd'
                && let Some(body) = unread[at + 5..].get(..next.body)
            {
                filling.extend_from_slice(body);
                at += 5 + next.body;
                rows += 1;
            }
            unread.advance(at);
            if filling.len() < PIECE_BYTES {
                return Ok(rows);
            }
            into.turn_over().await;
        }
    }

    /// Waits for more, and returns the next message if it is no row. A row that is longer than what is read at once is
    /// taken piece by piece.
    async fn row_or_message(
        &mut self,
        into: &mut Collector<'_>,
        rows: &mut u64,
    ) -> io::Result<Option<super::wire::Message>> {
        /// Shorter rows are waited for.
        const LONG_ROW: usize = 128 * 1024;
        match head(self.wire.unread())? {
            None => self.wire.fill().await?,
            Some(next) if next.tag != b'd' => return self.wire.message().await.map(Some),
            Some(next) if next.body <= LONG_ROW => self.wire.fill().await?,
            Some(_) => {
                let mut left = self.wire.head().await?.body;
                while left > 0 {
                    let room = PIECE_BYTES.saturating_sub(into.filling().len());
                    if room == 0 {
                        into.turn_over().await;
                        continue;
                    }
                    let some = self.wire.some_of(left.min(room)).await?;
                    into.filling().extend_from_slice(&some);
                    left -= some.len();
                }
                *rows += 1;
            }
        }
        Ok(None)
    }
}

fn refused_or_lost(refusal: Option<Refusal>, error: io::Error) -> StatementError {
    // A server that ends a session says why before it closes the connection.
    refusal.map_or(StatementError::Lost(error), StatementError::Refused)
}

/// The number in `COPY 42`.
pub(super) fn copied(body: &[u8]) -> Option<u64> {
    str::from_utf8(body).ok()?.trim_end_matches('\0').strip_prefix("COPY ")?.parse().ok()
}
