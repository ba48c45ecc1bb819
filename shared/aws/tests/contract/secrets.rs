use aws_sdk_secretsmanager::Client;
use holdfast_aws::secrets::SecretsManager;
use holdfast_backup::ports::{SecretError, Secrets};
use secrecy::ExposeSecret;

use crate::emulator;

const MISSING: &str = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:missing-AbCdEf";

async fn keep(client: &Client, text: &str) -> String {
    let made =
        client.create_secret().name(emulator::unique("database")).secret_string(text).send().await.unwrap();
    made.arn.unwrap()
}

/// Credentials are read as RDS writes them.
#[tokio::test]
async fn credentials_are_read_by_arn() {
    let client = Client::new(&emulator::sdk().await);
    let arn = keep(&client, r#"{"username":"shop","password":"correct horse","engine":"postgres"}"#).await;
    let secrets = SecretsManager::new(client);
    assert!(secrets.exists(&arn).await.unwrap());
    let credentials = secrets.credentials(&arn).await.unwrap();
    assert_eq!(credentials.username, "shop");
    assert_eq!(credentials.password.expose_secret(), "correct horse");
}

/// A secret that is not there does not exist, and cannot be read.
#[tokio::test]
async fn a_missing_secret_is_not_found() {
    let secrets = SecretsManager::new(Client::new(&emulator::sdk().await));
    assert!(!secrets.exists(MISSING).await.unwrap());
    let outcome = secrets.credentials(MISSING).await.err();
    assert!(matches!(outcome, Some(SecretError::NotFound(_))), "{outcome:?}");
}

/// What is not credentials is malformed, and is not quoted.
#[tokio::test]
async fn other_contents_are_malformed_and_not_quoted() {
    let client = Client::new(&emulator::sdk().await);
    let arn = keep(&client, "hunter2").await;
    let error = SecretsManager::new(client).credentials(&arn).await.err().unwrap();
    assert!(matches!(error, SecretError::Malformed(_)), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

/// A secret that is being deleted does not exist any more.
#[tokio::test]
async fn a_secret_that_is_being_deleted_does_not_exist() {
    let client = Client::new(&emulator::sdk().await);
    let arn = keep(&client, r#"{"username":"shop","password":"x"}"#).await;
    client.delete_secret().secret_id(&arn).recovery_window_in_days(7).send().await.unwrap();
    let secrets = SecretsManager::new(client);
    assert!(!secrets.exists(&arn).await.unwrap());
    assert!(matches!(secrets.credentials(&arn).await, Err(SecretError::NotFound(_))));
}
