//! The function that answers the HTTP API.

use holdfast_api::Api;
use holdfast_aws::{
    config::{BucketConfig, DownloadConfig, LogConfig, PricesConfig, RegionConfig},
    telemetry, wire,
};
use holdfast_backup::{applications::Stack, explain::Pricing};
use holdfast_domain::cost::Architecture;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::start(&LogConfig::from_env()?);
    let region = RegionConfig::from_env()?.region;
    let api = Api {
        ports: wire::ports_from_env().await?,
        stack: Stack { region: region.clone(), bucket: BucketConfig::from_env()?.name },
        download_valid: DownloadConfig::from_env()?.valid,
        pricing: Pricing {
            prices: PricesConfig::from_env().prices,
            region,
            // The functions of a stack all run on one.
            architecture: if cfg!(target_arch = "aarch64") { Architecture::Arm } else { Architecture::X86 },
        },
    };
    holdfast_api::serve(api).await
}
