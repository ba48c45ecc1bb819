//! The names and ids in paths.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams, rejection::RawPathParamsRejection};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use holdfast_domain::{
    id::{ApplicationId, BackupId, PlanId, RestoreId, ServiceName},
    invalid::Invalid,
};
use http::request::Parts;
use utoipa::IntoParams;

use crate::problem::{Kind, Problem, sentence};

/// The names and ids of a path, as the type `T` has them.
pub struct At<T>(pub T);

/// `/v1/applications/{app}`
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ApplicationPath {
    /// The application's slug.
    #[param(rename = "app", example = "shop")]
    pub application: ApplicationId,
}

/// `/v1/plans/{plan}`
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct PlanPath {
    /// The plan's slug.
    #[param(example = "default")]
    pub plan: PlanId,
}

/// `/v1/applications/{app}/backups/{id}`
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct BackupPath {
    /// The application's slug.
    #[param(rename = "app", example = "shop")]
    pub application: ApplicationId,
    /// The backup's id.
    #[param(example = "018bcfe5-6800-7707-8707-070707070707")]
    pub id: BackupId,
}

/// `/v1/applications/{app}/backups/{id}/artifacts/{service}`
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ArtifactPath {
    /// The application's slug.
    #[param(rename = "app", example = "shop")]
    pub application: ApplicationId,
    /// The backup's id.
    #[param(example = "018bcfe5-6800-7707-8707-070707070707")]
    pub id: BackupId,
    /// The service's name.
    #[param(example = "DEFAULT")]
    pub service: ServiceName,
}

/// `/v1/applications/{app}/backups/{id}/artifacts/{service}/files/{file}`
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct FilePath {
    /// The application's slug.
    #[param(rename = "app", example = "shop")]
    pub application: ApplicationId,
    /// The backup's id.
    #[param(example = "018bcfe5-6800-7707-8707-070707070707")]
    pub id: BackupId,
    /// The service's name.
    #[param(example = "MEDIA")]
    pub service: ServiceName,
    /// The file's key: its UTF-8 in URL-safe base64 without padding (RFC 4648, section 5), since a path cannot carry every
    /// key as it is; `_` for the empty key. `links.self` of the file in the list is the whole path.
    #[param(value_type = String, example = "cGhvdG9zLzIwMjYvYS5qcGc")]
    pub file: String,
}

/// `/v1/applications/{app}/restores/{id}`
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RestorePath {
    /// The application's slug.
    #[param(rename = "app", example = "shop")]
    pub application: ApplicationId,
    /// The restore's id.
    #[param(example = "018bcfe5-6800-7707-8707-070707070707")]
    pub id: RestoreId,
}

/// What stands in a path for the empty key.
pub const EMPTY_KEY: &str = "_";

/// A type that is read from the names of a path.
pub trait FromNames: Sized {
    /// Reads it, or says which name is wrong.
    fn from_names(names: &RawPathParams) -> Result<Self, Problem>;
}

impl FromNames for ApplicationPath {
    fn from_names(names: &RawPathParams) -> Result<Self, Problem> {
        Ok(Self { application: name(names, "app")? })
    }
}

impl FromNames for PlanPath {
    fn from_names(names: &RawPathParams) -> Result<Self, Problem> {
        Ok(Self { plan: name(names, "plan")? })
    }
}

impl FromNames for BackupPath {
    fn from_names(names: &RawPathParams) -> Result<Self, Problem> {
        Ok(Self { application: name(names, "app")?, id: name(names, "id")? })
    }
}

impl FromNames for RestorePath {
    fn from_names(names: &RawPathParams) -> Result<Self, Problem> {
        Ok(Self { application: name(names, "app")?, id: name(names, "id")? })
    }
}

impl FromNames for ArtifactPath {
    fn from_names(names: &RawPathParams) -> Result<Self, Problem> {
        Ok(Self {
            application: name(names, "app")?,
            id: name(names, "id")?,
            service: name(names, "service")?,
        })
    }
}

impl FromNames for FilePath {
    fn from_names(names: &RawPathParams) -> Result<Self, Problem> {
        let ArtifactPath { application, id, service } = ArtifactPath::from_names(names)?;
        let text = names.iter().find(|(name, _)| *name == "file").map_or("", |(_, text)| text);
        // No base64 of anything: the empty key, of an object that is named by the service's whole prefix.
        let decoded =
            if text == EMPTY_KEY { Some(Vec::new()) } else { BASE64_URL_SAFE_NO_PAD.decode(text).ok() };
        let file = decoded.and_then(|key| String::from_utf8(key).ok());
        let file = file.ok_or_else(|| {
            Problem::new(Kind::InvalidName, "`file` is not a key in URL-safe base64.")
                .at("file")
                .fix("take the path from `links.self` of the file in the list of files")
        })?;
        Ok(Self { application, id, service, file })
    }
}

impl<T: FromNames, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match RawPathParams::from_request_parts(parts, state).await {
            Ok(names) => T::from_names(&names).map(Self),
            Err(RawPathParamsRejection::InvalidUtf8InPathParam(wrong)) => {
                Err(Problem::new(Kind::InvalidName, sentence(&wrong.body_text()))
                    .fix("encode the path as UTF-8"))
            }
            Err(other) => Err(Problem::internal(other.to_string())),
        }
    }
}

fn name<T: FromStr<Err = Invalid>>(names: &RawPathParams, key: &str) -> Result<T, Problem> {
    let (_, text) = names
        .iter()
        .find(|(name, _)| *name == key)
        .ok_or_else(|| Problem::internal(format!("the route has no part {key}")))?;
    text.parse().map_err(|invalid: Invalid| {
        Problem::new(Kind::InvalidName, format!("`{key}` {}.", invalid.problem)).at(key).fix(invalid.fix)
    })
}
