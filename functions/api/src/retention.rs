//! `/v1/applications/{app}/retention` and `/v1/retention/preview`: what retention does and why, and what another policy
//! would.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use holdfast_backup::explain::{self, PreviewReport, PreviewRequest, RetentionReport};
use holdfast_domain::retention::calendar::Calendar;
use http::{HeaderMap, HeaderValue, header};

use crate::{
    Api, accept,
    document::Document,
    names::{ApplicationPath, At},
    parameters::Parameters,
    problem::Problem,
    refusals::{BodyTooLarge, InvalidRequest, NotFound, Unprocessable, UnsupportedMediaType},
};

/// Show what retention would do now
///
/// A line for each succeeded backup: whether it is kept, gets another label or goes, with the reason; when its label rises
/// next and when it goes, given one scheduled success a day from now on; and what the backups and the policy cost. It
/// changes nothing. With `Accept: image/svg+xml` it is a calendar of the last year.
#[utoipa::path(
    get, path = "/v1/applications/{app}/retention", operation_id = "getRetention", tag = "applications",
    params(
        ApplicationPath,
        ("Accept" = Option<String>, Header, description = "`image/svg+xml` for a calendar.", example = "image/svg+xml"),
    ),
    responses(
        (status = 200, description = "What retention would do now.", content(
            (RetentionReport = "application/json"),
            (String = "image/svg+xml"),
        )),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
    ),
)]
pub async fn get(
    State(api): State<Api>,
    At(ApplicationPath { application }): At<ApplicationPath>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    if accept::names(&headers, accept::SVG) {
        let calendar = explain::calendar(&api.ports, &application).await?;
        return Ok(picture(&calendar, &format!("Backups of {application}")));
    }
    let report: RetentionReport = explain::report(&api.ports, &application, &api.pricing).await?;
    Ok(varying(Json(report).into_response()))
}

/// Try a policy out
///
/// What the given policies would keep of an application's backups today, beside what the policies of its plan keep, with
/// bytes and money. It changes nothing. With `Accept: image/svg+xml` it is the calendar that the given policies would
/// leave.
#[utoipa::path(
    post, path = "/v1/retention/preview", operation_id = "previewRetention", tag = "plans",
    params(("Accept" = Option<String>, Header, description = "`image/svg+xml` for a calendar.", example = "image/svg+xml")),
    request_body(content = PreviewRequest, example = json!({
        "application": "shop",
        "scheduled": {"kind": "gfs", "daily": 14, "weekly": 8, "monthly": 24},
        "on_demand": {"kind": "age_then_count", "days": 90, "keep": 5},
    })),
    responses(
        (status = 200, description = "Both, side by side.", content(
            (PreviewReport = "application/json"),
            (String = "image/svg+xml"),
        )),
        (status = 400, response = InvalidRequest),
        (status = 404, response = NotFound),
        (status = 413, response = BodyTooLarge),
        (status = 415, response = UnsupportedMediaType),
        (status = 422, response = Unprocessable),
    ),
)]
pub async fn preview(
    State(api): State<Api>,
    parameters: Parameters,
    headers: HeaderMap,
    Document(request): Document<PreviewRequest>,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    if accept::names(&headers, accept::SVG) {
        let calendar = explain::try_out_calendar(&api.ports, &request).await?;
        return Ok(picture(&calendar, &format!("Backups of {} under other policies", request.application)));
    }
    let report: PreviewReport = explain::try_out(&api.ports, &request, &api.pricing).await?;
    Ok(varying(Json(report).into_response()))
}

fn picture(calendar: &Calendar, title: &str) -> Response {
    varying(([(header::CONTENT_TYPE, accept::SVG)], calendar.svg(title)).into_response())
}

/// What a cache must know: the answer depends on `Accept`.
fn varying(mut response: Response) -> Response {
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}
