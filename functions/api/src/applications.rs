//! `/v1/applications`: what is backed up.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use holdfast_backup::{
    applications::{self, Fate},
    error::RequestError,
    ports::{ApplicationRecord, Versioned},
};
use holdfast_domain::{application::ApplicationSpec, id::ApplicationId};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    Api,
    actor::Actor,
    document::Document,
    names::{ApplicationPath, At},
    page::{Listing, PageParameters, Wanted},
    parameters::{Parameters, wrong},
    precondition::{Precondition, etag},
    problem::{Kind, Problem},
    refusals::{
        BodyTooLarge, Conflict, InvalidRequest, NotFound, PreconditionFailed, PreconditionRequired,
        Unprocessable, UnsupportedMediaType,
    },
};

/// An application as it is registered.
#[derive(Debug, Serialize, ToSchema)]
pub struct Application {
    /// Its slug.
    pub id: ApplicationId,
    /// Its version, also in the `ETag`: 1 when it is registered, one more with each change.
    pub version: u64,
    /// What was registered: the document that `PUT` takes.
    pub spec: ApplicationSpec,
    /// When it was first registered.
    pub created_at: DateTime<Utc>,
    /// When its registration last changed.
    pub updated_at: DateTime<Utc>,
    /// When its next scheduled backup is due; `null` where its plan has no schedule.
    pub next_run_at: Option<DateTime<Utc>>,
    /// Since when no scheduled backup has succeeded for too long, as the end of its last backup or the last night has found it;
    /// `null` while all is well.
    pub overdue_since: Option<DateTime<Utc>>,
    /// Where to go from here.
    pub links: ApplicationLinks,
}

/// Paths of what belongs to an application.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApplicationLinks {
    /// The application.
    #[serde(rename = "self")]
    #[schema(example = "/v1/applications/shop")]
    pub itself: String,
    /// Its plan.
    #[schema(example = "/v1/plans/default")]
    pub plan: String,
    /// Its backups.
    #[schema(example = "/v1/applications/shop/backups")]
    pub backups: String,
    /// Its restores.
    #[schema(example = "/v1/applications/shop/restores")]
    pub restores: String,
    /// Its audit trail.
    #[schema(example = "/v1/applications/shop/events")]
    pub events: String,
    /// What retention would do now.
    #[schema(example = "/v1/applications/shop/retention")]
    pub retention: String,
}

impl From<Versioned<ApplicationRecord>> for Application {
    fn from(record: Versioned<ApplicationRecord>) -> Self {
        let Versioned { value, version } = record;
        let itself = path(&value.id);
        Self {
            links: ApplicationLinks {
                plan: format!("/v1/plans/{}", value.spec.plan),
                backups: format!("{itself}/backups"),
                restores: format!("{itself}/restores"),
                events: format!("{itself}/events"),
                retention: format!("{itself}/retention"),
                itself,
            },
            id: value.id,
            version,
            spec: value.spec,
            created_at: value.created_at,
            updated_at: value.updated_at,
            next_run_at: value.next_run_at,
            overdue_since: value.overdue_since,
        }
    }
}

/// The path of an application.
pub fn path(id: &ApplicationId) -> String {
    format!("/v1/applications/{id}")
}

/// List applications
///
/// In the order of their slugs.
#[utoipa::path(
    get, path = "/v1/applications", operation_id = "listApplications", tag = "applications",
    params(PageParameters),
    responses(
        (status = 200, description = "One page of applications.", body = Listing<Application>),
        (status = 400, response = InvalidRequest),
    ),
)]
pub async fn list(
    State(api): State<Api>,
    mut parameters: Parameters,
) -> Result<Json<Listing<Application>>, Problem> {
    let wanted = Wanted::<ApplicationId>::take("applications", &mut parameters)?;
    parameters.finish(&["limit", "cursor"])?;
    let page = applications::list(&api.ports, wanted.cursor.as_ref(), wanted.limit).await?;
    Ok(Json(Listing {
        next: wanted.next("/v1/applications", &[], page.next.as_ref()),
        items: page.items.into_iter().map(Application::from).collect(),
    }))
}

/// Show an application
#[utoipa::path(
    get, path = "/v1/applications/{app}", operation_id = "getApplication", tag = "applications",
    params(ApplicationPath),
    responses(
        (status = 200, description = "The application.", body = Application, headers(("ETag" = String, description = "Its version, for `If-Match`."))),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
    ),
)]
pub async fn get(
    State(api): State<Api>,
    At(ApplicationPath { application }): At<ApplicationPath>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    let record = applications::get(&api.ports, &application).await?;
    Ok(answer(StatusCode::OK, record))
}

/// Register an application, or change its registration
///
/// Needs no header to register a new one. To change one, send the `ETag` you have read as `If-Match`, or `If-Match: *`
/// to overwrite whatever is there. `If-None-Match: *` only ever registers a new one. Buckets and secrets are looked for
/// at once, and those of another region are refused; secrets are named by their ARN and never sent.
#[utoipa::path(
    put, path = "/v1/applications/{app}", operation_id = "putApplication", tag = "applications",
    params(
        ApplicationPath,
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the version that is changed, or `*`.", example = "\"v3\""),
        ("If-None-Match" = Option<String>, Header, description = "`*`: register a new one only."),
    ),
    request_body(content = ApplicationSpec, example = json!({
        "plan": "default",
        "time_zone": "Europe/Zurich",
        "services": [
            {"kind": "postgres", "name": "DEFAULT", "host": "db.internal", "port": 5432, "database": "shop",
             "secret_arn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop-db-AbCdEf", "tls": {"mode": "verify_full"}},
            {"kind": "storage", "name": "MEDIA", "bucket": "shop-media", "prefix": "media/"},
        ],
    })),
    responses(
        (status = 200, description = "The registration is changed.", body = Application, headers(("ETag" = String, description = "Its new version."))),
        (status = 201, description = "The application is registered.", body = Application, headers(("ETag" = String, description = "Its version."), ("Location" = String, description = "Its path."))),
        (status = 400, response = InvalidRequest),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
        (status = 413, response = BodyTooLarge),
        (status = 415, response = UnsupportedMediaType),
        (status = 422, response = Unprocessable),
        (status = 428, response = PreconditionRequired),
    ),
)]
pub async fn put(
    State(api): State<Api>,
    Actor(actor): Actor,
    At(ApplicationPath { application }): At<ApplicationPath>,
    parameters: Parameters,
    precondition: Precondition,
    Document(spec): Document<ApplicationSpec>,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    let current = version(&api, &application).await?;
    precondition.allow_put(current)?;
    let registered = applications::register(&api.ports, &api.stack, &actor, &application, spec, current)
        .await
        .map_err(|error| lost_race(error, &precondition))?;
    let status = if registered.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer(status, registered.record))
}

/// What becomes of the backups.
#[expect(dead_code, reason = "the parameter is read by itself; this describes it")]
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RemovalParameters {
    /// What becomes of its backups. `keep`: they stay and can be downloaded until somebody deletes them or their own expiry
    /// comes, and no policy applies to them any more; registered again under the same name, the application has them again,
    /// and its plan applies to them. `delete`: they are deleted, and can be brought back for 7 days.
    #[param(inline)]
    backups: BackupsFate,
}

/// What becomes of the backups of an application that is removed.
#[expect(dead_code, reason = "the parameter is read by itself; this describes it")]
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
enum BackupsFate {
    Keep,
    Delete,
}

/// Remove an application
///
/// It is not backed up any more. Running backups and restores must have ended or been cancelled before. For a final backup, ask for
/// one and wait for it to succeed, then remove the application with `backups=keep`. `If-Match` is honoured.
#[utoipa::path(
    delete, path = "/v1/applications/{app}", operation_id = "deleteApplication", tag = "applications",
    params(
        ApplicationPath,
        RemovalParameters,
        ("If-Match" = Option<String>, Header, description = "Remove it only in this version.", example = "\"v3\""),
    ),
    responses(
        (status = 204, description = "The application is removed."),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed),
    ),
)]
pub async fn delete(
    State(api): State<Api>,
    Actor(actor): Actor,
    At(ApplicationPath { application }): At<ApplicationPath>,
    mut parameters: Parameters,
    precondition: Precondition,
) -> Result<StatusCode, Problem> {
    const CHOICE: &str = "say backups=keep to keep its backups, or backups=delete to delete them";
    let fate = match parameters.text("backups")?.as_deref() {
        Some("keep") => Fate::Keep,
        Some("delete") => Fate::Delete,
        Some(other) => return Err(wrong("backups", other, CHOICE)),
        None => {
            let detail = "The request does not say what becomes of the application's backups.";
            return Err(Problem::new(Kind::InvalidParameter, detail).at("backups").fix(CHOICE));
        }
    };
    parameters.finish(&["backups"])?;
    let current = applications::get(&api.ports, &application).await?.version;
    precondition.allow_delete(Some(current))?;
    let expected = precondition.names_versions().then_some(current);
    applications::remove(&api.ports, &actor, &application, expected, fate).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn version(api: &Api, id: &ApplicationId) -> Result<Option<u64>, Problem> {
    match applications::get(&api.ports, id).await {
        Ok(record) => Ok(Some(record.version)),
        Err(RequestError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Who named a version and was overtaken between the check and the write has sent a precondition that failed.
pub fn lost_race(error: RequestError, precondition: &Precondition) -> Problem {
    let overtaken = matches!(error, RequestError::Conflict(_)) && precondition.names_versions();
    let problem = Problem::from(error);
    if overtaken {
        return Problem::new(Kind::PreconditionFailed, problem.detail.clone())
            .at("If-Match")
            .fix("read it again, apply your change to what you find, and send its new ETag as If-Match");
    }
    problem
}

fn answer(status: StatusCode, record: Versioned<ApplicationRecord>) -> Response {
    let tag = etag(record.version);
    let application = Application::from(record);
    let location = application.links.itself.clone();
    let mut response = (status, [(header::ETAG, tag)], Json(application)).into_response();
    if status == StatusCode::CREATED {
        crate::locate(&mut response, &location);
    }
    response
}
