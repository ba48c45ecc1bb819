//! Requests signed with the AWS credentials of whoever runs the command (Signature Version 4).

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials as _, SharedCredentialsProvider},
};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign as signature},
    sign::v4,
};
use http::Request;
use tokio::sync::Mutex;

use crate::{clock, failure::Failure};

/// The name API Gateway signs under.
const SERVICE: &str = "execute-api";

/// Credentials are asked for again so long before they expire.
const MARGIN: Duration = Duration::from_mins(1);

/// Whose requests they are, and in which region.
pub(crate) struct Signer {
    region: String,
    provider: SharedCredentialsProvider,
    held: Mutex<Option<Credentials>>,
}

impl Signer {
    /// Takes the credentials from `provider`.
    pub(crate) fn new(region: impl Into<String>, provider: SharedCredentialsProvider) -> Self {
        Self { region: region.into(), provider, held: Mutex::new(None) }
    }

    /// Finds credentials the way every AWS tool does: environment, configuration files, sign-on, container, instance.
    /// The region is that which the API names, or `chosen`, or that of the configuration.
    pub(crate) async fn find(
        named: Option<String>,
        chosen: Option<String>,
        profile: Option<&str>,
    ) -> Result<Self, Failure> {
        if let (Some(named), Some(chosen)) = (&named, &chosen)
            && named != chosen
        {
            return Err(Failure::usage(format!(
                "--region is {chosen}, but the API's address is one in {named}"
            ))
            .fix(format!("leave --region out, or give the address of the stack in {chosen}")));
        }
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(profile) = profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = named.or(chosen) {
            loader = loader.region(Region::new(region));
        }
        let config = loader.load().await;
        let region = config.region().ok_or_else(|| {
            Failure::usage("the region of the API is not known").fix(
                "give it with --region, set AWS_REGION, or put it in the profile of the AWS configuration",
            )
        })?;
        let provider = config.credentials_provider().ok_or_else(no_source)?;
        Ok(Self::new(region.as_ref(), provider))
    }

    /// Signs `request`, its body included.
    pub(crate) async fn sign(&self, request: &mut Request<Vec<u8>>) -> Result<(), Failure> {
        let credentials = self.credentials().await?;
        sign(request, credentials, &self.region, SERVICE, clock::now().into())
            .map_err(|error| Failure::new(format!("the request cannot be signed: {error}")))
    }

    async fn credentials(&self) -> Result<Credentials, Failure> {
        let mut held = self.held.lock().await;
        let until = SystemTime::from(clock::now()) + MARGIN;
        if let Some(credentials) = held.as_ref()
            && credentials.expiry().is_none_or(|expiry| expiry > until)
        {
            return Ok(credentials.clone());
        }
        let fresh = credentials(Some(&self.provider)).await?;
        *held = Some(fresh.clone());
        Ok(fresh)
    }
}

/// What `provider` gives.
pub(crate) async fn credentials(
    provider: Option<&SharedCredentialsProvider>,
) -> Result<Credentials, Failure> {
    provider.ok_or_else(no_source)?.provide_credentials().await.map_err(|error| {
        // What a provider says names files and profiles, never a key.
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        no_credentials(&reason)
    })
}

fn no_source() -> Failure {
    no_credentials("no source of credentials")
}

fn no_credentials(reason: &str) -> Failure {
    Failure::new(format!("there are no AWS credentials to sign with ({reason})")).fix(
        "sign in with `aws sso login` or `aws configure`, name a profile with --profile, or set AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY",
    )
}

/// The region in the name of an API: `{id}.execute-api.{region}.amazonaws.com`, also with the `.cn` of China.
pub(crate) fn region_of(host: &str) -> Option<&str> {
    let rest = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    let (_, region) = rest.split_once(".execute-api.")?;
    (!region.is_empty() && !region.contains('.')).then_some(region)
}

/// Adds the headers of the signature at `time`. All headers that are there are signed, and so is the body.
fn sign(
    request: &mut Request<Vec<u8>>,
    credentials: Credentials,
    region: &str,
    service: &str,
    time: SystemTime,
) -> Result<(), Box<dyn Error>> {
    let identity = credentials.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(time)
        .settings(SigningSettings::default())
        .build()?
        .into();
    let headers =
        request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signable = SignableRequest::new(
        request.method().as_str(),
        request.uri().to_string(),
        headers,
        SignableBody::Bytes(request.body()),
    )?;
    let (instructions, _) = signature(signable, &parameters)?.into_parts();
    instructions.apply_to_request_http1x(request);
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use rstest::rstest;

    use super::*;

    /// Key, region and time of the examples in AWS's documentation and test suite.
    fn signed(mut request: Request<Vec<u8>>, service: &str) -> String {
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            None,
            None,
            "documentation",
        );
        let time = DateTime::parse_from_rfc3339("2015-08-30T12:36:00Z").unwrap();
        sign(&mut request, credentials, "us-east-1", service, time.into()).unwrap();
        assert_eq!(request.headers()["x-amz-date"], "20150830T123600Z");
        request.headers()["authorization"].to_str().unwrap().to_owned()
    }

    /// The worked example of "Create a signed AWS API request" in the IAM User Guide.
    #[test]
    fn the_documented_example_has_the_documented_signature() {
        let request = Request::get("https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .body(Vec::new())
            .unwrap();
        assert_eq!(
            signed(request, "iam"),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    /// `post-x-www-form-urlencoded` of AWS's Signature Version 4 test suite: a body is signed too.
    #[test]
    fn the_test_suites_post_has_its_signature() {
        let request = Request::post("https://example.amazonaws.com/")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(b"Param1=value1".to_vec())
            .unwrap();
        assert!(
            signed(request, "service")
                .ends_with("Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a")
        );
    }

    #[rstest]
    #[case("abc123.execute-api.eu-central-1.amazonaws.com", Some("eu-central-1"))]
    #[case("abc123.execute-api.cn-north-1.amazonaws.com.cn", Some("cn-north-1"))]
    #[case("abc123.execute-api.localhost", None)]
    #[case("backups.example.org", None)]
    fn an_api_names_its_region(#[case] host: &str, #[case] region: Option<&str>) {
        assert_eq!(region_of(host), region);
    }

    #[tokio::test]
    async fn a_region_that_contradicts_the_address_is_refused() {
        let refused = Signer::find(Some("eu-central-1".to_owned()), Some("us-east-1".to_owned()), None).await;
        assert!(refused.err().unwrap().to_string().contains("the API's address is one in eu-central-1"));
    }

    #[tokio::test]
    async fn credentials_are_held_until_shortly_before_they_expire() {
        let soon = SystemTime::from(clock::now()) + Duration::from_secs(30);
        for (expiry, asked) in [(None, 1), (Some(soon), 2)] {
            let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let signer =
                Signer::new("eu-central-1", SharedCredentialsProvider::new(Counting(count.clone(), expiry)));
            for _ in 0..2 {
                signer.sign(&mut Request::get("http://localhost/").body(Vec::new()).unwrap()).await.unwrap();
            }
            assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), asked);
        }
    }

    /// Counts how often it is asked.
    #[derive(Debug)]
    struct Counting(std::sync::Arc<std::sync::atomic::AtomicUsize>, Option<SystemTime>);

    impl aws_credential_types::provider::ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let credentials = Credentials::new("key", "secret", None, self.1, "test");
            aws_credential_types::provider::future::ProvideCredentials::ready(Ok(credentials))
        }
    }
}
