//! Metrics: lines of `CloudWatch`'s embedded metric format, which it makes metrics of as they are logged.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! The stack is the only dimension, so that the number of metrics, which is what they cost, does not grow with what is backed up; which
//! application it was is a field of the line, to be searched for in the logs.

use std::io::Write as _;

use chrono::{DateTime, Utc};
use holdfast_domain::id::ApplicationId;
use serde_json::{Value, json};

/// The namespace of all metrics.
pub const NAMESPACE: &str = "Holdfast";

/// Counts of one stack.
#[derive(Debug, Clone)]
pub struct Metrics {
    stack: String,
}

impl Metrics {
    /// Those of the stack of this name.
    pub fn new(stack: String) -> Self {
        Self { stack }
    }

    /// Logs that there were `count` of `name` at `at`, of one application or of all.
    pub fn count(&self, name: &str, count: usize, application: Option<&ApplicationId>, at: DateTime<Utc>) {
        let line = format!("{}\n", self.line(name, count, application, at));
        // At once, and not between the parts of another line. That it cannot be written is nothing to fail for.
        std::io::stdout().lock().write_all(line.as_bytes()).ok();
    }

    fn line(
        &self,
        name: &str,
        count: usize,
        application: Option<&ApplicationId>,
        at: DateTime<Utc>,
    ) -> Value {
        let mut line = json!({
            "_aws": {
                "Timestamp": at.timestamp_millis(),
                "CloudWatchMetrics": [{
                    "Namespace": NAMESPACE,
                    "Dimensions": [["Stack"]],
                    "Metrics": [{ "Name": name, "Unit": "Count" }],
                }],
            },
            "Stack": self.stack,
        });
        line[name] = json!(count);
        if let Some(application) = application {
            line["application"] = json!(application);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_cloudwatch_reads() {
        let at = DateTime::from_timestamp_millis(1_775_044_800_123).unwrap();
        let shop = "shop".parse().unwrap();
        let line = Metrics::new("holdfast".to_owned()).line("BackupsFailed", 1, Some(&shop), at);
        let expected = json!({
            "_aws": {
                "Timestamp": 1_775_044_800_123_i64,
                "CloudWatchMetrics": [
                    {"Namespace": "Holdfast", "Dimensions": [["Stack"]], "Metrics": [{"Name": "BackupsFailed", "Unit": "Count"}]}
                ]
            },
            "Stack": "holdfast",
            "BackupsFailed": 1,
            "application": "shop"
        });
        assert_eq!(line, expected);
        assert!(!line.to_string().contains('\n'));
    }
}
