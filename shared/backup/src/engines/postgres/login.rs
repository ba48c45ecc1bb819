//! Connections to the server that carry messages as they are: made, encrypted and authenticated here.

use std::{io, time::Duration};

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
    trust::Trust,
    wire::{Refusal, Stream, Wire, message, unexpected},
};
use crate::{error::SliceError, ports::DatabaseCredentials};

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
}

/// What the server recognizes a session by when it is asked to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CancelKey(Bytes);

impl Upstream {
    /// Begins a session with `startup`, a `StartupMessage` as a client has made it.
    pub(super) async fn log_in(&self, startup: &[u8]) -> Result<Session, SliceError> {
        let logging_in = async {
            let mut wire = self.connect().await?;
            self.lost(wire.send(startup).await)?;
            self.authenticate(wire).await
        };
        timeout(Duration::from_secs(CONNECT_SECONDS), logging_in).await.unwrap_or_else(|_| {
            let words = format!("no answer within {CONNECT_SECONDS} seconds");
            Err(failure(&self.service, Fault::UnreachableHost, &words))
        })
    }

    /// Asks the server to cancel what the session of `key` is doing. Whether it does, nobody says.
    pub(super) async fn cancel(&self, key: &CancelKey) {
        let request = [&[0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e], &key.0[..]].concat();
        let asking = async {
            let mut wire = self.connect().await.ok()?;
            wire.send(&request).await.ok()?;
            // The server closes the connection when it has passed the request on.
            wire.fill().await.err()
        };
        let _ = timeout(CANCEL_WITHIN, asking).await;
    }

    async fn connect(&self) -> Result<Wire, SliceError> {
        let PostgresService { host, port, .. } = &self.service;
        if host.starts_with('/') {
            let socket = UnixStream::connect(format!("{host}/.s.PGSQL.{port}")).await;
            return Ok(Wire::new(self.unreachable(socket)?));
        }
        let stream = self.unreachable(TcpStream::connect((host.as_str(), *port)).await)?;
        // A socket without these is only slower, and slower to notice that the server has gone.
        let _ = tune(&stream);
        match &self.trust {
            None => Ok(Wire::new(stream)),
            Some(trust) => Ok(Wire::new(self.encrypt(stream, trust).await?)),
        }
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
        loop {
            let received = self.lost(wire.message().await)?;
            let mut body = received.body();
            match received.tag {
                b'E' => return Err(of_refusal(&self.service, &Refusal::read(&body))),
                b'R' => {
                    let kind = self.lost(body.try_get_i32().map_err(|_| unexpected("an empty request")))?;
                    let answer = match kind {
                        0 => {
                            greeting.extend_from_slice(&received.bytes);
                            continue;
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
                    return Ok(Session { wire, greeting, key });
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
