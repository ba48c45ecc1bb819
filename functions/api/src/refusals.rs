//! The refusals that the API's description names: one reusable response for each status.

use utoipa::{
    ToResponse,
    openapi::{
        ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type,
        header::Header,
    },
};

use crate::problem::{Kind, MEDIA_TYPE, Problem};

macro_rules! refusals {
    ($($name:ident: [$($kind:ident),+], $description:literal, $example:expr;)+) => {
        $(
            #[doc = $description]
            pub struct $name;

            impl<'r> ToResponse<'r> for $name {
                fn response() -> (&'r str, RefOr<Response>) {
                    let kinds = [$(Kind::$kind),+];
                    (stringify!($name), describe($description, &kinds, &Problem::from($example)).into())
                }
            }
        )+

        /// The statuses of the reusable responses, by name.
        #[cfg(test)]
        fn statuses() -> Vec<(&'static str, Vec<Kind>)> {
            vec![$((stringify!($name), vec![$(Kind::$kind),+])),+]
        }
    };
}

refusals! {
    InvalidRequest: [MalformedBody, UnknownField, MissingField, DuplicateField, InvalidValue, InvalidName, InvalidParameter, InvalidHeader],
        "The request is malformed; `field` says where.",
        Problem::new(Kind::InvalidValue, "`services[0].port`: invalid type: string \"5432\", expected a whole number from 0 to 65535.")
            .at("services[0].port").fix("send a value of the kind the API's description asks for");
    NotFound: [NotFound, UnknownPath],
        "There is no such thing, or the caller may not know that there is.",
        Problem::new(Kind::NotFound, "There is no application \"shop\".").fix("check the name; lists show what there is");
    Conflict: [Conflict],
        "It clashes with the state of what is there; `detail` says with what, and what to do.",
        Problem::new(Kind::Conflict, "The backup 018bcfe5-6800-7707-8707-070707070707 has not ended yet; cancel it first.");
    Expired: [Expired],
        "The backup has expired: its data are deleted, can be brought back for 7 days, and its record stays.",
        Problem::new(Kind::Expired, "The backup 018bcfe5-6800-7707-8707-070707070707 expired on 2026-11-24T03:00:00Z.")
            .fix("choose a newer backup of the application");
    PreconditionFailed: [PreconditionFailed],
        "The version is not the one that `If-Match` asks for, or something exists against `If-None-Match`.",
        crate::precondition::Precondition::failed(Some(4));
    PreconditionRequired: [PreconditionRequired],
        "It exists already, and the request does not say by `If-Match` which version it changes.",
        Problem::new(Kind::PreconditionRequired, "It exists already, in version 4, and the request does not say which version it changes.")
            .at("If-Match").fix("send the ETag you have read as If-Match, or `If-Match: *` to overwrite whatever is there");
    BodyTooLarge: [BodyTooLarge],
        "The body is larger than 262144 bytes.",
        Problem::new(Kind::BodyTooLarge, "The body is larger than 262144 bytes.");
    UnsupportedMediaType: [UnsupportedMediaType],
        "The body is not declared as `application/json`.",
        Problem::new(Kind::UnsupportedMediaType, "The body has no Content-Type.")
            .at("Content-Type").fix("send JSON, with `Content-Type: application/json`");
    Unprocessable: [Unprocessable, IdempotencyKeyReused],
        "The request is well-formed and cannot be done as it stands; `field` says where.",
        Problem::new(Kind::Unprocessable, "`services[0].bucket` names a bucket that does not exist: shop-media.")
            .at("services[0].bucket").fix("make the bucket first, or mend the name");
    TooManyRequests: [TooManyRequests],
        "The plan's limit is reached; `Retry-After` says when there is room again.",
        Problem::new(Kind::TooManyRequests, "The plan \"default\" of shop allows 24 on-demand backups within 24 hours.")
            .fix("repeat the request after the seconds in Retry-After");
    InternalError: [Internal],
        "Something went wrong inside Holdfast.",
        Problem::internal("");
    Unavailable: [Unavailable],
        "Something that Holdfast needs is out of reach; `Retry-After` says when to try again.",
        Problem::unavailable("");
}

/// The header `Retry-After`, in seconds.
pub fn retry_after() -> Header {
    HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::Integer)))
        .description(Some("Seconds to wait."))
        .build()
}

fn describe(description: &str, kinds: &[Kind], example: &Problem) -> Response {
    let types: Vec<String> = kinds.iter().map(|kind| format!("`{}`", kind.parts().0)).collect();
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .example(serde_json::to_value(example).ok())
        .build();
    let mut response = ResponseBuilder::new()
        .description(format!("{description} Types: {}.", types.join(", ")))
        .content(MEDIA_TYPE, content);
    if matches!(example.status, 429 | 503) {
        response = response.header("Retry-After", retry_after());
    }
    response.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_response_names_kinds_of_one_status() {
        for (name, kinds) in statuses() {
            let first = kinds.first().unwrap().parts().1;
            assert!(kinds.iter().all(|kind| kind.parts().1 == first), "{name}");
        }
    }

    #[test]
    fn every_kind_of_problem_is_described() {
        let described: Vec<Kind> = statuses().into_iter().flat_map(|(_, kinds)| kinds).collect();
        // A method that a path does not have cannot be described at a path that does not have it.
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::MethodNotAllowed) {
            assert!(described.contains(&kind), "{kind:?}");
        }
    }
}
