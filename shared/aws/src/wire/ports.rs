//! Ports over AWS.

use std::sync::Arc;

use aws_config::SdkConfig;
use holdfast_backup::ports::Ports;

use super::{records, s3_client, sdk_from_env};
use crate::{
    clock::SystemClock,
    config::{BucketConfig, ConfigError, EventsConfig, IsolatedConfig, StateMachineConfig, TableConfig},
    entropy::SystemEntropy,
    eventbridge::EventBus,
    metrics::Metrics,
    rds::RdsInstances,
    s3::{S3Artifacts, S3Media, S3MediaTarget, Storing},
    secrets::SecretsManager,
    sfn::StateMachine,
};

/// Everything the use cases need, as this process's environment says.
pub async fn ports_from_env() -> Result<Ports, ConfigError> {
    let (table, bucket) = (TableConfig::from_env()?, BucketConfig::from_env()?);
    let state_machine = StateMachineConfig::from_env()?;
    Ok(ports(
        &sdk_from_env().await,
        table,
        bucket,
        state_machine,
        EventsConfig::from_env(),
        IsolatedConfig::from_env(),
    ))
}

/// Everything the use cases need, over one configuration of the SDK.
pub fn ports(
    sdk: &SdkConfig,
    table: TableConfig,
    bucket: BucketConfig,
    state_machine: StateMachineConfig,
    events: EventsConfig,
    isolated: IsolatedConfig,
) -> Ports {
    let s3 = s3_client(sdk, bucket.path_style);
    let media_target = S3MediaTarget::new(s3.clone(), bucket.name.clone());
    Ports {
        records: Arc::new(records(sdk, table.name)),
        artifacts: Arc::new(S3Artifacts::new(
            s3.clone(),
            bucket.name,
            Storing::AsBackup { key_arn: bucket.key_arn },
        )),
        media: Arc::new(S3Media::new(s3)),
        media_target: Arc::new(media_target),
        secrets: Arc::new(SecretsManager::new(aws_sdk_secretsmanager::Client::new(sdk))),
        instances: Arc::new(RdsInstances::new(sdk, isolated.stack)),
        executions: Arc::new(StateMachine::new(aws_sdk_sfn::Client::new(sdk), state_machine.arn)),
        events: Arc::new(EventBus::new(
            aws_sdk_eventbridge::Client::new(sdk),
            events.bus,
            Metrics::new(events.stack),
        )),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    }
}
