//! A server that says what a test has it say.

use holdfast_domain::application::{Login, PostgresService, Tls};
use holdfast_testing::builders;
use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{login::Upstream, wire::message};
use crate::ports::DatabaseCredentials;

/// A `StartupMessage` without parameters.
pub(super) const STARTUP: [u8; 9] = [0, 0, 0, 9, 0, 3, 0, 0, 0];

/// A server there, and someone whose password is `hunter2`.
pub(super) fn upstream(host: &str, port: u16) -> Upstream {
    let service = PostgresService {
        name: builders::service_name("DEFAULT"),
        host: host.to_owned(),
        port,
        database: "shop".to_owned(),
        secret_arn: String::new(),
        restore_secret_arn: None,
        isolated: None,
        login: Login::Password,
        tls: Tls::Disable,
    };
    let password = SecretString::from("hunter2".to_owned());
    let credentials = DatabaseCredentials { username: "me".to_owned(), password };
    Upstream { service, credentials, trust: None }
}

/// A request to authenticate; kind 0 is that nothing more is wanted.
pub(super) fn request(kind: i32, data: &[u8]) -> Vec<u8> {
    message(b'R', &[&kind.to_be_bytes(), data].concat())
}

/// The next query may come.
pub(super) fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

/// Serves one connection, with each of `answers` after something was heard; gives all that was heard.
pub(super) async fn serve(listener: TcpListener, answers: Vec<Vec<u8>>) -> Vec<u8> {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut heard = Vec::new();
    for answer in answers {
        stream.read_buf(&mut heard).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    }
    let _ = stream.read_to_end(&mut heard).await;
    heard
}
