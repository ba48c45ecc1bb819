//! `/v1/applications/{app}/restores`: asking for restores, following, finding, cancelling and undoing them.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use holdfast_backup::restores::{self, Filter, Requested, RestoreRequest};
use holdfast_domain::{
    id::{ApplicationId, RestoreId},
    restore::{Restore, RestoreState},
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    Api,
    actor::Actor,
    applications, backups,
    document::Document,
    idempotency,
    names::{ApplicationPath, At, RestorePath},
    page::{Listing, PageParameters, Wanted},
    parameters::Parameters,
    problem::Problem,
    refusals::{BodyTooLarge, Conflict, InvalidRequest, NotFound, Unprocessable, UnsupportedMediaType},
};

/// A restore, and where to go from it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RestoreWithLinks {
    /// The record.
    #[serde(flatten)]
    pub record: Restore,
    /// Where to go from here.
    pub links: RestoreLinks,
}

/// Paths of what belongs to a restore.
#[derive(Debug, Serialize, ToSchema)]
pub struct RestoreLinks {
    /// The restore.
    #[serde(rename = "self")]
    #[schema(example = "/v1/applications/shop/restores/018bcfe5-6800-7707-8707-070707070707")]
    pub itself: String,
    /// The application that is restored.
    #[schema(example = "/v1/applications/shop")]
    pub application: String,
    /// The backup it is restored from.
    #[schema(example = "/v1/applications/shop/backups/018bcfe5-6800-7707-8707-070707070707")]
    pub backup: String,
    /// The backup of what was there before, once it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/v1/applications/shop/backups/018bcfe5-6800-7707-8707-070707070708")]
    pub safety_backup: Option<String>,
    /// The restore that this one takes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/v1/applications/shop/restores/018bcfe5-6800-7707-8707-070707070706")]
    pub undoes: Option<String>,
    /// Where to cancel it, while it has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/v1/applications/shop/restores/018bcfe5-6800-7707-8707-070707070707/cancel")]
    pub cancel: Option<String>,
    /// Where to take it back, once it has ended and there is something to take back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/v1/applications/shop/restores/018bcfe5-6800-7707-8707-070707070707/undo")]
    pub undo: Option<String>,
}

impl From<Restore> for RestoreWithLinks {
    fn from(record: Restore) -> Self {
        let itself = path(&record.application, record.id);
        let open = record.state.is_open();
        let undoable = !open && record.has_begun() && record.safety_backup.is_some();
        Self {
            links: RestoreLinks {
                application: applications::path(&record.application),
                backup: backups::path(&record.from.application, record.from.backup),
                safety_backup: record.safety_backup.map(|id| backups::path(&record.application, id)),
                undoes: record.undoes.map(|id| path(&record.application, id)),
                cancel: open.then(|| format!("{itself}/cancel")),
                undo: undoable.then(|| format!("{itself}/undo")),
                itself,
            },
            record,
        }
    }
}

/// The path of a restore.
pub fn path(application: &ApplicationId, id: RestoreId) -> String {
    format!("{}/restores/{id}", applications::path(application))
}

/// Restore a backup into an application
///
/// First it looks: what is in the way is a refusal, and nothing is changed then. With `dry_run` that is all. What is there
/// already is only replaced with `overwrite`, and is backed up before, so that the restore can be undone; `safety_backup:
/// false` declines that. A backup of another application can be restored if that one's registration names this one in
/// `restore_into`. One restore into an application runs at a time. With an `Idempotency-Key`, sending the same request again
/// within 24 hours gives the same restore and starts nothing.
#[utoipa::path(
    post, path = "/v1/applications/{app}/restores", operation_id = "createRestore", tag = "restores",
    params(
        ApplicationPath,
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters that no other request uses, such as a UUID.", example = "0b5d8f3e-8f5c-4f0e-9d43-1f6c6f0f6a11"),
    ),
    request_body(content = RestoreRequest, example = json!({
        "from": {"backup": "018bcfe5-6800-7707-8707-070707070707"},
        "services": [{"from": "DEFAULT", "to": "DEFAULT"}, {"from": "MEDIA", "to": "MEDIA", "files": ["photos/2026/"]}],
        "options": {"overwrite": true},
    })),
    responses(
        (status = 202, description = "The restore will run.", body = RestoreWithLinks, headers(
            ("Location" = String, description = "Its path."),
            ("Retry-After" = u64, description = "Seconds after which it is worth looking."),
            ("Idempotency-Replayed" = bool, description = "`true` if the same request had been made before."),
        )),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 413, response = BodyTooLarge),
        (status = 415, response = UnsupportedMediaType),
        (status = 422, response = Unprocessable),
    ),
)]
pub async fn create(
    State(api): State<Api>,
    Actor(actor): Actor,
    At(ApplicationPath { application }): At<ApplicationPath>,
    parameters: Parameters,
    headers: HeaderMap,
    Document(request): Document<RestoreRequest>,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    let key = idempotency::key(&headers)?;
    Ok(requested(restores::create(&api.ports, &actor, &application, request, key).await?))
}

/// Which restores a list shows.
#[expect(dead_code, reason = "the parameters are read one by one; this describes them")]
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StateParameters {
    /// In one of these states; joined by commas, or repeated.
    #[param(style = Form, explode = false)]
    state: Option<Vec<RestoreState>>,
}

/// List restores into an application
///
/// Newest first.
#[utoipa::path(
    get, path = "/v1/applications/{app}/restores", operation_id = "listRestores", tag = "restores",
    params(ApplicationPath, StateParameters, PageParameters),
    responses(
        (status = 200, description = "One page of restores.", body = Listing<RestoreWithLinks>),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
    ),
)]
pub async fn list(
    State(api): State<Api>,
    At(ApplicationPath { application }): At<ApplicationPath>,
    mut parameters: Parameters,
) -> Result<Json<Listing<RestoreWithLinks>>, Problem> {
    let wanted = Wanted::<RestoreId>::take("restores", &mut parameters)?;
    let states = parameters.list("state", &RestoreState::ALL, RestoreState::as_str)?;
    let filter = Filter { states };
    parameters.finish(&["state", "limit", "cursor"])?;
    let page = restores::list(&api.ports, &application, &filter, wanted.cursor, wanted.limit).await?;
    let address = format!("{}/restores", applications::path(&application));
    let kept: Vec<_> = filter.states.iter().map(|state| ("state", state.as_str().to_owned())).collect();
    Ok(Json(Listing {
        next: wanted.next(&address, &kept, page.next.as_ref()),
        items: page.items.into_iter().map(|record| record.value.into()).collect(),
    }))
}

/// Show a restore
///
/// With what was found before anything was changed, and how far it has come: look again after the seconds in `Retry-After`.
#[utoipa::path(
    get, path = "/v1/applications/{app}/restores/{id}", operation_id = "getRestore", tag = "restores",
    params(RestorePath),
    responses(
        (status = 200, description = "The restore.", body = RestoreWithLinks, headers(("Retry-After" = u64, description = "While it has not ended: seconds after which it is worth looking again."))),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
    ),
)]
pub async fn get(
    State(api): State<Api>,
    At(RestorePath { application, id }): At<RestorePath>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    let record = restores::get(&api.ports, &application, id).await?.value;
    let open = record.state.is_open();
    let mut response = Json(RestoreWithLinks::from(record)).into_response();
    if open {
        crate::look_again(&mut response);
    }
    Ok(response)
}

/// Cancel a restore
///
/// The running slice stops within seconds and cleans up; the restore then becomes `cancelled`. What is restored by then
/// stays, and its `failure` says what is as it was and what is not. Repeating it is harmless.
#[utoipa::path(
    post, path = "/v1/applications/{app}/restores/{id}/cancel", operation_id = "cancelRestore", tag = "restores",
    params(RestorePath),
    responses(
        (status = 202, description = "The restore will stop.", body = RestoreWithLinks, headers(
            ("Location" = String, description = "Its path."),
            ("Retry-After" = u64, description = "Seconds after which it is worth looking."),
        )),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
    ),
)]
pub async fn cancel(
    State(api): State<Api>,
    Actor(actor): Actor,
    At(RestorePath { application, id }): At<RestorePath>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    Ok(accepted(restores::cancel(&api.ports, &actor, &application, id).await?.value))
}

/// Undo a restore
///
/// Starts another restore: that of the backup that was made of what was there before, into the same services, whatever has
/// come since. It makes a safety backup of its own, so that an undo can be undone. What was empty before stays as it is.
#[utoipa::path(
    post, path = "/v1/applications/{app}/restores/{id}/undo", operation_id = "undoRestore", tag = "restores",
    params(
        RestorePath,
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters that no other request uses, such as a UUID.", example = "0b5d8f3e-8f5c-4f0e-9d43-1f6c6f0f6a11"),
    ),
    responses(
        (status = 202, description = "The restore that undoes it will run.", body = RestoreWithLinks, headers(
            ("Location" = String, description = "Its path."),
            ("Retry-After" = u64, description = "Seconds after which it is worth looking."),
            ("Idempotency-Replayed" = bool, description = "`true` if the same request had been made before."),
        )),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 422, response = Unprocessable),
    ),
)]
pub async fn undo(
    State(api): State<Api>,
    Actor(actor): Actor,
    At(RestorePath { application, id }): At<RestorePath>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    let key = idempotency::key(&headers)?;
    Ok(requested(restores::undo(&api.ports, &actor, &application, id, key).await?))
}

fn requested(Requested { restore, repeated }: Requested) -> Response {
    let mut response = accepted(restore.value);
    if repeated {
        idempotency::mark_replayed(&mut response);
    }
    response
}

fn accepted(record: Restore) -> Response {
    let location = path(&record.application, record.id);
    let mut response = (StatusCode::ACCEPTED, Json(RestoreWithLinks::from(record))).into_response();
    crate::look_again(&mut response);
    crate::locate(&mut response, &location);
    response
}
