use async_trait::async_trait;
use secrecy::SecretString;

/// Credentials of databases, by the ARN of their secret.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// Whether the secret exists, without reading it.
    async fn exists(&self, arn: &str) -> Result<bool, SecretError>;

    /// The credentials in the secret: JSON with `username` and `password`, as RDS writes them; other keys are ignored.
    async fn credentials(&self, arn: &str) -> Result<DatabaseCredentials, SecretError>;
}

/// A database role and its password.
#[derive(Clone)]
pub struct DatabaseCredentials {
    /// The role to connect as.
    pub username: String,
    /// Its password.
    pub password: SecretString,
}

/// Why a secret could not be had. Names the secret, never what is in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is none of that ARN.
    #[error("there is no secret {0}; make it, or register the service with the right ARN")]
    NotFound(String),
    /// The function may not read it.
    #[error(
        "the secret {0} may not be read; allow it by the stack's parameter DatabaseSecretPattern, and its key's policy"
    )]
    Denied(String),
    /// It is not JSON with `username` and `password`.
    #[error("the secret {0} does not hold JSON with the texts \"username\" and \"password\"")]
    Malformed(String),
    /// Secrets Manager did not answer.
    #[error("the secret could not be read just now: {0}")]
    Unavailable(String),
}
