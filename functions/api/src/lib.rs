//! The HTTP API: routes, and the translation between HTTP and the use cases.
//!
//! [`router`] is the whole of it, over any [`Ports`]; the function's main only wires it to AWS.

pub mod accept;
pub mod actor;
pub mod applications;
pub mod artifacts;
pub mod backups;
pub mod document;
pub mod events;
pub mod fault;
pub mod files;
pub mod holds;
pub mod idempotency;
pub mod names;
pub mod openapi;
pub mod page;
pub mod parameters;
pub mod plans;
pub mod precondition;
pub mod problem;
pub mod refusals;
pub mod restores;
pub mod retention;
pub mod verifications;
pub mod watch;

use std::time::Duration;

use axum::{Extension, Router, extract::DefaultBodyLimit, middleware, response::Response};
use holdfast_backup::{applications::Stack, explain::Pricing, ports::Ports};
use http::{HeaderValue, Uri, header};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::problem::{Kind, Problem};

/// What every call needs.
#[derive(Clone)]
pub struct Api {
    /// The outside world.
    pub ports: Ports,
    /// What registrations are checked against.
    pub stack: Stack,
    /// How long a signed URL is valid.
    pub download_valid: Duration,
    /// What costs are told by.
    pub pricing: Pricing,
}

/// The whole API. Every route comes from the description of its handler, so that none can be missing from the contract.
pub fn router(api: Api) -> Router {
    let (routes, contract) = described();
    let served = openapi::Served(serde_json::to_vec(&contract).unwrap_or_default().into());
    routes
        .fallback(unknown_path)
        .with_state(api)
        .layer(Extension(served))
        .layer(DefaultBodyLimit::max(document::BODY_MAX))
        .layer(middleware::from_fn(watch::watch))
}

/// Answers the invocations of Lambda for as long as there are any.
pub async fn serve(api: Api) -> Result<(), lambda_http::Error> {
    lambda_http::run(router(api)).await
}

/// The contract, in `OpenAPI` 3.1.
pub fn contract() -> utoipa::openapi::OpenApi {
    described().1
}

fn described() -> (Router<Api>, utoipa::openapi::OpenApi) {
    let (routes, mut contract) = OpenApiRouter::with_openapi(openapi::Contract::openapi())
        .routes(routes!(applications::list))
        .routes(routes!(applications::get, applications::put, applications::delete))
        .routes(routes!(backups::list, backups::create))
        .routes(routes!(backups::latest))
        .routes(routes!(backups::get, backups::delete))
        .routes(routes!(backups::cancel))
        .routes(routes!(backups::undelete))
        .routes(routes!(verifications::post))
        .routes(routes!(holds::put, holds::delete))
        .routes(routes!(artifacts::get))
        .routes(routes!(files::list))
        .routes(routes!(files::get))
        .routes(routes!(restores::list, restores::create))
        .routes(routes!(restores::get))
        .routes(routes!(restores::cancel))
        .routes(routes!(restores::undo))
        .routes(routes!(events::list))
        .routes(routes!(retention::get))
        .routes(routes!(retention::preview))
        .routes(routes!(plans::list))
        .routes(routes!(plans::get, plans::put))
        .routes(routes!(plans::events))
        .routes(routes!(openapi::get))
        .split_for_parts();
    openapi::complete(&mut contract);
    (routes, contract)
}

async fn unknown_path(uri: Uri) -> Problem {
    Problem::new(Kind::UnknownPath, format!("The API has no path {:?}.", uri.path()))
        .fix("GET /v1/openapi.json lists every path")
}

/// Seconds after which it is worth looking again at what has not ended.
const LOOK_AGAIN_SECONDS: u64 = 2;

/// Says when it is worth looking again.
fn look_again(response: &mut Response) {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(LOOK_AGAIN_SECONDS));
}

/// Sets `Location` to the path of what was made or will change.
fn locate(response: &mut Response, path: &str) {
    // Paths are made of slugs, ids and names, all of them visible ASCII.
    if let Ok(location) = HeaderValue::try_from(path) {
        response.headers_mut().insert(header::LOCATION, location);
    }
}
