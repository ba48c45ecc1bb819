//! A proxy before a `PostgreSQL` server that spoils the answer to one query: the first that reads several tables.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// A query of at least so many statements is spoiled.
const STATEMENTS: usize = 8;

/// Where in the answer it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where the answer to this statement begins, counted from 0.
    Before(usize),
    /// At the first row of this statement.
    Row(usize),
    /// Where all statements have been answered, and only that the next query may come has not been said.
    End,
}

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It sends half of the message and closes the connection.
    Close,
    /// It resets the connection.
    Reset,
    /// The server refuses the statement with this code.
    Refuse(&'static str),
    /// The server ends the session with this code.
    End(&'static str),
    /// It leaves the message out.
    Lose,
}

/// The proxy; its port is open as long as it is there.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    struck: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A proxy before the server at this port of this machine.
    pub(crate) async fn before(server: u16, place: Place, trouble: Trouble) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, struck) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let spoiler = Spoiler { place, trouble, struck: struck.clone() };
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(spoiler.clone().session(client, server));
            }
        });
        Self { port, struck, accepting }
    }

    /// Whether it has struck.
    pub(crate) fn has_struck(&self) -> bool {
        self.struck.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Clone)]
struct Spoiler {
    place: Place,
    trouble: Trouble,
    struck: Arc<AtomicBool>,
}

impl Spoiler {
    async fn session(self, client: TcpStream, server: u16) -> io::Result<()> {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = TcpStream::connect(("127.0.0.1", server)).await?.into_split();
        let in_batch = Arc::new(AtomicBool::new(false));
        let asking = tokio::spawn(ask(from_client, to_server, in_batch.clone()));
        let answered = self.answer(from_server, to_client, &in_batch).await;
        asking.abort();
        answered
    }

    /// Passes the server's messages on, and spoils those of the first batch that there is in any session.
    async fn answer(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        in_batch: &AtomicBool,
    ) -> io::Result<()> {
        let mut ended = 0;
        loop {
            let message = message(&mut from).await?;
            let tag = message[0];
            if in_batch.load(Ordering::SeqCst) {
                let here = match self.place {
                    Place::Before(number) => tag == b'H' && ended == number,
                    Place::Row(number) => tag == b'd' && ended == number,
                    Place::End => tag == b'Z',
                };
                ended += usize::from(tag == b'C');
                if tag == b'Z' {
                    in_batch.store(false, Ordering::SeqCst);
                    ended = 0;
                }
                if here && !self.struck.swap(true, Ordering::SeqCst) {
                    match self.trouble {
                        Trouble::Close => return to.write_all(&message[..message.len() / 2]).await,
                        Trouble::Reset => return Ok(set_socket_linger(to.as_ref(), Some(Duration::ZERO))?),
                        Trouble::End(code) => return to.write_all(&refusal("FATAL", code)).await,
                        Trouble::Refuse(code) => {
                            to.write_all(&refusal("ERROR", code)).await?;
                            while self::message(&mut from).await?[0] != b'Z' {}
                            to.write_all(b"Z\0\0\0\x05E").await?;
                            in_batch.store(false, Ordering::SeqCst);
                        }
                        Trouble::Lose => {}
                    }
                    continue;
                }
            }
            to.write_all(&message).await?;
        }
    }
}

/// Passes the client's messages on, and tells which of them is a batch.
async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, in_batch: Arc<AtomicBool>) -> io::Result<()> {
    // The first message has no tag.
    let mut startup = vec![0; 4];
    from.read_exact(&mut startup).await?;
    let length = u32::from_be_bytes(startup[..4].try_into().unwrap()) as usize;
    startup.resize(length, 0);
    from.read_exact(&mut startup[4..]).await?;
    to.write_all(&startup).await?;
    loop {
        let message = message(&mut from).await?;
        let copies = message.windows(b" TO stdout".len()).filter(|window| window == b" TO stdout").count();
        if message[0] == b'Q' && copies >= STATEMENTS {
            in_batch.store(true, Ordering::SeqCst);
        }
        to.write_all(&message).await?;
    }
}

/// The next message, with its tag and its length.
async fn message(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut message = vec![0; 5];
    from.read_exact(&mut message).await?;
    let length = u32::from_be_bytes(message[1..5].try_into().unwrap()) as usize;
    message.resize(1 + length, 0);
    from.read_exact(&mut message[5..]).await?;
    Ok(message)
}

/// An `ErrorResponse`.
fn refusal(severity: &str, code: &str) -> Vec<u8> {
    let fields = format!("S{severity}\0V{severity}\0C{code}\0Mspoiled by a test\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
    [b"E", &length[..], fields.as_bytes()].concat()
}
