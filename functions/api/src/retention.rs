//! `/v1/applications/{app}/retention`: what retention would do now, and why.

use axum::{Json, extract::State};
use holdfast_backup::retain::{self, RetentionReport};

use crate::{
    Api,
    names::{ApplicationPath, At},
    parameters::Parameters,
    problem::Problem,
    refusals::{InvalidRequest, NotFound},
};

/// Show what retention would do now
///
/// A line for each backup that is kept, gets another label or goes, with the reason. It changes nothing.
#[utoipa::path(
    get, path = "/v1/applications/{app}/retention", operation_id = "getRetention", tag = "applications",
    params(ApplicationPath),
    responses(
        (status = 200, description = "What retention would do now.", body = RetentionReport),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
    ),
)]
pub async fn get(
    State(api): State<Api>,
    At(ApplicationPath { application }): At<ApplicationPath>,
    parameters: Parameters,
) -> Result<Json<RetentionReport>, Problem> {
    parameters.finish(&[])?;
    Ok(Json(retain::dry_run(&api.ports, &application).await?))
}
