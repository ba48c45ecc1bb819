//! Who is calling, as API Gateway has authenticated it.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use lambda_http::request::RequestContext;

/// Who is calling: the ARN of the identity that signed the request, or the address it came from where nobody signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(pub String);

impl Actor {
    /// The actor of a request with that context.
    pub fn of(context: Option<&RequestContext>) -> Self {
        let Some(RequestContext::ApiGatewayV2(context)) = context else {
            return Self("unknown".to_owned());
        };
        let arn =
            context.authorizer.as_ref().and_then(|authorizer| authorizer.iam.as_ref()?.user_arn.clone());
        let address = || context.http.source_ip.as_ref().map(|ip| format!("unknown, from {ip}"));
        Self(arn.or_else(address).unwrap_or_else(|| "unknown".to_owned()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts.extensions.get::<RequestContext>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::RequestExt;
    use serde_json::{Value, json};

    /// A request as API Gateway's HTTP API hands it over, payload format 2.0.
    fn actor(authorizer: &Value) -> Actor {
        let event = json!({
            "version": "2.0", "routeKey": "GET /v1/plans", "rawPath": "/v1/plans", "rawQueryString": "",
            "headers": {"host": "api.example"}, "isBase64Encoded": false,
            "requestContext": {
                "accountId": "123456789012", "apiId": "a", "domainName": "api.example", "domainPrefix": "a",
                "requestId": "r", "routeKey": "GET /v1/plans", "stage": "$default", "time": "t", "timeEpoch": 0,
                "http": {"method": "GET", "path": "/v1/plans", "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "t"},
                "authorizer": authorizer,
            },
        });
        let request = lambda_http::request::from_str(&event.to_string()).unwrap();
        Actor::of(request.request_context_ref())
    }

    #[test]
    fn the_identity_that_signed_is_the_actor() {
        let arn = "arn:aws:sts::123456789012:assumed-role/operators/jane";
        assert_eq!(actor(&json!({"iam": {"userArn": arn, "accountId": "123456789012"}})).0, arn);
    }

    #[test]
    fn without_a_signature_the_address_is_all_that_is_known() {
        assert_eq!(actor(&Value::Null).0, "unknown, from 203.0.113.7");
        assert_eq!(Actor::of(None).0, "unknown");
    }
}
