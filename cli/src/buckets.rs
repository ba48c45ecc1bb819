//! Buckets, reached as every AWS tool reaches them: region, credentials and endpoint from the usual settings.

use aws_config::{Region, SdkConfig};
use holdfast_aws::{
    config,
    dynamodb::DynamoRecords,
    s3::{S3Artifacts, S3Media, Storing},
    wire,
};
use holdfast_backup::ports::{MediaSource as _, StorageError};

use crate::{
    arguments::{Connection, Stored},
    failure::Failure,
    sign,
};

/// Where a bucket is looked for while no region is known; S3 answers from there about those elsewhere.
const ANY_REGION: &str = "us-east-1";

/// S3, as somebody's settings say.
pub(crate) struct Buckets {
    settings: SdkConfig,
    /// Whether an endpoint is named, which then has one region, and the buckets in its paths.
    own_endpoint: bool,
}

impl Buckets {
    /// Reads the settings, and makes sure that there are credentials.
    pub(crate) async fn reach(connection: &Connection) -> Result<Self, Failure> {
        let mut loader = wire::sdk_loader();
        if let Some(profile) = &connection.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &connection.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let settings = loader.load().await;
        sign::credentials(settings.credentials_provider().as_ref()).await?;
        let own_endpoint = config::s3_endpoint_in_env() || settings.endpoint_url().is_some();
        Ok(Self { settings, own_endpoint })
    }

    /// The store of artifacts in `bucket`.
    pub(crate) async fn store(&self, bucket: &str, stored: &Stored) -> Result<S3Artifacts, Failure> {
        let storing = Storing::AsAsked {
            storage_class: stored.storage_class.clone(),
            kms_key: stored.sse_kms_key_id.clone(),
            replace: stored.overwrite,
        };
        let settings = self.near(bucket).await?;
        Ok(S3Artifacts::new(wire::s3_client(&settings, self.own_endpoint), bucket.to_owned(), storing))
    }

    /// The bucket that backups are kept in, to be read, and the table of their records in its region.
    pub(crate) async fn catalog(
        &self,
        bucket: &str,
        table: &str,
    ) -> Result<(S3Artifacts, DynamoRecords), Failure> {
        let settings = self.near(bucket).await?;
        let storing = Storing::AsAsked { storage_class: None, kms_key: None, replace: false };
        let client = wire::s3_client(&settings, self.own_endpoint);
        let bucket = S3Artifacts::new(client, bucket.to_owned(), storing);
        Ok((bucket, wire::records(&settings, table.to_owned())))
    }

    /// The objects of `bucket`, to be read.
    pub(crate) async fn media(&self, bucket: &str) -> Result<S3Media, Failure> {
        Ok(S3Media::new(wire::s3_client(&self.near(bucket).await?, self.own_endpoint)))
    }

    /// The settings for calls about `bucket`: those of its own region, where it can be found out.
    async fn near(&self, bucket: &str) -> Result<SdkConfig, Failure> {
        let known = self.settings.region().is_some();
        let asked = if known { self.settings.clone() } else { self.within(ANY_REGION.to_owned()) };
        let media = S3Media::new(wire::s3_client(&asked, self.own_endpoint));
        match media.region(bucket).await {
            Ok(_) if known && self.own_endpoint => Ok(asked),
            Ok(region) => Ok(self.within(region.as_str().to_owned())),
            Err(StorageError::NotFound(_)) => Err(Failure::new(format!("there is no bucket {bucket}"))
                .fix("check its name, or make it first: aws s3 mb s3://…")),
            // Not everybody may ask where a bucket is.
            Err(StorageError::Denied(_)) if known => Ok(asked),
            Err(StorageError::Denied(_)) => Err(Failure::usage(format!("the region of bucket {bucket} is not known"))
                .fix("give it with --region, set AWS_REGION, or put it in the profile of the AWS configuration")),
            Err(error @ StorageError::Unavailable(_)) => Err(Failure::new(error.to_string())
                .fix("check the network, the region (--region), and AWS_ENDPOINT_URL if it is set")),
            Err(error) => Err(Failure::new(error.to_string()).fix(
                "sign in to AWS again, and check that the credentials are those you mean (`aws sts get-caller-identity`)",
            )),
        }
    }

    fn within(&self, region: String) -> SdkConfig {
        self.settings.to_builder().region(Region::new(region)).build()
    }
}
