use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::get_object::GetObjectOutput,
    primitives::{ByteStream, DateTime as SdkDateTime},
    types::{EncodingType, Object},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use holdfast_backup::ports::{ListedObject, MediaObject, MediaPage, MediaSource, StorageError};
use holdfast_domain::region::Region;

use super::{failure::storage_error, listed_key};

/// The buckets that applications keep their files in.
pub struct S3Media {
    client: Client,
}

impl S3Media {
    /// An adapter over `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl MediaSource for S3Media {
    async fn region(&self, bucket: &str) -> Result<Region, StorageError> {
        match self.client.get_bucket_location().bucket(bucket).send().await {
            Ok(answer) => {
                Ok(Region::new(region_of(answer.location_constraint().map_or("", |place| place.as_str()))))
            }
            Err(error) => {
                let refused = storage_error("GetBucketLocation", &format!("bucket {bucket}"), &error);
                redirected(&error).map(Region::new).ok_or(refused)
            }
        }
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        token: Option<&str>,
    ) -> Result<MediaPage, StorageError> {
        let request =
            self.client.list_objects_v2().bucket(bucket).prefix(prefix).encoding_type(EncodingType::Url);
        let request = request.set_start_after(after.filter(|_| token.is_none()).map(str::to_owned));
        let page = request.set_continuation_token(token.map(str::to_owned)).send().await;
        let what = format!("bucket {bucket}");
        let page = page.map_err(|error| storage_error("ListObjectsV2", &what, &error))?;
        let objects = page.contents().iter().map(|object| {
            listed(object).ok_or_else(|| {
                StorageError::Rejected(format!(
                    "{what}: a listed object lacks its key, size, tag or date: {:?}",
                    object.key()
                ))
            })
        });
        Ok(MediaPage {
            objects: objects.collect::<Result<_, _>>()?,
            next: page.next_continuation_token.clone(),
        })
    }

    async fn open(
        &self,
        bucket: &str,
        key: &str,
        etag: Option<&str>,
        offset: u64,
        length: Option<u64>,
    ) -> Result<MediaObject, StorageError> {
        let request = self.client.get_object().bucket(bucket).key(key).set_if_match(etag.map(str::to_owned));
        let range = match length {
            Some(length) => Some(format!("bytes={offset}-{}", offset + length.max(1) - 1)),
            None => (offset > 0).then(|| format!("bytes={offset}-")),
        };
        let opened = request.set_range(range).send().await;
        let what = format!("object {key} in bucket {bucket}");
        let opened = opened.map_err(|error| storage_error("GetObject", &what, &error))?;
        media_object(opened, what.clone(), offset, length)
            .ok_or_else(|| StorageError::Rejected(format!("{what}: the answer lacks its size, tag or date")))
    }

    async fn tags(&self, bucket: &str, key: &str) -> Result<BTreeMap<String, String>, StorageError> {
        let answer = self.client.get_object_tagging().bucket(bucket).key(key).send().await;
        // A storage that has no tags loses none.
        let code = answer.as_ref().err().and_then(ProvideErrorMetadata::code);
        if code == Some("NotImplemented") {
            return Ok(BTreeMap::new());
        }
        let what = format!("tags of object {key} in bucket {bucket}");
        let answer = answer.map_err(|error| storage_error("GetObjectTagging", &what, &error))?;
        Ok(answer.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }
}

/// The region of a location constraint, whose oldest values are not regions.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html#API_GetBucketLocation_ResponseElements>
fn region_of(location: &str) -> &str {
    match location {
        "" | "US" => "us-east-1",
        "EU" => "eu-west-1",
        region => region,
    }
}

/// The region that S3 sends callers of the wrong one to.
fn redirected<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    let response =
        error.raw_response().filter(|response| matches!(response.status().as_u16(), 301 | 307 | 400))?;
    response.headers().get("x-amz-bucket-region").map(str::to_owned)
}

fn listed(object: &Object) -> Option<ListedObject> {
    Some(ListedObject {
        key: listed_key::decode(object.key()?)?,
        size: u64::try_from(object.size()?).ok()?,
        etag: object.e_tag()?.to_owned(),
        last_modified: moment(object.last_modified()?)?,
    })
}

fn media_object(
    opened: GetObjectOutput,
    what: String,
    offset: u64,
    length: Option<u64>,
) -> Option<MediaObject> {
    let sent = u64::try_from(opened.content_length()?).ok()?;
    // The answer to a range has the length of the range, and the whole behind the slash.
    let size = match opened.content_range() {
        Some(range) => range.rsplit_once('/')?.1.parse().ok()?,
        None => sent,
    };
    let left = size.checked_sub(offset)?;
    let mut metadata: Vec<_> = opened.metadata.into_iter().flatten().collect();
    metadata.sort();
    Some(MediaObject {
        size,
        etag: opened.e_tag?,
        version_id: opened.version_id.filter(|version| version != "null"),
        last_modified: moment(&opened.last_modified?)?,
        content_type: opened.content_type,
        cache_control: opened.cache_control,
        content_encoding: opened.content_encoding,
        content_disposition: opened.content_disposition,
        content_language: opened.content_language,
        expires: opened.expires_string,
        website_redirect_location: opened.website_redirect_location,
        metadata: metadata.into_iter().collect(),
        tag_count: opened.tag_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
        body: exactly(opened.body, length.map_or(left, |length| length.min(left)), what),
    })
}

/// The bytes of `body`, of which there must be `left`, no more and no fewer.
fn exactly(body: ByteStream, left: u64, what: String) -> BoxStream<'static, Result<Bytes, StorageError>> {
    let broken = move |how: &str, what: &str| Some(Err(StorageError::Unavailable(format!("{what} {how}"))));
    stream::unfold(Some((body, left)), move |state| {
        let what = what.clone();
        async move {
            let (mut body, left) = state?;
            let item = match body.next().await {
                Some(Ok(bytes)) => match left.checked_sub(bytes.len() as u64) {
                    Some(left) => return Some((Ok(bytes), Some((body, left)))),
                    None => broken("goes on beyond its end", &what),
                },
                // The error may quote the request; that the body broke is all there is to know.
                Some(Err(_)) => broken("broke off", &what),
                None if left > 0 => broken("ended early", &what),
                None => None,
            };
            item.map(|item| (item, None))
        }
    })
    .boxed()
}

fn moment(at: &SdkDateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.secs(), at.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", "us-east-1")]
    #[case("EU", "eu-west-1")]
    #[case("eu-central-1", "eu-central-1")]
    fn a_location_names_a_region(#[case] location: &str, #[case] region: &str) {
        assert_eq!(region_of(location), region);
    }

    #[rstest]
    #[case(5, None)]
    #[case(6, Some("ended early"))]
    #[case(4, Some("goes on beyond its end"))]
    #[tokio::test]
    async fn a_body_has_the_length_that_was_promised(#[case] promised: u64, #[case] problem: Option<&str>) {
        let body = exactly(ByteStream::from_static(b"bytes"), promised, "object a".to_owned());
        let outcome: Result<Vec<Bytes>, StorageError> = body.try_collect().await;
        match problem {
            None => assert_eq!(outcome.unwrap().concat(), b"bytes"),
            Some(problem) => assert!(outcome.unwrap_err().to_string().contains(problem)),
        }
    }
}
