//! `/v1/openapi.json`: the contract, made from the code that keeps it.

use axum::{
    extract::Extension,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::header;
use utoipa::{
    Modify, OpenApi, ToResponse,
    openapi::{
        self, ContentBuilder, ObjectBuilder, Ref, RefOr, ResponseBuilder, Schema, Type,
        extensions::ExtensionsBuilder,
        path::{Operation, PathItem},
        security::{ApiKey, ApiKeyValue, SecurityScheme},
    },
};

use crate::{
    parameters::Parameters,
    problem::{Details, Problem},
    refusals::{
        BodyTooLarge, Conflict, Expired, InternalError, InvalidRequest, NotFound, PreconditionFailed,
        PreconditionRequired, TooManyRequests, Unavailable, Unprocessable, UnsupportedMediaType,
    },
};

/// What the routes do not say themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Holdfast",
        description = "Backups of applications: databases and media files.\n\nTimes are RFC 3339 in UTC, sizes are bytes. \
            Refusals are `application/problem+json` (RFC 9457) with a stable `type`. Secrets are named by their ARN in \
            Secrets Manager; the API neither takes nor returns one.",
    ),
    servers((url = "/", description = "The stack's own endpoint.")),
    security(("sigv4" = [])),
    tags(
        (name = "applications", description = "What is backed up."),
        (name = "backups", description = "Runs over an application's services, and what they wrote."),
        (name = "restores", description = "Putting what backups hold into an application."),
        (name = "plans", description = "What applications subscribe to: schedule, retention, limits."),
        (name = "contract", description = "This description."),
    ),
    components(
        schemas(Details),
        responses(
            InvalidRequest, NotFound, Conflict, Expired, PreconditionFailed, PreconditionRequired, BodyTooLarge,
            UnsupportedMediaType, Unprocessable, TooManyRequests, InternalError, Unavailable,
        ),
    ),
    modifiers(&Signature),
)]
pub struct Contract;

/// How calls are signed.
struct Signature;

impl Modify for Signature {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let mut key = ApiKeyValue::with_description(
            "Authorization",
            "AWS Signature Version 4 for the service `execute-api` in the stack's region. IAM policies can limit an \
             identity to the paths of one application.",
        );
        // The extension by which API Gateway and code generators know signed APIs.
        key.extensions =
            Some(ExtensionsBuilder::new().add("x-amazon-apigateway-authtype", "awsSigv4").build());
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("sigv4", SecurityScheme::ApiKey(ApiKey::Header(key)));
        let message =
            ObjectBuilder::new().property("message", ObjectBuilder::new().schema_type(Type::String));
        let forbidden = ResponseBuilder::new()
            .description(
                "API Gateway refused the signature, or IAM the call. The answer is API Gateway's own.",
            )
            .content(
                "application/json",
                ContentBuilder::new()
                    .schema(Some(message))
                    .example(Some(serde_json::json!({"message": "Forbidden"})))
                    .build(),
            );
        components.responses.insert("Forbidden".to_owned(), forbidden.build().into());
    }
}

/// Adds the answers that every call can get, and mends what the types cannot say.
pub fn complete(document: &mut openapi::OpenApi) {
    open_tagged(document);
    let everywhere =
        [("403", "Forbidden"), ("500", InternalError::response().0), ("503", Unavailable::response().0)];
    for operation in document.paths.paths.values_mut().flat_map(operations_mut) {
        for (status, name) in everywhere {
            operation.responses.responses.insert(status.to_owned(), Ref::from_response_name(name).into());
        }
    }
}

/// Lets an object that is one of several kinds have the field that says which: a closed object would refuse it, since
/// `additionalProperties` looks at the object's own properties only.
fn open_tagged(document: &mut openapi::OpenApi) {
    let Some(components) = &mut document.components else { return };
    let mut tagged = Vec::new();
    for schema in components.schemas.values() {
        let RefOr::T(Schema::OneOf(kinds)) = schema else { continue };
        for kind in &kinds.items {
            let RefOr::T(Schema::AllOf(parts)) = kind else { continue };
            tagged.extend(parts.items.iter().filter_map(|part| match part {
                RefOr::Ref(reference) => reference.ref_location.rsplit('/').next().map(str::to_owned),
                RefOr::T(_) => None,
            }));
        }
    }
    for name in tagged {
        if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(&name) {
            object.additional_properties = None;
        }
    }
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
}

/// The finished document, as it is served.
#[derive(Clone)]
pub struct Served(pub Bytes);

/// Show the contract
///
/// This document, in `OpenAPI` 3.1.
#[utoipa::path(
    get, path = "/v1/openapi.json", operation_id = "getOpenapi", tag = "contract",
    responses(
        (status = 200, description = "OpenAPI 3.1.", content_type = "application/json", body = Object),
        (status = 400, response = InvalidRequest),
    ),
)]
pub async fn get(
    Extension(Served(document)): Extension<Served>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish(&[])?;
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
}
