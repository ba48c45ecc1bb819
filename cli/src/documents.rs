//! Documents that people write and the API keeps in versions.

use std::io::Read as _;

use http::{Method, StatusCode};
use serde_json::Value;

use crate::{
    arguments::Document,
    client::{Answer, Call, Client},
    failure::Failure,
};

/// Sends a document to `path`. Without a version it makes something new; what is there is changed only in the version
/// named, or in any if overwriting was asked for. `look` is the command that shows what is there.
pub(crate) async fn put(
    client: &Client,
    path: &str,
    document: &Document,
    look: &str,
) -> Result<Answer, Failure> {
    let body = read(document)?;
    let call = || Call::new(Method::PUT, path).body(body.clone());
    let outcome = match document.version {
        Some(version) => client.call(&call().header("if-match", etag(version))).await,
        None => client.call(&call()).await,
    };
    match outcome {
        Err(failure) if failure.status() == Some(StatusCode::PRECONDITION_REQUIRED) => {
            if document.overwrite {
                return client.call(&call().header("if-match", "*")).await;
            }
            Err(failure.fix(format!(
                "look at it with `{look}`, then repeat this with --version, or with --overwrite"
            )))
        }
        Err(failure) if failure.status() == Some(StatusCode::PRECONDITION_FAILED) => Err(failure
            .fix(format!("look at it with `{look}`, apply your change to what you find, and repeat this"))),
        outcome => outcome,
    }
}

/// A version as the API's entity tag.
pub(crate) fn etag(version: u64) -> String {
    format!("\"v{version}\"")
}

fn read(document: &Document) -> Result<Value, Failure> {
    let (name, text) = if document.file.as_os_str() == "-" {
        let mut text = String::new();
        ("standard input".to_owned(), std::io::stdin().read_to_string(&mut text).map(|_| text))
    } else {
        (document.file.display().to_string(), std::fs::read_to_string(&document.file))
    };
    let text = text.map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("{name} is not a JSON document: {error}")).fix("correct it and repeat")
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        client::tests::client,
        scripted_server::{Reply, Server},
    };

    /// An API that has version 3, and asks for the version it is to change.
    fn version_3(if_match: Option<&str>) -> Reply {
        match if_match {
            None => Reply::new(428, r#"{"title":"Say which version"}"#),
            Some("*" | "\"v3\"") => Reply::new(200, "{}"),
            Some(_) => Reply::new(412, r#"{"title":"Another version"}"#),
        }
    }

    #[rstest]
    #[case::unseen(None, false, Err("Say which version"), &[None])]
    #[case::overwritten(None, true, Ok(()), &[None, Some("*")])]
    #[case::seen(Some(3), false, Ok(()), &[Some("\"v3\"")])]
    #[case::changed_since(Some(2), false, Err("Another version"), &[Some("\"v2\"")])]
    #[tokio::test]
    async fn what_is_there_is_changed_only_knowingly(
        #[case] version: Option<u64>,
        #[case] overwrite: bool,
        #[case] expected: Result<(), &str>,
        #[case] sent: &[Option<&str>],
    ) {
        let server = Server::start(|_, asked| version_3(asked.header("if-match"))).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, r#"{"services":[]}"#).unwrap();
        let document = Document { file: file.path().to_owned(), version, overwrite };
        let outcome = put(&client(&server), "/v1/x", &document, "holdfast x get").await;
        match (outcome, expected) {
            (Ok(_), Ok(())) => {}
            (Err(failure), Err(says)) => {
                let said = failure.to_string();
                assert!(said.starts_with(says) && said.contains("holdfast x get"), "{said}");
            }
            (outcome, expected) => panic!("{outcome:?} instead of {expected:?}"),
        }
        let asked = server.asked();
        let tags: Vec<_> = asked.iter().map(|asked| asked.header("if-match")).collect();
        assert_eq!(tags, sent);
        assert!(asked.iter().all(|asked| asked.body == r#"{"services":[]}"#));
    }
}
