//! How the client programs reach a database: the file of settings that they are given.

use holdfast_domain::application::{MysqlService, Tls};
use secrecy::{ExposeSecret, SecretString};
use tempfile::NamedTempFile;

use super::{greeting::Family, programs::Pair};
use crate::{
    engines::{temporary::temporary, trust::Trust},
    error::SliceError,
    ports::DatabaseCredentials,
};

/// A line of a file of settings has to be shorter, in bytes (`char buff[4096]` in `my_default.c`).
const LINE_BYTES: usize = 4096;

/// A database, and all that it takes to reach it.
pub(super) struct Access {
    pub(super) service: MysqlService,
    pub(super) programs: Pair,
    settings: SecretString,
    /// The authorities that are trusted; nothing secret. Removed when dropped.
    _authorities: Option<NamedTempFile>,
}

impl Access {
    pub(super) fn new(
        service: MysqlService,
        credentials: &DatabaseCredentials,
        programs: Pair,
    ) -> Result<Self, SliceError> {
        let trust = Trust::of(&service.tls)?;
        let authorities = trust.map(|trust| temporary(trust.to_pem().as_bytes())).transpose()?;
        let path = authorities.as_ref().map(|file| file.path().to_string_lossy());
        let port = service.port.to_string();
        let mut lines = vec![
            ("host", service.host.as_str()),
            ("port", &port),
            ("protocol", "TCP"),
            ("user", &credentials.username),
            ("password", credentials.password.expose_secret()),
        ];
        lines.extend(path.as_deref().map(|path| ("ssl-ca", path)));
        lines.push(match (programs.family, &service.tls) {
            (Family::MariaDb, Tls::VerifyFull { .. }) => ("ssl-verify-server-cert", "1"),
            (Family::MariaDb, Tls::Disable) => ("ssl", "0"),
            (Family::MySql, Tls::VerifyFull { .. }) => ("ssl-mode", "VERIFY_IDENTITY"),
            (Family::MySql, Tls::Disable) => ("ssl-mode", "DISABLED"),
        });
        // Without TLS a password that caching_sha2_password has not seen before can go encrypted with the server's key.
        if programs.family == Family::MySql && service.tls == Tls::Disable {
            lines.push(("get-server-public-key", "1"));
        }
        let mut settings = "[client]\n".to_owned();
        for (name, value) in lines {
            settings.push_str(&setting(name, value)?);
        }
        Ok(Self { service, programs, settings: settings.into(), _authorities: authorities })
    }

    /// The file of settings. It holds the password.
    pub(super) fn settings(&self) -> &[u8] {
        self.settings.expose_secret().as_bytes()
    }
}

/// One line of a file of settings. <https://mariadb.com/kb/en/configuring-mariadb-with-option-files/#option-file-syntax>
fn setting(name: &str, value: &str) -> Result<String, SliceError> {
    let mut line = format!("{name}=\"");
    for character in value.chars() {
        match character {
            '\\' => line.push_str("\\\\"),
            '"' => line.push_str("\\\""),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            other => line.push(other),
        }
    }
    line.push_str("\"\n");
    if line.len() >= LINE_BYTES || value.contains('\0') {
        return Err(SliceError::permanent(
            "credentials_unusable",
            format!("the {name} is too long for the client program, or has a NUL in it; use another one"),
        ));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_quoted() {
        assert_eq!(setting("password", "a\"b\\c #d\ne").unwrap(), "password=\"a\\\"b\\\\c #d\\ne\"\n");
    }

    #[test]
    fn what_a_program_would_misread_is_refused_without_being_told() {
        for value in ["hunter2\0", &"hunter2".repeat(1000)] {
            let Err(SliceError::Failed(failure)) = setting("password", value) else { panic!("it was taken") };
            assert_eq!(failure.code, "credentials_unusable");
            assert!(!failure.message.contains("hunter2"));
        }
    }
}
