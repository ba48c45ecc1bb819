//! `/v1/applications/{app}/backups/{id}/verify`: reading a backup again.

use axum::{extract::State, response::Response};
use holdfast_backup::verify::{self, VerificationRequest};

use crate::{
    Api,
    actor::Actor,
    backups::{BackupWithLinks, accepted},
    document::Document,
    names::{At, BackupPath},
    parameters::Parameters,
    problem::Problem,
    refusals::{BodyTooLarge, Conflict, InvalidRequest, NotFound, Unprocessable, UnsupportedMediaType},
};

/// Verify a backup
///
/// Reads every byte of every artifact again and compares it with what was stored: checksums, tables of contents, the rows of
/// each table of a `PostgreSQL` dump, each file of a media archive. With the level 2, everything is then restored beside the
/// services of the application, compared with what was written down when it was backed up, and removed again: as a restore that
/// is a `rehearsal`, which can be followed and cancelled as any other. With the level 3, the values in the tables of databases are
/// compared besides, by checksums of their rows. What was found is in the backup's `verification`. One that is found damaged counts
/// for no policy any more. Repeating it while it is under way is harmless.
#[utoipa::path(
    post, path = "/v1/applications/{app}/backups/{id}/verify", operation_id = "verifyBackup", tag = "backups",
    params(BackupPath),
    request_body(content = Option<VerificationRequest>, example = json!({"level": 2})),
    responses(
        (status = 202, description = "The backup will be read.", body = BackupWithLinks, headers(
            ("Location" = String, description = "Its path."),
            ("Retry-After" = u64, description = "Seconds after which it is worth looking."),
        )),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 413, response = BodyTooLarge),
        (status = 415, response = UnsupportedMediaType),
        (status = 422, response = Unprocessable),
    ),
)]
pub async fn post(
    State(api): State<Api>,
    Actor(actor): Actor,
    At(BackupPath { application, id }): At<BackupPath>,
    parameters: Parameters,
    document: Option<Document<VerificationRequest>>,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    let request = document.map(|Document(request)| request).unwrap_or_default();
    Ok(accepted(&api, verify::ask(&api.ports, &actor, &application, id, request).await?.value))
}
