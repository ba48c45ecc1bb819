//! The function that answers the HTTP API.

use holdfast_api::Api;
use holdfast_aws::{
    config::{BucketConfig, DownloadConfig, LogConfig, RegionConfig},
    telemetry, wire,
};
use holdfast_backup::applications::Stack;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::start(&LogConfig::from_env()?);
    let api = Api {
        ports: wire::ports_from_env().await?,
        stack: Stack { region: RegionConfig::from_env()?.region, bucket: BucketConfig::from_env()?.name },
        download_valid: DownloadConfig::from_env()?.valid,
    };
    holdfast_api::serve(api).await
}
