//! `/v1/applications/{app}/backups/{id}/hold`: keeping a backup whatever the policy says.

use axum::{Json, extract::State};
use holdfast_backup::hold;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    Api,
    actor::Actor,
    backups::BackupWithLinks,
    document::Document,
    names::{At, BackupPath},
    parameters::Parameters,
    problem::Problem,
    refusals::{BodyTooLarge, Conflict, InvalidRequest, NotFound, Unprocessable, UnsupportedMediaType},
};

/// A hold to put on a backup.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// Why the backup must stay, in at most 1,000 characters.
    pub reason: String,
}

/// Hold a backup
///
/// Neither a policy nor anybody else takes it until the hold is released: it is not relabelled, discarded, counted or
/// deleted, and its own expiry waits. A backup that still runs can be held, too. Putting another hold on replaces the
/// reason; repeating it is harmless.
#[utoipa::path(
    put, path = "/v1/applications/{app}/backups/{id}/hold", operation_id = "holdBackup", tag = "backups",
    params(BackupPath),
    request_body(content = HoldRequest, example = json!({"reason": "evidence in case 42"})),
    responses(
        (status = 200, description = "The backup is held.", body = BackupWithLinks),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 413, response = BodyTooLarge),
        (status = 415, response = UnsupportedMediaType),
        (status = 422, response = Unprocessable),
    ),
)]
pub async fn put(
    State(api): State<Api>,
    Actor(actor): Actor,
    At(BackupPath { application, id }): At<BackupPath>,
    parameters: Parameters,
    Document(request): Document<HoldRequest>,
) -> Result<Json<BackupWithLinks>, Problem> {
    parameters.finish(&[])?;
    let record = hold::hold(&api.ports, &actor, &application, id, &request.reason).await?.value;
    Ok(Json(BackupWithLinks::new(record, Vec::new(), api.ports.clock.now())))
}

/// Release a backup
///
/// Takes its hold away: from the next run of retention on, the policy decides again. Repeating it is harmless.
#[utoipa::path(
    delete, path = "/v1/applications/{app}/backups/{id}/hold", operation_id = "releaseBackup", tag = "backups",
    params(BackupPath),
    responses(
        (status = 200, description = "No hold is on the backup.", body = BackupWithLinks),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
    ),
)]
pub async fn delete(
    State(api): State<Api>,
    Actor(actor): Actor,
    At(BackupPath { application, id }): At<BackupPath>,
    parameters: Parameters,
) -> Result<Json<BackupWithLinks>, Problem> {
    parameters.finish(&[])?;
    let record = hold::release(&api.ports, &actor, &application, id).await?.value;
    Ok(Json(BackupWithLinks::new(record, Vec::new(), api.ports.clock.now())))
}
