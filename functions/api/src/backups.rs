//! `/v1/applications/{app}/backups`: asking for backups, following, finding, cancelling and deleting them.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use holdfast_backup::{
    backups::{self, Filter},
    explain::{self, Explanation},
    request::{self, BackupRequest},
    undelete,
};
use holdfast_domain::{
    backup::{self, Label, Progress, Trigger},
    id::{ApplicationId, BackupId, ServiceName},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    Api,
    actor::Actor,
    applications,
    document::Document,
    idempotency,
    names::{ApplicationPath, At, BackupPath},
    page::{Listing, PageParameters, Wanted},
    parameters::{Parameters, wrong},
    problem::Problem,
    refusals::{
        BodyTooLarge, Conflict, InvalidRequest, NotFound, TooManyRequests, Unprocessable,
        UnsupportedMediaType,
    },
};

/// A backup, and where to go from it.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackupWithLinks {
    /// The record.
    #[serde(flatten)]
    pub record: backup::Backup,
    /// Bytes of all its artifacts.
    pub bytes: u64,
    /// How far each service has come, while it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub progress: Vec<ServiceProgress>,
    /// Why it is kept or goes, and when; of one backup that has succeeded, not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Explanation>,
    /// Until when it can be brought back, once it is deleted or discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undelete_until: Option<DateTime<Utc>>,
    /// Where to go from here.
    pub links: BackupLinks,
}

/// How far a running backup has come with one service.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceProgress {
    /// Phase, bytes, segments.
    #[serde(flatten)]
    pub progress: Progress,
    /// Bytes per second since copying began.
    pub bytes_per_second: Option<f64>,
    /// Seconds left at that rate, where the total is known.
    pub seconds_left: Option<f64>,
}

/// Paths of what belongs to a backup.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackupLinks {
    /// The backup.
    #[serde(rename = "self")]
    #[schema(example = "/v1/applications/shop/backups/018bcfe5-6800-7707-8707-070707070707")]
    pub itself: String,
    /// The application.
    #[schema(example = "/v1/applications/shop")]
    pub application: String,
    /// Where to cancel it, while it has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/v1/applications/shop/backups/018bcfe5-6800-7707-8707-070707070707/cancel")]
    pub cancel: Option<String>,
    /// Where to put a hold on it or release it, while it is there to be held.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/v1/applications/shop/backups/018bcfe5-6800-7707-8707-070707070707/hold")]
    pub hold: Option<String>,
    /// Where to bring it back, once it is deleted or discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/v1/applications/shop/backups/018bcfe5-6800-7707-8707-070707070707/undelete")]
    pub undelete: Option<String>,
    /// Where to download what it holds, by service, once it has succeeded. These paths never go stale.
    #[schema(example = json!({"DEFAULT": "/v1/applications/shop/backups/018bcfe5-6800-7707-8707-070707070707/artifacts/DEFAULT"}))]
    pub artifacts: BTreeMap<String, String>,
}

impl BackupWithLinks {
    pub(crate) fn new(record: backup::Backup, progress: Vec<Progress>, now: DateTime<Utc>) -> Self {
        let itself = path(&record.application, record.id);
        let downloadable = record.state == backup::State::Succeeded;
        let artifacts = record.artifacts.iter().filter(|_| downloadable);
        let undelete_until = record.undelete_until().filter(|until| now < *until);
        Self {
            links: BackupLinks {
                application: applications::path(&record.application),
                cancel: record.state.is_open().then(|| format!("{itself}/cancel")),
                hold: (downloadable || record.state.is_open()).then(|| format!("{itself}/hold")),
                undelete: undelete_until.map(|_| format!("{itself}/undelete")),
                artifacts: artifacts.map(|artifact| artifact_link(&itself, &artifact.service)).collect(),
                itself,
            },
            bytes: record.bytes(),
            progress: progress.into_iter().map(ServiceProgress::from).collect(),
            retention: None,
            undelete_until,
            record,
        }
    }

    /// The same, explained.
    async fn explained(mut self, api: &Api) -> Result<Self, Problem> {
        self.retention = explain::explain(&api.ports, &self.record).await?;
        Ok(self)
    }
}

impl From<Progress> for ServiceProgress {
    fn from(progress: Progress) -> Self {
        Self { bytes_per_second: progress.rate(), seconds_left: progress.seconds_left(), progress }
    }
}

/// The path of a backup.
pub fn path(application: &ApplicationId, id: BackupId) -> String {
    format!("{}/backups/{id}", applications::path(application))
}

fn artifact_link(backup: &str, service: &ServiceName) -> (String, String) {
    (service.to_string(), format!("{backup}/artifacts/{service}"))
}

/// Start a backup
///
/// Of all services, or of those that the body names; the body can be left out. With an `Idempotency-Key`, sending the
/// same request again within 24 hours gives the same backup and starts nothing. One on-demand backup of an application
/// runs at a time.
#[utoipa::path(
    post, path = "/v1/applications/{app}/backups", operation_id = "createBackup", tag = "backups",
    params(
        ApplicationPath,
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters that no other request uses, such as a UUID.", example = "0b5d8f3e-8f5c-4f0e-9d43-1f6c6f0f6a11"),
    ),
    request_body(content = Option<BackupRequest>, example = json!({"services": ["DEFAULT"], "note": "before the migration", "expires_at": "2026-12-24T00:00:00Z"})),
    responses(
        (status = 202, description = "The backup will run.", body = BackupWithLinks, headers(
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
        (status = 429, response = TooManyRequests),
    ),
)]
pub async fn create(
    State(api): State<Api>,
    Actor(actor): Actor,
    At(ApplicationPath { application }): At<ApplicationPath>,
    parameters: Parameters,
    headers: HeaderMap,
    document: Option<Document<BackupRequest>>,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    let key = idempotency::key(&headers)?;
    let request = document.map(|Document(request)| request).unwrap_or_default();
    let requested = request::create(&api.ports, &actor, &application, request, key).await?;
    let mut response = accepted(&api, requested.backup.value);
    if requested.repeated {
        idempotency::mark_replayed(&mut response);
    }
    Ok(response)
}

/// Which backups a list shows.
#[expect(dead_code, reason = "the parameters are read one by one; this describes them")]
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FilterParameters {
    /// In one of these states; joined by commas, or repeated.
    #[param(style = Form, explode = false)]
    state: Option<Vec<backup::State>>,
    /// Started by the schedule, or on demand.
    trigger: Option<Trigger>,
    /// Kept in this tier.
    label: Option<Label>,
    /// Asked for at this moment or later (RFC 3339).
    since: Option<DateTime<Utc>>,
    /// Asked for before this moment (RFC 3339).
    until: Option<DateTime<Utc>>,
}

/// List backups
///
/// Newest first. Those of an application that was removed are there as long as they are kept.
#[utoipa::path(
    get, path = "/v1/applications/{app}/backups", operation_id = "listBackups", tag = "backups",
    params(ApplicationPath, FilterParameters, PageParameters),
    responses(
        (status = 200, description = "One page of backups.", body = Listing<BackupWithLinks>),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
    ),
)]
pub async fn list(
    State(api): State<Api>,
    At(ApplicationPath { application }): At<ApplicationPath>,
    mut parameters: Parameters,
) -> Result<Json<Listing<BackupWithLinks>>, Problem> {
    let wanted = Wanted::<BackupId>::take("backups", &mut parameters)?;
    let filter = filter(&mut parameters)?;
    parameters.finish(&["state", "trigger", "label", "since", "until", "limit", "cursor"])?;
    let page = backups::list(&api.ports, &application, &filter, wanted.cursor, wanted.limit).await?;
    let address = format!("{}/backups", applications::path(&application));
    let now = api.ports.clock.now();
    Ok(Json(Listing {
        next: wanted.next(&address, &kept(&filter), page.next.as_ref()),
        items: page
            .items
            .into_iter()
            .map(|record| BackupWithLinks::new(record.value, Vec::new(), now))
            .collect(),
    }))
}

fn filter(parameters: &mut Parameters) -> Result<Filter, Problem> {
    const MOMENT: &str = "give a moment as RFC 3339, such as 2026-11-24T00:00:00Z";
    let states = parameters.list("state", &backup::State::ALL, backup::State::as_str)?;
    let trigger = match parameters.text("trigger")?.as_deref() {
        None => None,
        Some("scheduled") => Some(Trigger::Scheduled),
        Some("on_demand") => Some(Trigger::OnDemand),
        Some(other) => return Err(wrong("trigger", other, "use scheduled or on_demand")),
    };
    let label = match parameters.text("label")? {
        None => None,
        Some(text) => {
            let labels = [Label::Daily, Label::Weekly, Label::Monthly];
            let label = labels.into_iter().find(|label| label.as_str() == text);
            Some(label.ok_or_else(|| wrong("label", &text, "use daily, weekly or monthly"))?)
        }
    };
    let since = parameters.value("since", MOMENT)?;
    let until = parameters.value("until", MOMENT)?;
    Ok(Filter { states, trigger, label, since, until, ..Filter::default() })
}

/// The filter as parameters again, for the next page.
fn kept(filter: &Filter) -> Vec<(&'static str, String)> {
    let mut kept: Vec<_> = filter.states.iter().map(|state| ("state", state.as_str().to_owned())).collect();
    kept.extend(filter.trigger.map(|trigger| {
        let name = match trigger {
            Trigger::Scheduled => "scheduled",
            Trigger::OnDemand => "on_demand",
        };
        ("trigger", name.to_owned())
    }));
    kept.extend(filter.label.map(|label| ("label", label.as_str().to_owned())));
    kept.extend(filter.since.map(|since| ("since", moment(since))));
    kept.extend(filter.until.map(|until| ("until", moment(until))));
    kept
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// Show a backup
///
/// With its progress while it runs: look again after the seconds in `Retry-After`. Once it has succeeded, with the reason
/// why it is kept, and when its label rises next and it goes, given one scheduled success a day from now on.
#[utoipa::path(
    get, path = "/v1/applications/{app}/backups/{id}", operation_id = "getBackup", tag = "backups",
    params(BackupPath),
    responses(
        (status = 200, description = "The backup.", body = BackupWithLinks, headers(("Retry-After" = u64, description = "While it has not ended: seconds after which it is worth looking again."))),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
    ),
)]
pub async fn get(
    State(api): State<Api>,
    At(BackupPath { application, id }): At<BackupPath>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    let view = backups::get(&api.ports, &application, id).await?;
    let record = &view.backup.value;
    let open = record.state.is_open() || record.undelete.is_some() || record.is_being_verified();
    let now = api.ports.clock.now();
    let backup = BackupWithLinks::new(view.backup.value, view.progress, now).explained(&api).await?;
    let mut response = Json(backup).into_response();
    if open {
        crate::look_again(&mut response);
    }
    Ok(response)
}

/// Show the newest good backup
///
/// The newest that succeeded, has not expired, and was not found to be damaged.
#[utoipa::path(
    get, path = "/v1/applications/{app}/backups/latest", operation_id = "getLatestBackup", tag = "backups",
    params(ApplicationPath),
    responses(
        (status = 200, description = "The newest good backup.", body = BackupWithLinks, headers(("Content-Location" = String, description = "Its own path."))),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
    ),
)]
pub async fn latest(
    State(api): State<Api>,
    At(ApplicationPath { application }): At<ApplicationPath>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    let record = backups::latest(&api.ports, &application).await?.value;
    let itself = path(&record.application, record.id);
    let backup = BackupWithLinks::new(record, Vec::new(), api.ports.clock.now()).explained(&api).await?;
    let mut response = Json(backup).into_response();
    if let Ok(itself) = HeaderValue::try_from(itself) {
        response.headers_mut().insert(header::CONTENT_LOCATION, itself);
    }
    Ok(response)
}

/// Cancel a backup
///
/// The running slice stops within seconds and cleans up; the backup then becomes `cancelled`. Repeating it is harmless.
#[utoipa::path(
    post, path = "/v1/applications/{app}/backups/{id}/cancel", operation_id = "cancelBackup", tag = "backups",
    params(BackupPath),
    responses(
        (status = 202, description = "The backup will stop.", body = BackupWithLinks, headers(
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
    At(BackupPath { application, id }): At<BackupPath>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    Ok(accepted(&api, request::cancel(&api.ports, &actor, &application, id).await?.value))
}

/// Delete a backup
///
/// Its objects go, its record stays as `expired`; until `undelete_until` it can be brought back. One that is held has to be
/// released first. Repeating it is harmless.
#[utoipa::path(
    delete, path = "/v1/applications/{app}/backups/{id}", operation_id = "deleteBackup", tag = "backups",
    params(BackupPath),
    responses(
        (status = 200, description = "The backup is deleted.", body = BackupWithLinks),
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
    let record = request::delete(&api.ports, &actor, &application, id).await?.value;
    Ok(Json(BackupWithLinks::new(record, Vec::new(), api.ports.clock.now())))
}

/// Bring a deleted backup back
///
/// Takes the deletion back, within 7 days of it, whoever or whatever policy deleted it. The backup becomes `succeeded`
/// again after every object has been compared with what was stored, and comes back with a hold on it: release that to
/// let the policy decide again. Repeating it is harmless.
#[utoipa::path(
    post, path = "/v1/applications/{app}/backups/{id}/undelete", operation_id = "undeleteBackup", tag = "backups",
    params(BackupPath),
    responses(
        (status = 202, description = "The backup will come back.", body = BackupWithLinks, headers(
            ("Location" = String, description = "Its path."),
            ("Retry-After" = u64, description = "Seconds after which it is worth looking."),
        )),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
    ),
)]
pub async fn undelete(
    State(api): State<Api>,
    Actor(actor): Actor,
    At(BackupPath { application, id }): At<BackupPath>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    Ok(accepted(&api, undelete::ask(&api.ports, &actor, &application, id).await?.value))
}

/// That something is going to happen to a backup.
pub(crate) fn accepted(api: &Api, record: backup::Backup) -> Response {
    let location = path(&record.application, record.id);
    let mut response =
        (StatusCode::ACCEPTED, Json(BackupWithLinks::new(record, Vec::new(), api.ports.clock.now())))
            .into_response();
    crate::look_again(&mut response);
    crate::locate(&mut response, &location);
    response
}
