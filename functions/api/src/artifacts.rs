//! `/v1/applications/{app}/backups/{id}/artifacts/{service}`: downloading what a backup holds.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use holdfast_backup::{
    backups::{self, Download},
    error::RequestError,
};
use holdfast_domain::backup;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    Api, accept,
    names::{ArtifactPath, At},
    parameters::Parameters,
    problem::{Kind, Problem},
    refusals::{Conflict, Expired, InvalidRequest, NotFound},
};

/// Where an artifact can be downloaded for a while.
///
/// It has no `Debug`: the URL is a secret.
#[derive(Serialize, ToSchema)]
pub struct ArtifactDownload {
    /// Signed URL: whoever has it can download the artifact until it expires. Ranges and resuming work.
    #[schema(
        example = "https://holdfast-backups.s3.eu-central-1.amazonaws.com/applications/shop/…?X-Amz-Signature=…"
    )]
    pub url: String,
    /// When the URL stops working; ask again for a fresh one.
    pub expires_at: DateTime<Utc>,
    /// Size in bytes.
    pub size: u64,
    /// CRC64NVME of the whole artifact, base64 of the big-endian value, as S3 gives it.
    #[schema(example = "rosUhgp5mIg=")]
    pub crc64nvme: String,
    /// A good name to save it under.
    #[schema(example = "shop-20261124T030002Z-DEFAULT-database.dump")]
    pub file_name: String,
}

/// Download what a backup holds of one service
///
/// Redirects to a fresh signed URL that is valid for some minutes. With `Accept: application/json` it answers with the
/// URL, its expiry, the size and the checksum instead. This path itself never goes stale.
#[utoipa::path(
    get, path = "/v1/applications/{app}/backups/{id}/artifacts/{service}", operation_id = "getArtifact", tag = "backups",
    params(
        ArtifactPath,
        ("Accept" = Option<String>, Header, description = "`application/json` for the URL as a document.", example = "application/json"),
    ),
    responses(
        (status = 200, description = "Where to download it, for a caller that accepts JSON.", body = ArtifactDownload),
        (status = 302, description = "Where to download it.", headers(("Location" = String, description = "The signed URL."))),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 410, response = Expired),
    ),
)]
pub async fn get(
    State(api): State<Api>,
    At(ArtifactPath { application, id, service }): At<ArtifactPath>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    let download = match backups::download(&api.ports, &application, id, &service, api.download_valid).await {
        Ok(download) => download,
        Err(RequestError::Conflict(message)) => {
            let record = backups::get(&api.ports, &application, id).await?.backup.value;
            return Err(expired(&record, api.ports.clock.now())
                .unwrap_or_else(|| RequestError::Conflict(message).into()));
        }
        Err(error) => return Err(error.into()),
    };
    let mut response =
        if accept::names(&headers, accept::JSON) { document(download) } else { redirect(&download)? };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// RFC 3339 in UTC, to the second.
const SECONDS: &str = "%Y-%m-%dT%H:%M:%SZ";

fn expired(record: &backup::Backup, now: DateTime<Utc>) -> Option<Problem> {
    if !matches!(record.state, backup::State::Expiring | backup::State::Expired) {
        return None;
    }
    let why = record.retention_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let on = record.expired_at.map(|at| format!(" on {}", at.format(SECONDS))).unwrap_or_default();
    let taken = record.taken_at.unwrap_or(record.created_at).format(SECONDS);
    let problem =
        Problem::new(Kind::Expired, format!("The backup {} of {taken} has expired{on}{why}.", record.id));
    Some(match record.undelete_until().filter(|until| now < *until) {
        Some(until) => problem.fix(format!(
            "bring it back with POST …/undelete, which can be done until {}, or choose another backup",
            until.format(SECONDS)
        )),
        None => problem.fix(
            "choose another backup of the application; its list and its events show what there is and what went",
        ),
    })
}

fn document(download: Download) -> Response {
    Json(ArtifactDownload {
        url: download.url.expose_secret().to_owned(),
        expires_at: download.expires_at,
        size: download.artifact.object.size,
        crc64nvme: download.artifact.object.crc64nvme,
        file_name: download.file_name,
    })
    .into_response()
}

fn redirect(download: &Download) -> Result<Response, Problem> {
    let mut location = HeaderValue::try_from(download.url.expose_secret())
        .map_err(|_| Problem::internal("the signed URL is not a header's value"))?;
    location.set_sensitive(true);
    Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
}
