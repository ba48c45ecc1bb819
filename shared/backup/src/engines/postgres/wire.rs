//! Messages of the frontend/backend protocol, version 3:
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
//!
//! A message is a byte that says what it is, the length of what follows including these four bytes, and the body.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A connection in both directions.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What is read at once, at most, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// The most that is kept in memory as one message. What may be longer, rows and large objects, is never read whole.
const LONGEST_MESSAGE: usize = 64 * 1024 * 1024;

/// The bytes before a body.
const HEAD_BYTES: usize = 5;

/// A whole message.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// What it is.
    pub(super) tag: u8,
    /// Head and body.
    pub(super) bytes: Bytes,
}

impl Message {
    pub(super) fn body(&self) -> Bytes {
        self.bytes.slice(HEAD_BYTES..)
    }
}

/// What a message begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// What it is.
    pub(super) tag: u8,
    /// Bytes of its body.
    pub(super) body: usize,
}

/// One end of a connection.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    unread: BytesMut,
}

impl Wire {
    pub(super) fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), unread: BytesMut::new() }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Waits for more bytes. Nothing is lost when this is dropped.
    pub(super) async fn fill(&mut self) -> io::Result<()> {
        self.unread.reserve(READ_BYTES);
        // The room may be larger than what was reserved.
        let mut room = (&mut self.stream).take(READ_BYTES as u64);
        match room.read_buf(&mut self.unread).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other side closed the connection")),
            _ => Ok(()),
        }
    }

    /// The bytes that have come and have not been taken.
    pub(super) fn unread(&mut self) -> &mut BytesMut {
        &mut self.unread
    }

    /// Passes on, in both directions, what this and `other` send, until both have ended.
    pub(super) async fn join(mut self, mut other: Self) -> io::Result<()> {
        other.send(&self.unread.split()).await?;
        let sent = other.unread.split();
        self.send(&sent).await?;
        tokio::io::copy_bidirectional(&mut self.stream, &mut other.stream).await?;
        Ok(())
    }

    /// The next message, whole. Nothing is lost when this is dropped.
    pub(super) async fn message(&mut self) -> io::Result<Message> {
        loop {
            if let Some(head) = head(&self.unread)? {
                if head.body > LONGEST_MESSAGE {
                    return Err(unexpected(&format!("a message of {} bytes", head.body)));
                }
                if self.unread.len() >= HEAD_BYTES + head.body {
                    let bytes = self.unread.split_to(HEAD_BYTES + head.body).freeze();
                    return Ok(Message { tag: head.tag, bytes });
                }
            }
            self.fill().await?;
        }
    }

    /// The first message of a client, which has no tag: its code and its body, as they are.
    pub(super) async fn first_message(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(length) = self.unread.first_chunk::<4>() {
                // `MAX_STARTUP_PACKET_LENGTH` in `libpq/pqcomm.h`.
                let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
                if !(8..=10_000).contains(&length) {
                    return Err(unexpected(&format!("a first message of {length} bytes")));
                }
                if self.unread.len() >= length {
                    return Ok(self.unread.split_to(length).freeze());
                }
            }
            self.fill().await?;
        }
    }

    /// Takes the head of the next message, whose body is then to be taken with [`Wire::some_of`].
    pub(super) async fn head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(head) = head(&self.unread)? {
                self.unread.advance(HEAD_BYTES);
                return Ok(head);
            }
            self.fill().await?;
        }
    }

    /// The next bytes, at least one and at most `most`, which is not 0.
    pub(super) async fn some_of(&mut self, most: usize) -> io::Result<Bytes> {
        if self.unread.is_empty() {
            self.fill().await?;
        }
        Ok(self.unread.split_to(most.min(self.unread.len())).freeze())
    }
}

/// The head at the start of `bytes`, if all of it is there.
pub(super) fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let Some([tag, length @ ..]) = bytes.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    match length.checked_sub(4) {
        Some(body) if body < 1 << 30 => Ok(Some(Head { tag: *tag, body })),
        _ => Err(unexpected(&format!("a message of length {length}"))),
    }
}

/// A message with a body that needs no more than its bytes.
pub(super) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES + body.len());
    out.push(tag);
    out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// A simple query.
pub(super) fn query(sql: &[u8]) -> Vec<u8> {
    message(b'Q', &[sql, b"\0"].concat())
}

/// What is not part of the protocol, or not at this point of it.
pub(super) fn unexpected(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not expected here"))
}

/// An error that the server reports:
/// <https://www.postgresql.org/docs/current/protocol-error-fields.html>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `SQLSTATE`.
    pub(super) code: String,
    /// In the server's words.
    pub(super) message: String,
}

impl Refusal {
    /// Reads the body of an `ErrorResponse`.
    pub(super) fn read(body: &[u8]) -> Self {
        let field = |wanted: u8| {
            let field = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&wanted));
            field.map(|field| String::from_utf8_lossy(&field[1..]).into_owned()).unwrap_or_default()
        };
        Self { code: field(b'C'), message: field(b'M') }
    }
}

/// The values of a `DataRow`, in the encoding of the session; none for NULL.
pub(super) fn row(mut body: Bytes) -> io::Result<Vec<Option<Bytes>>> {
    let torn = || unexpected("a torn row");
    let count = body.try_get_u16().map_err(|_| torn())?;
    let value = |_| {
        let length = body.try_get_i32().map_err(|_| torn())?;
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        if body.len() < length {
            return Err(torn());
        }
        Ok(Some(body.split_to(length)))
    };
    (0..count).map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_may_come_in_pieces() {
        let (mut far, near) = tokio::io::duplex(3);
        let mut wire = Wire::new(near);
        let sending = async {
            far.write_all(&query(b"SELECT 1")).await.unwrap();
            far.write_all(&message(b'X', &[])).await.unwrap();
            drop(far);
        };
        let receiving = async {
            let first = wire.message().await.unwrap();
            assert_eq!((first.tag, &first.body()[..]), (b'Q', &b"SELECT 1\0"[..]));
            let second = wire.message().await.unwrap();
            assert_eq!((second.tag, second.body().len()), (b'X', 0));
            assert_eq!(wire.message().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        };
        tokio::join!(sending, receiving);
    }

    #[tokio::test]
    async fn a_long_body_is_taken_piece_by_piece() {
        let (mut far, near) = tokio::io::duplex(1000);
        let mut wire = Wire::new(near);
        let sending = async { far.write_all(&message(b'd', &[7; 5000])).await.unwrap() };
        let receiving = async {
            let Head { tag, body: mut left } = wire.head().await.unwrap();
            assert_eq!((tag, left), (b'd', 5000));
            while left > 0 {
                let some = wire.some_of(left).await.unwrap();
                assert!(some.iter().all(|byte| *byte == 7));
                left -= some.len();
            }
        };
        tokio::join!(sending, receiving);
    }

    #[test]
    fn a_length_that_cannot_be_is_refused() {
        assert!(head(&[b'd', 0, 0, 0, 3]).is_err());
        assert!(head(&[b'd', 0xff, 0, 0, 0]).is_err());
        assert_eq!(head(&[b'd', 0, 0]).unwrap(), None);
    }

    #[test]
    fn an_error_is_read_field_by_field() {
        let refusal = Refusal::read(b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0");
        assert_eq!(refusal.code, "28P01");
        assert_eq!(refusal.message, "password authentication failed");
    }

    #[test]
    fn a_row_has_values_and_nulls() {
        let body = Bytes::from_static(b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0");
        assert_eq!(row(body).unwrap(), [Some(Bytes::from("ab")), None, Some(Bytes::new())]);
        assert!(row(Bytes::from_static(b"\0\x01\0\0\0\x02a")).is_err());
    }
}
