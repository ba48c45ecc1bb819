//! `/v1/applications/{app}/backups/{id}/verify`: reading a backup again.

use axum::{extract::State, response::Response};
use holdfast_backup::verify;

use crate::{
    Api,
    actor::Actor,
    backups::{BackupWithLinks, accepted},
    names::{At, BackupPath},
    parameters::Parameters,
    problem::Problem,
    refusals::{Conflict, InvalidRequest, NotFound},
};

/// Verify a backup
///
/// Reads every byte of every artifact again and compares it with what was stored: checksums, tables of contents, the rows of
/// each table of a `PostgreSQL` dump, each file of a media archive. What was found is in the backup's `verification`. One
/// that is found damaged counts for no policy any more. Repeating it while it is under way is harmless.
#[utoipa::path(
    post, path = "/v1/applications/{app}/backups/{id}/verify", operation_id = "verifyBackup", tag = "backups",
    params(BackupPath),
    responses(
        (status = 202, description = "The backup will be read.", body = BackupWithLinks, headers(
            ("Location" = String, description = "Its path."),
            ("Retry-After" = u64, description = "Seconds after which it is worth looking."),
        )),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
    ),
)]
pub async fn post(
    State(api): State<Api>,
    Actor(actor): Actor,
    At(BackupPath { application, id }): At<BackupPath>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    Ok(accepted(&api, verify::ask(&api.ports, &actor, &application, id).await?.value))
}
