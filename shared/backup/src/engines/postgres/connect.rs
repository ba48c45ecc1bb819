//! A short connection before the dump: it finds what is wrong early.

use std::time::Duration;

use holdfast_domain::application::PostgresService;
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{
    Client, Config, Connection, NoTls, SimpleQueryMessage, config::SslMode, tls::TlsStream,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    failure::{Fault, failure, of_connection},
    trust::Trust,
};
use crate::{error::SliceError, ports::DatabaseCredentials};

/// How long a connection may take to be made, in seconds.
pub(super) const CONNECT_SECONDS: u64 = 15;

/// How long all of the questions may take.
const ASK_WITHIN: Duration = Duration::from_secs(45);

/// The name that sessions show in `pg_stat_activity`.
pub(super) const SESSION_NAME: &str = "holdfast";

/// What the server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// `server_version_num`, such as 150018.
    pub(super) version_number: u32,
    /// Size of the database on disk, with its indexes.
    pub(super) database_bytes: u64,
}

impl Server {
    pub(super) fn major(&self) -> u32 {
        self.version_number / 10_000
    }

    /// The version in its usual form, such as `15.18`; before 10, such as `9.6.24`.
    pub(super) fn version(&self) -> String {
        let (major, rest) = (self.major(), self.version_number % 10_000);
        if major >= 10 { format!("{major}.{rest}") } else { format!("{major}.{}.{}", rest / 100, rest % 100) }
    }
}

/// Connects once and asks the server about itself.
pub(super) async fn ask(
    service: &PostgresService,
    credentials: &DatabaseCredentials,
    trust: Option<&Trust>,
) -> Result<Server, SliceError> {
    let mut config = Config::new();
    config
        .host(&service.host)
        .port(service.port)
        .dbname(&service.database)
        .user(&credentials.username)
        .password(credentials.password.expose_secret())
        .application_name(SESSION_NAME)
        .connect_timeout(Duration::from_secs(CONNECT_SECONDS));
    let asking = async {
        match trust {
            None => {
                let (client, connection) = config
                    .ssl_mode(SslMode::Disable)
                    .connect(NoTls)
                    .await
                    .map_err(|error| of_connection(service, &error))?;
                question(service, client, connection).await
            }
            Some(trust) => {
                let tls = trust
                    .client_config()
                    .map_err(|error| failure(service, Fault::TlsFailed, &error.to_string()))?;
                let (client, connection) = config
                    .ssl_mode(SslMode::Require)
                    .connect(MakeRustlsConnect::new(tls))
                    .await
                    .map_err(|error| of_connection(service, &error))?;
                question(service, client, connection).await
            }
        }
    };
    tokio::time::timeout(ASK_WITHIN, asking).await.unwrap_or_else(|_| {
        let words = format!("no answer within {} seconds", ASK_WITHIN.as_secs());
        Err(failure(service, Fault::UnreachableHost, &words))
    })
}

async fn question<S, T>(
    service: &PostgresService,
    client: Client,
    mut connection: Connection<S, T>,
) -> Result<Server, SliceError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: TlsStream + Unpin,
{
    // The simple protocol, so that a pooler in between has nothing to prepare. `client` is used up, so that the
    // connection ends in order once it has its answer.
    let asking = async move {
        client
            .simple_query(
                "SELECT current_setting('server_version_num'), pg_catalog.pg_database_size(pg_catalog.current_database())",
            )
            .await
    };
    let (answer, closed) = tokio::join!(asking, &mut connection);
    let messages = answer.or_else(|error| {
        // Where the connection broke, it is the connection that knows why.
        closed.and(Err(error))
    });
    let messages = messages.map_err(|error| of_connection(service, &error))?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let number = |index: usize| row?.get(index)?.parse::<u64>().ok();
    match (number(0).and_then(|number| u32::try_from(number).ok()), number(1)) {
        (Some(version_number), Some(database_bytes)) => Ok(Server { version_number, database_bytes }),
        _ => Err(failure(
            service,
            Fault::Refused,
            "the server did not say its version and the size of the database",
        )),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(150_018, 15, "15.18")]
    #[case(180_000, 18, "18.0")]
    #[case(90_624, 9, "9.6.24")]
    fn a_version_number_reads_as_people_write_it(
        #[case] version_number: u32,
        #[case] major: u32,
        #[case] text: &str,
    ) {
        let server = Server { version_number, database_bytes: 0 };
        assert_eq!((server.major(), server.version().as_str()), (major, text));
    }
}
