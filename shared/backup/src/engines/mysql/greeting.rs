//! What a server says first, before anybody has logged in: whose it is, and whether it speaks TLS.
//!
//! Format: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_handshake_v10.html>

use std::{io, time::Duration};

use holdfast_domain::application::{MysqlService, Tls};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use super::failure::{Fault, failure, of_code, of_io_error};
use crate::error::SliceError;

/// How long a server may take to greet.
const GREET_WITHIN: Duration = Duration::from_secs(15);

/// The longest greeting that is read, in bytes; they have about 100.
const GREETING_MAX: usize = 4 * 1024;

/// The bit of the capabilities that says that the server speaks TLS.
const CLIENT_SSL: u16 = 0x0800;

/// What `MariaDB` puts before its version up to 10.x, for the sake of old replicas.
const REPLICATION_PREFIX: &str = "5.5.5-";

/// Whose server it is. Each is dumped by its own program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    MariaDb,
    MySql,
}

impl Family {
    /// Whose `version` it is, of a server or of a program.
    pub(super) fn of(version: &str) -> Self {
        if version.to_ascii_lowercase().contains("mariadb") { Self::MariaDb } else { Self::MySql }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MariaDb => "MariaDB",
            Self::MySql => "MySQL",
        }
    }
}

/// A server's greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) family: Family,
    /// Such as `10.11.19-MariaDB` or `8.4.7`.
    pub(super) version: String,
    pub(super) speaks_tls: bool,
}

/// Why a greeting is none.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NoGreeting {
    /// The server refuses, with its code and words.
    Refused(u16, String),
    /// It is not what a server of this kind says.
    NotUnderstood,
}

/// Connects and reads the greeting.
pub(super) async fn ask(service: &MysqlService) -> Result<Greeting, SliceError> {
    let packet = timeout(GREET_WITHIN, read(service)).await.unwrap_or_else(|_| {
        let words = format!("no greeting within {} seconds", GREET_WITHIN.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, words))
    });
    let greeting =
        parse(&packet.map_err(|error| of_io_error(service, &error))?).map_err(|none| match none {
            NoGreeting::Refused(code, words) => failure(service, of_code(u32::from(code)), &words),
            NoGreeting::NotUnderstood => {
                failure(service, Fault::Refused, "what answers there is not a MySQL or MariaDB server")
            }
        })?;
    if matches!(service.tls, Tls::VerifyFull { .. }) && !greeting.speaks_tls {
        return Err(failure(service, Fault::TlsFailed, "the server does not support TLS"));
    }
    Ok(greeting)
}

async fn read(service: &MysqlService) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((service.host.as_str(), service.port)).await?;
    let mut header = [0; 4];
    stream.read_exact(&mut header).await?;
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
    let mut packet = vec![0; usize::try_from(length).unwrap_or(GREETING_MAX).min(GREETING_MAX)];
    stream.read_exact(&mut packet).await?;
    Ok(packet)
}

fn parse(packet: &[u8]) -> Result<Greeting, NoGreeting> {
    let (kind, rest) = packet.split_first().ok_or(NoGreeting::NotUnderstood)?;
    match kind {
        // Protocol 10: version, NUL, thread id (4), salt (8), a filler, the lower half of the capabilities.
        10 => {
            let end = rest.iter().position(|byte| *byte == 0).ok_or(NoGreeting::NotUnderstood)?;
            let version = String::from_utf8_lossy(&rest[..end]);
            let version = version.strip_prefix(REPLICATION_PREFIX).unwrap_or(&version);
            let Some([low, high]) = rest.get(end + 14..end + 16) else {
                return Err(NoGreeting::NotUnderstood);
            };
            let speaks_tls = u16::from_le_bytes([*low, *high]) & CLIENT_SSL != 0;
            Ok(Greeting { family: Family::of(version), version: short(version), speaks_tls })
        }
        0xff => match rest {
            [low, high, words @ ..] => {
                let words = String::from_utf8_lossy(words).into_owned();
                Err(NoGreeting::Refused(u16::from_le_bytes([*low, *high]), words))
            }
            _ => Err(NoGreeting::NotUnderstood),
        },
        _ => Err(NoGreeting::NotUnderstood),
    }
}

/// The version without what the distribution adds: `10.11.19-MariaDB-0+deb12u1` is `10.11.19-MariaDB`.
pub(super) fn short(version: &str) -> String {
    let number = version.split('-').next().unwrap_or(version);
    match Family::of(version) {
        Family::MariaDb => format!("{number}-MariaDB"),
        Family::MySql => number.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn greeting(version: &str, capabilities: u16) -> Vec<u8> {
        let capabilities = capabilities.to_le_bytes();
        [&[10], version.as_bytes(), &[0], &[7; 4], &[9; 8], &[0], &capabilities, &[0; 8]].concat()
    }

    #[rstest]
    #[case("5.5.5-10.11.19-MariaDB-0+deb12u1", Family::MariaDb, "10.11.19-MariaDB")]
    #[case("11.8.3-MariaDB-log", Family::MariaDb, "11.8.3-MariaDB")]
    #[case("8.0.44", Family::MySql, "8.0.44")]
    #[case("9.7.4-2", Family::MySql, "9.7.4")]
    fn a_server_says_whose_it_is(#[case] said: &str, #[case] family: Family, #[case] version: &str) {
        let expected = |speaks_tls| Ok(Greeting { family, version: version.to_owned(), speaks_tls });
        assert_eq!(parse(&greeting(said, 0xf7fe)), expected(false));
        assert_eq!(parse(&greeting(said, 0xfffe)), expected(true));
    }

    #[test]
    fn a_refusal_has_a_code() {
        let packet = [&[0xff, 0x10, 0x04], &b"Too many connections"[..]].concat();
        let refused = NoGreeting::Refused(1040, "Too many connections".to_owned());
        assert_eq!(parse(&packet), Err(refused));
    }

    #[test]
    fn anything_cut_short_is_not_understood() {
        let whole = greeting("8.0.44", 0xffff);
        for length in 0..whole.len() - 8 {
            assert_eq!(parse(&whole[..length]), Err(NoGreeting::NotUnderstood), "{length}");
        }
        assert_eq!(parse(b"SSH-2.0-OpenSSH_9.2p1"), Err(NoGreeting::NotUnderstood));
        assert_eq!(parse(&[0xff, 1]), Err(NoGreeting::NotUnderstood));
    }
}
