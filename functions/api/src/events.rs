//! `/v1/applications/{app}/events`: who changed what, and when.

use axum::{Json, extract::State};
use holdfast_backup::backups;
use holdfast_domain::audit::AuditEntry;

use crate::{
    Api, applications,
    names::{ApplicationPath, At},
    page::{Listing, PageParameters, Wanted},
    parameters::Parameters,
    problem::Problem,
    refusals::{InvalidRequest, NotFound},
};

/// Show an application's audit trail
///
/// Newest first. It outlives the application's registration.
#[utoipa::path(
    get, path = "/v1/applications/{app}/events", operation_id = "listEvents", tag = "applications",
    params(ApplicationPath, PageParameters),
    responses(
        (status = 200, description = "One page of the audit trail.", body = Listing<AuditEntry>),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
    ),
)]
pub async fn list(
    State(api): State<Api>,
    At(ApplicationPath { application }): At<ApplicationPath>,
    mut parameters: Parameters,
) -> Result<Json<Listing<AuditEntry>>, Problem> {
    let wanted = Wanted::<String>::take("events", &mut parameters)?;
    parameters.finish(&["limit", "cursor"])?;
    let page = backups::events(&api.ports, &application, wanted.cursor.as_deref(), wanted.limit).await?;
    let address = format!("{}/events", applications::path(&application));
    Ok(Json(Listing { next: wanted.next(&address, &[], page.next.as_ref()), items: page.items }))
}
