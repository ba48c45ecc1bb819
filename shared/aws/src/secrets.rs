//! Secrets Manager.

use async_trait::async_trait;
use aws_sdk_secretsmanager::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
};
use holdfast_backup::ports::{DatabaseCredentials, SecretError, Secrets};
use secrecy::SecretString;
use serde::Deserialize;

use crate::explain::explain;

/// Secrets in Secrets Manager.
pub struct SecretsManager {
    client: Client,
}

impl SecretsManager {
    /// An adapter over `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl Secrets for SecretsManager {
    async fn exists(&self, arn: &str) -> Result<bool, SecretError> {
        match self.client.describe_secret().secret_id(arn).send().await {
            // A secret that is being deleted cannot be read any more.
            Ok(secret) => Ok(secret.deleted_date().is_none()),
            Err(error) => match secret_error(arn, "DescribeSecret", &error) {
                SecretError::NotFound(_) => Ok(false),
                error => Err(error),
            },
        }
    }

    async fn credentials(&self, arn: &str) -> Result<DatabaseCredentials, SecretError> {
        let secret = self.client.get_secret_value().secret_id(arn).send().await;
        let secret = secret.map_err(|error| secret_error(arn, "GetSecretValue", &error))?;
        secret.secret_string().and_then(parse).ok_or_else(|| SecretError::Malformed(arn.to_owned()))
    }
}

/// Credentials as RDS writes them; other keys are ignored. The reason of a refusal is dropped, for it may quote the text.
fn parse(text: &str) -> Option<DatabaseCredentials> {
    #[derive(Deserialize)]
    struct Credentials {
        username: String,
        password: String,
    }
    let Credentials { username, password } = serde_json::from_str(text).ok()?;
    Some(DatabaseCredentials { username, password: SecretString::from(password) })
}

fn secret_error<E: ProvideErrorMetadata, R>(
    arn: &str,
    operation: &str,
    error: &SdkError<E, R>,
) -> SecretError {
    match error.as_service_error().and_then(ProvideErrorMetadata::code) {
        // `InvalidRequestException` is how a secret that is being deleted answers.
        Some("ResourceNotFoundException" | "InvalidRequestException") => {
            SecretError::NotFound(arn.to_owned())
        }
        // `DecryptionFailure` is how a secret answers whose key the function may not use.
        Some("AccessDeniedException" | "AccessDenied" | "DecryptionFailure") => {
            SecretError::Denied(arn.to_owned())
        }
        _ => SecretError::Unavailable(explain(operation, error)),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn credentials_are_what_rds_writes() {
        let text = r#"{"engine":"postgres","port":5432,"username":"shop","password":"p\"a:\\ss\u00e9"}"#;
        let credentials = parse(text).unwrap();
        assert_eq!(credentials.username, "shop");
        assert_eq!(credentials.password.expose_secret(), "p\"a:\\ss\u{e9}");
    }

    #[rstest]
    #[case("hunter2")]
    #[case("{}")]
    #[case(r#"{"username":"shop"}"#)]
    #[case(r#"{"username":"shop","password":7}"#)]
    #[case("")]
    fn anything_else_is_malformed(#[case] text: &str) {
        assert!(parse(text).is_none());
    }
}
