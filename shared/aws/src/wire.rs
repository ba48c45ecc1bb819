//! Ports over AWS, as the environment says.

use std::{sync::Arc, time::Duration};

use aws_config::{
    BehaviorVersion, ConfigLoader, SdkConfig, retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig,
};
use holdfast_backup::ports::Ports;

use crate::{
    clock::SystemClock,
    config::{BucketConfig, ConfigError, StateMachineConfig, TableConfig},
    dynamodb::DynamoRecords,
    entropy::SystemEntropy,
    s3::{S3Artifacts, S3Media},
    secrets::SecretsManager,
    sfn::StateMachine,
};

/// How often the SDK tries a call, the first time included. Nothing above it tries AWS calls again one by one.
const ATTEMPTS: u32 = 4;

/// How long a stream may stand still before it is given up. Longer than the SDK's own 20 seconds: a slice that is given up
/// costs a whole dump, a minute costs a minute.
const STALL_SECONDS: u64 = 60;

/// Everything the use cases need, as this process's environment says.
pub async fn ports_from_env() -> Result<Ports, ConfigError> {
    let (table, bucket) = (TableConfig::from_env()?, BucketConfig::from_env()?);
    let state_machine = StateMachineConfig::from_env()?;
    Ok(ports(&sdk_from_env().await, table, bucket, state_machine))
}

/// Everything the use cases need, over one configuration of the SDK.
pub fn ports(
    sdk: &SdkConfig,
    table: TableConfig,
    bucket: BucketConfig,
    state_machine: StateMachineConfig,
) -> Ports {
    let s3 = s3_client(sdk, bucket.path_style);
    Ports {
        records: Arc::new(DynamoRecords::new(aws_sdk_dynamodb::Client::new(sdk), table.name)),
        artifacts: Arc::new(S3Artifacts::new(s3.clone(), bucket.name, bucket.key_arn)),
        media: Arc::new(S3Media::new(s3)),
        secrets: Arc::new(SecretsManager::new(aws_sdk_secretsmanager::Client::new(sdk))),
        executions: Arc::new(StateMachine::new(aws_sdk_sfn::Client::new(sdk), state_machine.arn)),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    }
}

/// The SDK's configuration: region, credentials and endpoint from the usual places, retries and timeouts from here.
pub async fn sdk_from_env() -> SdkConfig {
    sdk_loader().load().await
}

/// The same before it is loaded, for who brings a region, credentials or an endpoint of its own.
pub fn sdk_loader() -> ConfigLoader {
    let stalls =
        StalledStreamProtectionConfig::enabled().grace_period(Duration::from_secs(STALL_SECONDS)).build();
    aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts(Duration::from_secs(20)))
        .stalled_stream_protection(stalls)
}

/// A client of S3. The time to the first byte of an answer includes the sending of a part, hence more of it.
pub fn s3_client(sdk: &SdkConfig, path_style: bool) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(sdk)
        .force_path_style(path_style)
        .timeout_config(timeouts(Duration::from_mins(1)))
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

fn timeouts(read: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(Duration::from_secs(3)).read_timeout(read).build()
}
