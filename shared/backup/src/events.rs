//! Telling others what has happened: after the record says so, and never in its way.
//!
//! Whoever ends a job tells so once it is written down. Should the process die in between, the state machine calls again, finds the
//! job ended, and it is told then: at least once, as long as the bus takes it. What the bus does not take within
//! [`PATIENCE`] is logged, and not told again; the record has it.

use std::time::Duration;

use holdfast_domain::event::Event;

use crate::ports::Ports;

/// How long a job waits for an event to be taken: it has ended, and has other things to end with.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells it, if there is something to tell.
pub(crate) async fn tell(ports: &Ports, event: Option<Event>) {
    let Some(event) = event else { return };
    let sent = tokio::time::timeout(PATIENCE, ports.events.publish(&event)).await;
    let error = match sent {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    tracing::warn!(application = %event.application, event = event.detail_type(), %error, "others were not told");
}
