//! The stack's region, and the regions that names of things give away.

use std::fmt;

use crate::invalid::Invalid;

/// An AWS region, such as `eu-central-1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region(String);

impl Region {
    /// The region of that name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The region an RDS endpoint names: `{id}.{hash}.{region}.rds.amazonaws.com`, also for clusters and proxies, and with
/// the `.cn` of China. Other hosts say nothing about where they are.
pub fn of_database_host(host: &str) -> Option<Region> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let before =
        host.strip_suffix(".rds.amazonaws.com").or_else(|| host.strip_suffix(".rds.amazonaws.com.cn"))?;
    let (_, region) = before.rsplit_once('.')?;
    Some(Region::new(region))
}

/// Accepts the ARN of a Secrets Manager secret in `region`, which was given in `field`, and says which other thing or region it names otherwise.
pub fn of_secret(field: &'static str, arn: &str, region: &Region) -> Result<(), Invalid> {
    let parts: Vec<&str> = arn.splitn(7, ':').collect();
    let &["arn", _partition, "secretsmanager", found, account, "secret", name] = parts.as_slice() else {
        return Err(Invalid::new(
            field,
            "is not the ARN of a Secrets Manager secret",
            "give the full ARN, arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME; the secret itself is never sent",
        ));
    };
    if found != region.as_str() {
        return Err(Invalid::new(
            field,
            format!("names a secret in region {found}"),
            format!("use a secret in {region}, where this stack runs"),
        ));
    }
    if account.is_empty() || name.is_empty() {
        return Err(Invalid::new(field, "lacks the account or the name", "give the full ARN of the secret"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("db.abc123.eu-central-1.rds.amazonaws.com", Some("eu-central-1"))]
    #[case("db.cluster-abc123.us-east-1.rds.amazonaws.com.", Some("us-east-1"))]
    #[case("DB.ABC.cn-north-1.rds.amazonaws.com.cn", Some("cn-north-1"))]
    #[case("127.0.0.1", None)]
    #[case("db.internal", None)]
    fn an_rds_endpoint_names_its_region(#[case] host: &str, #[case] region: Option<&str>) {
        assert_eq!(of_database_host(host), region.map(Region::new));
    }

    #[rstest]
    #[case("arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/db-AbCdEf", None)]
    #[case("arn:aws:secretsmanager:us-east-1:123456789012:secret:shop-AbCdEf", Some("region us-east-1"))]
    #[case("hunter2", Some("not the ARN"))]
    #[case("arn:aws:ssm:eu-central-1:123456789012:parameter:x", Some("not the ARN"))]
    fn a_secret_is_an_arn_in_the_stacks_region(#[case] arn: &str, #[case] problem: Option<&str>) {
        let outcome = of_secret("secret_arn", arn, &Region::new("eu-central-1"));
        match problem {
            None => assert_eq!(outcome, Ok(())),
            Some(problem) => assert!(outcome.unwrap_err().problem.contains(problem)),
        }
    }
}
