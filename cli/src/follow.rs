//! Watching what runs until it ends: a backup, a restore, a verification.

mod bars;

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use self::bars::Bars;
use crate::{
    client::{Answer, Call, Client},
    failure::Failure,
    listing,
};

/// How often the API is asked if it does not say.
const PAUSE: Duration = Duration::from_secs(2);

/// The second look comes sooner: what is small takes a second or two.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Asks for `call` again and again, from `answer` on, for as long as `goes_on` says so of what came, which is when to show it.
/// Before the first time it waits for `first_pause`, if there is one, and otherwise for as long as the API says. Gives the last
/// document, and what was read of it.
pub(crate) async fn until_the_end<V: DeserializeOwned>(
    mut answer: Answer,
    call: &Call,
    client: &Client,
    mut first_pause: Option<Duration>,
    mut goes_on: impl FnMut(&V) -> bool,
) -> Result<(Value, V), Failure> {
    loop {
        let document = answer.json()?;
        let view: V = listing::read_one(document.clone())?;
        if !goes_on(&view) {
            return Ok((document, view));
        }
        let pause = first_pause.take().or_else(|| answer.retry_after());
        tokio::time::sleep(pause.unwrap_or(PAUSE)).await;
        answer = client.call(call).await?;
    }
}

/// What comes of `work`, unless Ctrl-C comes first: then what `said` says.
pub(crate) async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T, Failure>>,
    said: impl FnOnce() -> Failure,
) -> Result<T, Failure> {
    tokio::select! {
        outcome = work => outcome,
        _ = tokio::signal::ctrl_c() => Err(said()),
    }
}
