//! `/v1/plans`: what applications subscribe to.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use holdfast_backup::{
    error::RequestError,
    plans,
    ports::{PlanRecord, Versioned},
};
use holdfast_domain::{audit::AuditEntry, id::PlanId, plan::PlanSpec};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    Api,
    actor::Actor,
    applications::lost_race,
    document::Document,
    names::{At, PlanPath},
    page::{Listing, PageParameters, Wanted},
    parameters::Parameters,
    precondition::{Precondition, etag},
    problem::Problem,
    refusals::{
        BodyTooLarge, Conflict, InvalidRequest, NotFound, PreconditionFailed, PreconditionRequired,
        Unprocessable, UnsupportedMediaType,
    },
};

/// A plan.
#[derive(Debug, Serialize, ToSchema)]
pub struct Plan {
    /// Its slug.
    pub id: PlanId,
    /// Its version, also in the `ETag`: 1 when it is made, one more with each change; 0 for `default` until somebody
    /// changes it.
    pub version: u64,
    /// What it says: the document that `PUT` takes.
    pub spec: PlanSpec,
    /// When it last changed; `null` for `default` until somebody changes it.
    pub updated_at: Option<DateTime<Utc>>,
    /// Where to go from here.
    pub links: PlanLinks,
}

/// Paths of what belongs to a plan.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanLinks {
    /// The plan.
    #[serde(rename = "self")]
    #[schema(example = "/v1/plans/default")]
    pub itself: String,
}

impl From<Versioned<PlanRecord>> for Plan {
    fn from(record: Versioned<PlanRecord>) -> Self {
        let Versioned { value, version } = record;
        Self {
            links: PlanLinks { itself: format!("/v1/plans/{}", value.id) },
            id: value.id,
            version,
            spec: value.spec,
            updated_at: (version > 0).then_some(value.updated_at),
        }
    }
}

/// List plans
///
/// All of them, in the order of their slugs.
#[utoipa::path(
    get, path = "/v1/plans", operation_id = "listPlans", tag = "plans",
    responses(
        (status = 200, description = "The plans.", body = Listing<Plan>),
        (status = 400, response = InvalidRequest),
    ),
)]
pub async fn list(State(api): State<Api>, parameters: Parameters) -> Result<Json<Listing<Plan>>, Problem> {
    parameters.finish(&[])?;
    let items = plans::list(&api.ports).await?.into_iter().map(Plan::from).collect();
    Ok(Json(Listing { items, next: None }))
}

/// Show a plan
///
/// `default` exists from the start.
#[utoipa::path(
    get, path = "/v1/plans/{plan}", operation_id = "getPlan", tag = "plans",
    params(PlanPath),
    responses(
        (status = 200, description = "The plan.", body = Plan, headers(("ETag" = String, description = "Its version, for `If-Match`."))),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
    ),
)]
pub async fn get(
    State(api): State<Api>,
    At(PlanPath { plan }): At<PlanPath>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    Ok(answer(StatusCode::OK, plans::get(&api.ports, &plan).await?))
}

/// Show a plan's audit trail
///
/// Newest first: who changed it, from what to what.
#[utoipa::path(
    get, path = "/v1/plans/{plan}/events", operation_id = "listPlanEvents", tag = "plans",
    params(PlanPath, PageParameters),
    responses(
        (status = 200, description = "One page of the audit trail.", body = Listing<AuditEntry>),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
    ),
)]
pub async fn events(
    State(api): State<Api>,
    At(PlanPath { plan }): At<PlanPath>,
    mut parameters: Parameters,
) -> Result<Json<Listing<AuditEntry>>, Problem> {
    let wanted = Wanted::<String>::take("plan-events", &mut parameters)?;
    parameters.finish(&["limit", "cursor"])?;
    let page = plans::events(&api.ports, &plan, wanted.cursor.as_deref(), wanted.limit).await?;
    let address = format!("/v1/plans/{plan}/events");
    Ok(Json(Listing { next: wanted.next(&address, &[], page.next.as_ref()), items: page.items }))
}

/// Make or change a plan
///
/// Needs no header to make a new one. To change one, send the `ETag` you have read as `If-Match`, or `If-Match: *` to
/// overwrite whatever is there. Applications on the plan move to its new schedule at once; its new retention applies
/// from the next run of retention on.
#[utoipa::path(
    put, path = "/v1/plans/{plan}", operation_id = "putPlan", tag = "plans",
    params(
        PlanPath,
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the version that is changed, or `*`.", example = "\"v3\""),
        ("If-None-Match" = Option<String>, Header, description = "`*`: make a new one only."),
    ),
    request_body(content = PlanSpec, example = json!({
        "schedule": {"kind": "daily", "window": {"start": "01:00", "minutes": 240}},
        "scheduled": {"kind": "gfs", "daily": 7, "weekly": 4, "monthly": 12},
        "on_demand": {"kind": "age_then_count", "days": 30, "keep": 3},
        "limits": {"on_demand_per_day": 24},
    })),
    responses(
        (status = 200, description = "The plan is changed.", body = Plan, headers(("ETag" = String, description = "Its new version."))),
        (status = 201, description = "The plan is made.", body = Plan, headers(("ETag" = String, description = "Its version."), ("Location" = String, description = "Its path."))),
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
    At(PlanPath { plan }): At<PlanPath>,
    parameters: Parameters,
    precondition: Precondition,
    Document(spec): Document<PlanSpec>,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    let current = match plans::get(&api.ports, &plan).await {
        Ok(record) => Some(record.version),
        Err(RequestError::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    precondition.allow_put(current)?;
    // Version 0 is the built-in default, which no record holds yet.
    let expected = current.filter(|version| *version > 0);
    let registered = plans::put(&api.ports, &actor, &plan, spec, expected)
        .await
        .map_err(|error| lost_race(error, &precondition))?;
    let status = if current.is_none() { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer(status, registered.record))
}

fn answer(status: StatusCode, record: Versioned<PlanRecord>) -> Response {
    let tag = etag(record.version);
    let plan = Plan::from(record);
    let location = plan.links.itself.clone();
    let mut response = (status, [(header::ETAG, tag)], Json(plan)).into_response();
    if status == StatusCode::CREATED {
        crate::locate(&mut response, &location);
    }
    response
}
