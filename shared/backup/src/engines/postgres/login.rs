//! Connections to the server that carry messages as they are: made, encrypted and authenticated here.

use std::{io, net::SocketAddr, time::Duration};

use bytes::{Buf, Bytes};
use holdfast_domain::application::PostgresService;
use postgres_protocol::authentication::{
    md5_hash,
    sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
};
use rustix::net::sockopt;
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret;
use std::sync::Arc;
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    connect::CONNECT_SECONDS,
    failure::{Fault, failure, of_io_error, of_refusal},
    wire::{Refusal, Stream, Wire, message, unexpected},
};
use crate::{engines::trust::Trust, error::SliceError, ports::DatabaseCredentials};

/// Asks for an encrypted connection (`NEGOTIATE_SSL_CODE`).
pub(super) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// How long a server may take to take notice that a query is to be cancelled.
const CANCEL_WITHIN: Duration = Duration::from_secs(2);

/// A database server, and how to log in to it.
pub(super) struct Upstream {
    pub(super) service: PostgresService,
    pub(super) credentials: DatabaseCredentials,
    pub(super) trust: Option<Arc<Trust>>,
}

/// A session on the server.
pub(super) struct Session {
    pub(super) wire: Wire,
    /// What the server said when it let us in, from `AuthenticationOk` to `ReadyForQuery`.
    pub(super) greeting: Vec<u8>,
    /// How to cancel what it is doing.
    pub(super) key: Option<CancelKey>,
    /// Where the server is, if it is not on a socket of this machine.
    pub(super) peer: Option<SocketAddr>,
}

/// What the server recognizes a session by when it is asked to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CancelKey(Bytes);

impl Upstream {
    /// Begins a session with `startup`, a `StartupMessage` as a client has made it: at `peer`, or where the host's name
    /// leads to.
    pub(super) async fn log_in(
        &self,
        startup: &[u8],
        peer: Option<SocketAddr>,
    ) -> Result<Session, SliceError> {
        let logging_in = async {
            let (mut wire, peer) = self.connect(peer).await?;
            self.lost(wire.send(startup).await)?;
            let session = self.authenticate(wire).await?;
            Ok(Session { peer, ..session })
        };
        timeout(Duration::from_secs(CONNECT_SECONDS), logging_in).await.unwrap_or_else(|_| {
            let words = format!("no answer within {CONNECT_SECONDS} seconds");
            Err(failure(&self.service, Fault::UnreachableHost, &words))
        })
    }

    /// Asks the server at `peer` to cancel what the session of `key` is doing. Whether it does, nobody says.
    pub(super) async fn cancel(&self, key: &CancelKey, peer: Option<SocketAddr>) {
        let request = [&[0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e], &key.0[..]].concat();
        let asking = async {
            let (mut wire, _) = self.connect(peer).await.ok()?;
            wire.send(&request).await.ok()?;
            // The server closes the connection when it has passed the request on.
            wire.fill().await.err()
        };
        let _ = timeout(CANCEL_WITHIN, asking).await;
    }

    async fn connect(&self, peer: Option<SocketAddr>) -> Result<(Wire, Option<SocketAddr>), SliceError> {
        let PostgresService { host, port, .. } = &self.service;
        if self.is_socket() {
            let socket = UnixStream::connect(format!("{host}/.s.PGSQL.{port}")).await;
            return Ok((Wire::new(self.unreachable(socket)?), None));
        }
        let connected = match peer {
            Some(peer) => TcpStream::connect(peer).await,
            None => TcpStream::connect((host.as_str(), *port)).await,
        };
        let stream = self.unreachable(connected)?;
        let peer = Some(self.unreachable(stream.peer_addr())?);
        // A socket without these is only slower, and slower to notice that the server has gone.
        let _ = tune(&stream);
        match &self.trust {
            None => Ok((Wire::new(stream), peer)),
            Some(trust) => Ok((Wire::new(self.encrypt(stream, trust).await?), peer)),
        }
    }

    fn is_socket(&self) -> bool {
        self.service.host.starts_with('/')
    }

    async fn encrypt(&self, stream: TcpStream, trust: &Trust) -> Result<impl Stream + use<>, SliceError> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let refused = |words: &str| failure(&self.service, Fault::TlsFailed, words);
        let mut stream = stream;
        self.lost(stream.write_all(&SSL_REQUEST).await)?;
        if self.lost(stream.read_u8().await)? != b'S' {
            return Err(refused("server does not support TLS"));
        }
        let config = trust.client_config().map_err(|error| refused(&error.to_string()))?;
        let name =
            ServerName::try_from(self.service.host.clone()).map_err(|error| refused(&error.to_string()))?;
        let connector = TlsConnector::from(Arc::new(config));
        connector
            .connect(name, stream)
            .await
            .map_err(|error| refused(&format!("the TLS handshake failed: {error}")))
    }

    /// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>
    async fn authenticate(&self, mut wire: Wire) -> Result<Session, SliceError> {
        let password = self.credentials.password.expose_secret().as_bytes();
        let (mut greeting, mut key, mut scram) = (Vec::new(), None, None);
        // A server that begins SCRAM has to prove that it knows the password too.
        let mut is_proven = true;
        loop {
            let received = self.lost(wire.message().await)?;
            let mut body = received.body();
            match received.tag {
                b'E' => return Err(of_refusal(&self.service, &Refusal::read(&body))),
                b'R' => {
                    let kind = self.lost(body.try_get_i32().map_err(|_| unexpected("an empty request")))?;
                    let answer = match kind {
                        0 if !is_proven => {
                            return Err(self.unknown_method("no proof after SCRAM was begun"));
                        }
                        0 => {
                            greeting.extend_from_slice(&received.bytes);
                            continue;
                        }
                        // Whoever is on the way could read it.
                        3 if self.trust.is_none() && !self.is_socket() => {
                            return Err(
                                self.unknown_method("the password as it is, over a connection without TLS")
                            );
                        }
                        3 => [password, b"\0"].concat(),
                        5 => {
                            let salt = self.lost(<[u8; 4]>::try_from(&body[..]).map_err(io::Error::other))?;
                            let user = self.credentials.username.as_bytes();
                            [md5_hash(user, password, salt).as_bytes(), b"\0"].concat()
                        }
                        10 => {
                            if !body.split(|byte| *byte == 0).any(|name| name == SCRAM_SHA_256.as_bytes()) {
                                return Err(self.unknown_method("a SASL mechanism other than SCRAM-SHA-256"));
                            }
                            is_proven = false;
                            let scram =
                                scram.insert(ScramSha256::new(password, ChannelBinding::unsupported()));
                            let first = scram.message();
                            let length = self.lost(u32::try_from(first.len()).map_err(io::Error::other))?;
                            [SCRAM_SHA_256.as_bytes(), b"\0", &length.to_be_bytes(), first].concat()
                        }
                        11 => {
                            let Some(scram) = &mut scram else {
                                return Err(self.unknown_method("SASL out of order"));
                            };
                            self.not_proven(scram.update(&body))?;
                            scram.message().to_vec()
                        }
                        12 => {
                            let Some(scram) = &mut scram else {
                                return Err(self.unknown_method("SASL out of order"));
                            };
                            self.not_proven(scram.finish(&body))?;
                            is_proven = true;
                            continue;
                        }
                        other => return Err(self.unknown_method(&format!("method {other}"))),
                    };
                    self.lost(wire.send(&message(b'p', &answer)).await)?;
                }
                b'S' => greeting.extend_from_slice(&received.bytes),
                b'K' => {
                    greeting.extend_from_slice(&received.bytes);
                    key = Some(CancelKey(body));
                }
                b'N' => {}
                b'Z' => {
                    greeting.extend_from_slice(&received.bytes);
                    return Ok(Session { wire, greeting, key, peer: None });
                }
                other => return self.lost(Err(unexpected(&format!("message {:?}", char::from(other))))),
            }
        }
    }

    fn unknown_method(&self, what: &str) -> SliceError {
        let words =
            format!("the server asks for {what}; let the role log in with a password (scram-sha-256 or md5)");
        failure(&self.service, Fault::PermissionDenied, &words)
    }

    fn not_proven(&self, step: io::Result<()>) -> Result<(), SliceError> {
        step.map_err(|error| failure(&self.service, Fault::WrongPassword, &format!("SCRAM failed: {error}")))
    }

    fn unreachable<T>(&self, outcome: io::Result<T>) -> Result<T, SliceError> {
        outcome.map_err(|error| of_io_error(&self.service, &error))
    }

    /// What it means when bytes do not arrive.
    pub(super) fn lost<T>(&self, outcome: io::Result<T>) -> Result<T, SliceError> {
        outcome.map_err(|error| failure(&self.service, Fault::ConnectionLost, &error.to_string()))
    }
}

/// A server that has gone without a word is noticed within about a minute.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(30))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    sockopt::set_tcp_user_timeout(stream, 60_000)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tokio::net::TcpListener;

    use super::*;
    use crate::engines::postgres::fake_server::{STARTUP, ready, request, serve, upstream};

    #[rstest]
    #[case::password(vec![request(3, b"")], "the password as it is")]
    #[case::no_proof(
        vec![request(10, b"SCRAM-SHA-256\0\0"), [request(0, b""), ready()].concat()],
        "no proof after SCRAM"
    )]
    #[tokio::test]
    async fn a_server_that_is_none_learns_no_password(#[case] answers: Vec<Vec<u8>>, #[case] words: &str) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = upstream("127.0.0.1", listener.local_addr().unwrap().port());
        let serving = tokio::spawn(serve(listener, answers));
        let Err(SliceError::Failed(failure)) = upstream.log_in(&STARTUP, None).await else {
            panic!("it was let in")
        };
        assert_eq!(failure.code, "permission_denied", "{}", failure.message);
        assert!(failure.message.contains(words), "{}", failure.message);
        let heard = serving.await.unwrap();
        assert!(!heard.windows(7).any(|window| window == b"hunter2"));
    }

    /// A name may lead elsewhere the next time.
    #[tokio::test]
    async fn a_session_is_begun_where_the_first_one_was() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap();
        let greeting = [request(0, b""), ready()].concat();
        let serving = tokio::spawn(serve(listener, vec![greeting]));
        let session = upstream("no-such-host.invalid", 1).log_in(&STARTUP, Some(peer)).await;
        assert_eq!(session.map(|session| session.peer).unwrap(), Some(peer));
        assert_eq!(serving.await.unwrap(), STARTUP);
    }
}
