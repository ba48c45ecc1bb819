//! What surrounds every call: one line in the log, an answer even when a handler panics, and no answer without a problem.

use std::time::Instant;

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use lambda_http::{Context, request::RequestContext};
use tracing::Instrument;

use crate::{
    actor::Actor,
    problem::{Kind, Problem},
};

/// Answers a call, whatever happens in its handler, and writes one line to the log. Neither signed URLs nor bodies nor
/// queries are in it.
pub async fn watch(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let actor = Actor::of(request.extensions().get::<RequestContext>()).0;
    let span = tracing::info_span!("call", request_id = %id);

    // A task of its own: a panic ends it and not the function, and the caller gets an answer.
    let handled = tokio::spawn(next.run(request).instrument(span.clone())).await;
    let response = handled
        .unwrap_or_else(|error| Problem::internal(format!("the handler ended: {error}")).into_response());
    let mut response = with_problem(response, method.as_str(), &path);

    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let status = response.status();
    let _entered = span.enter();
    match response.extensions_mut().remove::<Problem>() {
        Some(problem) if status.is_server_error() => {
            let cause = problem.cause.clone().unwrap_or_default();
            tracing::error!(%method, path, actor, status = status.as_u16(), milliseconds, cause, "call failed");
            problem.logged_as(id).into_response()
        }
        Some(problem) => {
            let (problem, field) = (problem.kind, problem.field.as_deref().unwrap_or_default());
            tracing::info!(%method, path, actor, status = status.as_u16(), milliseconds, problem, field, "call refused");
            response
        }
        None => {
            tracing::info!(%method, path, actor, status = status.as_u16(), milliseconds, "call answered");
            response
        }
    }
}

/// What the router itself refuses gets a problem too.
fn with_problem(response: Response, method: &str, path: &str) -> Response {
    let is_problem = response.extensions().get::<Problem>().is_some();
    match response.status() {
        StatusCode::METHOD_NOT_ALLOWED if !is_problem => {
            // The router sets `Allow` on the way out, whatever the answer.
            Problem::new(Kind::MethodNotAllowed, format!("{path:?} has no method {method}."))
                .fix("use a method that the header Allow names")
                .into_response()
        }
        status if status.is_server_error() && !is_problem => {
            Problem::internal(format!("a handler answered {status} by itself")).into_response()
        }
        _ => response,
    }
}

/// Lambda's id of the invocation, by which its log lines are found.
fn request_id(request: &Request) -> String {
    let lambda = request.extensions().get::<Context>().map(|context| context.request_id.clone());
    let gateway = || match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    };
    lambda.filter(|id| !id.is_empty()).or_else(gateway).unwrap_or_else(|| "none".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, body::Body, middleware, routing::get};
    use http::header;
    use rstest::rstest;
    use tower::ServiceExt;

    async fn panics() -> StatusCode {
        panic!("the password is hunter2")
    }

    async fn fails() -> (StatusCode, &'static str) {
        (StatusCode::INTERNAL_SERVER_ERROR, "the password is hunter2")
    }

    #[rstest]
    #[case("/panics")]
    #[case("/fails")]
    #[tokio::test]
    async fn whatever_goes_wrong_inside_stays_inside(#[case] path: &str) {
        let router = Router::new().route("/panics", get(panics)).route("/fails", get(fails));
        let router = router.layer(middleware::from_fn(watch));
        let response = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains("urn:holdfast:problem:internal") && body.contains("request_id"), "{body}");
        assert!(!body.contains("hunter2"), "{body}");
    }
}
