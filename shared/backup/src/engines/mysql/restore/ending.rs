//! What follows an exchange, whether it has happened or not, on a server that may have just lost a session.

use std::{slice::from_ref, time::Duration};

use tokio::time::sleep;

use super::place::{Place, drop_beside};
use crate::error::SliceError;

/// How often it is tried, where the server does not answer, and how long is waited between.
const TRIES: u32 = 10;
const WAIT: Duration = Duration::from_secs(1);

/// Drops what was made beside the target, after putting the target back where that is due.
pub(super) async fn put_away(place: &Place<'_>) -> Result<(), SliceError> {
    let new = [place.paused.clone(), place.new.clone()];
    patiently(|| drop_beside(place.access, place.target, &new, from_ref(&place.away))).await
}

/// Does `work` until it succeeds, or has failed often enough.
pub(super) async fn patiently<T, F>(work: impl Fn() -> F) -> Result<T, SliceError>
where
    F: Future<Output = Result<T, SliceError>>,
{
    let mut tries = 1;
    loop {
        match work().await {
            Err(error) if tries < TRIES => {
                tracing::warn!(%error, tries, "what a restore has made cannot be seen to yet");
            }
            outcome => return outcome,
        }
        tries += 1;
        sleep(WAIT).await;
    }
}
