//! The query: each parameter at most once, and none that nobody knows.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;

use crate::problem::{Kind, Problem};

/// The parameters of a query that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Parameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(pairs)) => Ok(Self(pairs)),
            Err(rejection) => {
                Err(Problem::new(Kind::InvalidParameter, format!("The query cannot be read: {rejection}."))
                    .fix("encode it as name=value, joined by &"))
            }
        }
    }
}

impl Parameters {
    /// The value of `name`, if it is there.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        if values.len() > 1 {
            return Err(Problem::new(
                Kind::InvalidParameter,
                format!("`{name}` is there {} times.", values.len()),
            )
            .at(name)
            .fix("give it once"));
        }
        Ok(values.pop())
    }

    /// The value of `name` as a `T`, if it is there; `fix` says what can be given.
    pub fn value<T: FromStr>(&mut self, name: &str, fix: &str) -> Result<Option<T>, Problem> {
        self.text(name)?.map(|text| text.parse().map_err(|_| wrong(name, &text, fix))).transpose()
    }

    /// All values of `name`, which can be repeated, or joined by commas; each is one of `all`, as `text_of` writes it.
    pub fn list<T: Copy>(
        &mut self,
        name: &str,
        all: &[T],
        text_of: impl Fn(T) -> &'static str,
    ) -> Result<Vec<T>, Problem> {
        let values = self.all(name);
        let texts = values.iter().flat_map(|value| value.split(',')).map(str::trim);
        let read = |text: &str| {
            let known = || all.iter().map(|one| text_of(*one)).collect::<Vec<_>>().join(", ");
            let found = all.iter().copied().find(|one| text_of(*one) == text);
            found.ok_or_else(|| wrong(name, text, &format!("use {}", known())))
        };
        texts.map(read).collect()
    }

    /// Refuses what is left, since nobody has asked for it.
    pub fn finish(self, known: &[&str]) -> Result<(), Problem> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => {
                let fix = if known.is_empty() {
                    "this call takes no parameters".to_owned()
                } else {
                    format!("use {}", known.join(", "))
                };
                Err(Problem::new(Kind::InvalidParameter, format!("There is no parameter `{name}`."))
                    .at(name)
                    .fix(fix))
            }
        }
    }

    fn all(&mut self, name: &str) -> Vec<String> {
        self.0.extract_if(.., |(key, _)| key == name).map(|(_, value)| value).collect()
    }
}

/// The refusal of a parameter's value.
pub fn wrong(name: &str, value: &str, fix: &str) -> Problem {
    Problem::new(Kind::InvalidParameter, format!("`{name}` cannot be {value:?}.")).at(name).fix(fix)
}
