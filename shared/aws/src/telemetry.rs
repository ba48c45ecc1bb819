//! Logs: one JSON object a line on standard output, which Lambda sends to `CloudWatch`.

use tracing_subscriber::EnvFilter;

use crate::config::LogConfig;

/// Targets that stay at warnings, or at what the runtime says of each call: below that, the SDK logs requests, and with
/// them signed URLs and secrets, and the runtime logs events as they come, with the headers that authorize them.
const QUIET: &str = "lambda_runtime=info,lambda_runtime_api_client=info,lambda_http=info,aws_config=warn,aws_runtime=warn,aws_sdk_dynamodb=warn,aws_sdk_eventbridge=warn,aws_sdk_s3=warn,\
    aws_sdk_secretsmanager=warn,aws_sdk_sfn=warn,aws_sigv4=warn,aws_smithy_http_client=warn,\
    aws_smithy_runtime=warn,aws_smithy_runtime_api=warn,h2=warn,hyper=warn,hyper_util=warn,rustls=warn,\
    tokio_postgres=warn";

/// Begins logging. Called again, it changes nothing.
///
/// The fields of every span an event is in go along, so that the `requestId` of the runtime's span is on each line.
pub fn start(config: &LogConfig) {
    let filter = EnvFilter::new(format!("{},{QUIET}", config.level));
    let logging = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(true)
        .with_env_filter(filter);
    // An error means that logging has begun already.
    logging.try_init().ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directive_of_the_filter_is_understood() {
        for level in ["error", "trace"] {
            let filter = EnvFilter::try_new(format!("{level},{QUIET}")).unwrap().to_string();
            assert!(filter.contains("aws_smithy_runtime=warn") && filter.contains(level), "{filter}");
            assert!(filter.contains("lambda_runtime=info"), "raw events carry authorization: {filter}");
        }
    }

    #[test]
    fn starting_twice_is_harmless() {
        let config = LogConfig { level: "info".to_owned() };
        start(&config);
        start(&config);
    }
}
