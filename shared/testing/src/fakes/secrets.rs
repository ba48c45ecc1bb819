use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;
use holdfast_backup::ports::{DatabaseCredentials, SecretError, Secrets};
use secrecy::SecretString;

/// Secrets in memory, by ARN.
#[derive(Default)]
pub struct FakeSecrets {
    secrets: Mutex<BTreeMap<String, Kept>>,
}

#[derive(Clone)]
enum Kept {
    Credentials { username: String, password: String },
    Malformed,
    Denied,
}

impl FakeSecrets {
    /// Keeps credentials.
    pub fn put(&self, arn: &str, username: &str, password: &str) {
        self.keep(arn, Kept::Credentials { username: username.to_owned(), password: password.to_owned() });
    }

    /// Keeps something that is not credentials.
    pub fn put_malformed(&self, arn: &str) {
        self.keep(arn, Kept::Malformed);
    }

    /// Keeps a secret that may be described and not read.
    pub fn put_denied(&self, arn: &str) {
        self.keep(arn, Kept::Denied);
    }

    /// Removes a secret.
    pub fn remove(&self, arn: &str) {
        self.secrets.lock().unwrap().remove(arn);
    }

    fn keep(&self, arn: &str, kept: Kept) {
        self.secrets.lock().unwrap().insert(arn.to_owned(), kept);
    }
}

#[async_trait]
impl Secrets for FakeSecrets {
    async fn exists(&self, arn: &str) -> Result<bool, SecretError> {
        Ok(self.secrets.lock().unwrap().contains_key(arn))
    }

    async fn credentials(&self, arn: &str) -> Result<DatabaseCredentials, SecretError> {
        match self.secrets.lock().unwrap().get(arn) {
            Some(Kept::Credentials { username, password }) => Ok(DatabaseCredentials {
                username: username.clone(),
                password: SecretString::from(password.clone()),
            }),
            Some(Kept::Malformed) => Err(SecretError::Malformed(arn.to_owned())),
            Some(Kept::Denied) => Err(SecretError::Denied(arn.to_owned())),
            None => Err(SecretError::NotFound(arn.to_owned())),
        }
    }
}
