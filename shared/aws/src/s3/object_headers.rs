use std::collections::BTreeMap;

use aws_sdk_s3::{
    client::customize::CustomizableOperation,
    operation::{
        create_multipart_upload::builders::CreateMultipartUploadFluentBuilder,
        put_object::builders::PutObjectFluentBuilder,
    },
};
use holdfast_backup::ports::{ObjectHeaders, StorageError};

use super::percent;

/// Says which headers a new object gets. `Expires` follows with [`with_expires`].
macro_rules! with_headers {
    ($request:expr, $headers:expr) => {{
        let ObjectHeaders {
            content_type,
            cache_control,
            content_encoding,
            content_disposition,
            content_language,
            expires: _,
            website_redirect_location,
            metadata,
            tags,
        } = $headers.clone();
        $request
            .set_content_type(content_type)
            .set_cache_control(cache_control)
            .set_content_encoding(content_encoding)
            .set_content_disposition(content_disposition)
            .set_content_language(content_language)
            .set_website_redirect_location(website_redirect_location)
            .set_metadata((!metadata.is_empty()).then(|| metadata.into_iter().collect()))
            .set_tagging(tagging(&tags))
    }};
}

/// The request to put an object with these headers.
pub(super) fn of_put(request: PutObjectFluentBuilder, headers: &ObjectHeaders) -> PutObjectFluentBuilder {
    with_headers!(request, headers)
}

/// The request to begin the upload of an object with these headers.
pub(super) fn of_upload(
    request: CreateMultipartUploadFluentBuilder,
    headers: &ObjectHeaders,
) -> CreateMultipartUploadFluentBuilder {
    with_headers!(request, headers)
}

/// Adds `Expires` as it was: S3 keeps any text, and the SDK takes a time only.
pub(super) fn with_expires<T, E, B>(
    request: CustomizableOperation<T, E, B>,
    what: &str,
    headers: &ObjectHeaders,
) -> Result<CustomizableOperation<T, E, B>, StorageError> {
    let Some(expires) = headers.expires.clone() else { return Ok(request) };
    if expires.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(StorageError::Rejected(format!("{what}: its header Expires cannot be sent")));
    }
    Ok(request.mutate_request(move |request| {
        request.headers_mut().insert("expires", expires.clone());
    }))
}

/// The value of `x-amz-tagging`: tags as the query of a URL.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html#AmazonS3-PutObject-request-header-Tagging>
fn tagging(tags: &BTreeMap<String, String>) -> Option<String> {
    let tag = |(key, value): (&String, &String)| {
        format!("{}={}", percent::encode(key, b""), percent::encode(value, b""))
    };
    (!tags.is_empty()).then(|| tags.iter().map(tag).collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_written_as_a_query() {
        let tags = [("kind", "photo of a cat"), ("a&b", "x=y+Zü")];
        let tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(tagging(&tags).as_deref(), Some("a%26b=x%3Dy%2BZ%C3%BC&kind=photo%20of%20a%20cat"));
        assert_eq!(tagging(&BTreeMap::new()), None);
    }
}
