//! The SDK's configuration, clients, and ports over them, as the environment says.

#[cfg(feature = "stack")]
mod ports;

use std::time::Duration;

use aws_config::{
    BehaviorVersion, ConfigLoader, SdkConfig, retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig,
};
#[cfg(feature = "stack")]
pub use ports::{ports, ports_from_env};

#[cfg(feature = "records")]
use crate::dynamodb::DynamoRecords;

/// How often the SDK tries a call, the first time included. Nothing above it tries AWS calls again one by one.
const ATTEMPTS: u32 = 4;

/// How long a stream may stand still before it is given up. Longer than the SDK's own 20 seconds: a slice that is given up
/// costs a whole dump, a minute costs a minute.
const STALL_SECONDS: u64 = 60;

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

/// The records in `table`.
#[cfg(feature = "records")]
pub fn records(sdk: &SdkConfig, table: String) -> DynamoRecords {
    DynamoRecords::new(aws_sdk_dynamodb::Client::new(sdk), table)
}

fn timeouts(read: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(Duration::from_secs(3)).read_timeout(read).build()
}
