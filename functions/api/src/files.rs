//! `/v1/applications/{app}/backups/{id}/artifacts/{service}/files`: looking into a media archive, and taking one file out.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use holdfast_backup::files::{self, ArchivedFile, FileInArchive};
use http::{HeaderMap, HeaderValue, header};
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    Api, accept, backups,
    names::{ArtifactPath, At, EMPTY_KEY, FilePath},
    page::{Listing, PageParameters, Wanted},
    parameters::Parameters,
    problem::Problem,
    refusals::{Conflict, InvalidRequest, NotFound, Unprocessable},
};

/// The most bytes of a file that are answered themselves. An answer of a function has 6 MB at most, in base64.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const INLINE_BYTES: u64 = 4 * 1024 * 1024;

/// An entry of a media archive.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedFile {
    /// What the archive's manifest says.
    #[serde(flatten)]
    pub file: ArchivedFile,
    /// Where the file is.
    pub links: FileLinks,
}

/// Where a file is.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileLinks {
    /// The path of the file.
    #[serde(rename = "self")]
    #[schema(
        example = "/v1/applications/shop/backups/018bcfe5-6800-7707-8707-070707070707/artifacts/MEDIA/files/YS5qcGc"
    )]
    pub itself: String,
}

/// Where the bytes of a file can be downloaded for a while.
///
/// It has no `Debug`: the URL is a secret.
#[derive(Serialize, ToSchema)]
pub struct FileDownload {
    /// What the archive's manifest says.
    #[serde(flatten)]
    pub file: ArchivedFile,
    /// Signed URL for these bytes of the tar and no others; absent for an empty file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The header `Range` that must go with the URL, for it is signed too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "bytes=1536-20991")]
    pub range: Option<String>,
    /// When the URL stops working; ask again for a fresh one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// List the files of a media archive
///
/// In the order of the bytes of their keys, objects that were left out among them.
#[utoipa::path(
    get, path = "/v1/applications/{app}/backups/{id}/artifacts/{service}/files", operation_id = "listFiles", tag = "backups",
    params(
        ArtifactPath, PageParameters,
        ("prefix" = Option<String>, Query, description = "Only those whose keys begin with it.", example = "photos/2026/"),
    ),
    responses(
        (status = 200, description = "One page of the archive's entries.", body = Listing<ListedFile>),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 422, response = Unprocessable),
    ),
)]
pub async fn list(
    State(api): State<Api>,
    At(ArtifactPath { application, id, service }): At<ArtifactPath>,
    mut parameters: Parameters,
) -> Result<Json<Listing<ListedFile>>, Problem> {
    let wanted = Wanted::<String>::take("files", &mut parameters)?;
    let prefix = parameters.text("prefix")?;
    parameters.finish(&["limit", "cursor", "prefix"])?;
    let address = format!("{}/artifacts/{service}/files", backups::path(&application, id));
    let begins = prefix.as_deref().unwrap_or_default();
    let cursor = wanted.cursor.as_deref();
    let page = files::list(&api.ports, &application, id, &service, begins, cursor, wanted.limit).await?;
    let kept: Vec<_> = prefix.iter().map(|prefix| ("prefix", encoded(prefix))).collect();
    let next = wanted.next(&address, &kept, page.next.as_ref());
    let items = page.items.into_iter().map(|file| {
        let name = match file.key.as_str() {
            "" => EMPTY_KEY.to_owned(),
            key => BASE64_URL_SAFE_NO_PAD.encode(key),
        };
        let links = FileLinks { itself: format!("{address}/{name}") };
        ListedFile { file, links }
    });
    Ok(Json(Listing { items: items.collect(), next }))
}

/// Take one file out of a media archive
///
/// A file of at most 4 MiB is the answer itself, compared with its checksum. Of a larger one, or for a caller that accepts
/// JSON, the answer is a document: a signed URL for these bytes of the tar, and the `Range` that must be sent with it (a
/// redirect could not carry it).
#[utoipa::path(
    get, path = "/v1/applications/{app}/backups/{id}/artifacts/{service}/files/{file}", operation_id = "getFile", tag = "backups",
    params(
        FilePath,
        ("Accept" = Option<String>, Header, description = "`application/json` for the URL as a document.", example = "application/json"),
    ),
    responses(
        (
            status = 200, description = "The file, or where to download it.",
            content(
                (String = "application/octet-stream"),
                (FileDownload = "application/json"),
            ),
        ),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 422, response = Unprocessable),
    ),
)]
pub async fn get(
    State(api): State<Api>,
    At(FilePath { application, id, service, file }): At<FilePath>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    let found = files::find(&api.ports, &application, id, &service, &file).await?;
    let mut response = if found.size() <= INLINE_BYTES && !accept::names(&headers, accept::JSON) {
        let bytes = files::content(&api.ports, &found).await?;
        content(&found, bytes)
    } else if found.size() == 0 {
        Json(FileDownload { file: found.file, url: None, range: None, expires_at: None }).into_response()
    } else {
        let (url, expires_at) = files::link(&api.ports, &application, id, &found, api.download_valid).await?;
        let range = format!("bytes={}-{}", found.range.start, found.range.end - 1);
        Json(FileDownload {
            file: found.file,
            url: Some(url.expose_secret().to_owned()),
            range: Some(range),
            expires_at: Some(expires_at),
        })
        .into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// The file itself. Whatever its type, a browser saves it: what people uploaded must not run as a page of this address.
fn content(found: &FileInArchive, bytes: Bytes) -> Response {
    let name = found.file.key.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let disposition = format!("attachment; filename*=UTF-8''{}", encoded(name));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // Percent-encoded, and so visible ASCII; otherwise the name is left to the browser.
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::try_from(disposition).unwrap_or(HeaderValue::from_static("attachment")),
        ),
    ];
    (headers, bytes).into_response()
}

/// Percent-encoded UTF-8 (RFC 3986), of everything but the unreserved characters.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for digit in [byte >> 4, byte & 15] {
                encoded.push(char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    encoded
}
