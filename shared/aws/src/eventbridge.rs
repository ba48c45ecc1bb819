//! `EventBridge`, and the metrics that count what it is told.

use async_trait::async_trait;
use aws_sdk_eventbridge::{
    Client,
    primitives::DateTime,
    types::{PutEventsRequestEntry, PutEventsResultEntry},
};
use holdfast_backup::ports::{Events, EventsError};
use holdfast_domain::event::{Event, SOURCE};

use crate::{explain::explain, metrics::Metrics};

/// A bus. Whatever it is told is counted.
pub struct EventBus {
    client: Client,
    bus: Option<String>,
    metrics: Metrics,
}

impl EventBus {
    /// An adapter over `client`; without a `bus`, for a function that has nothing to tell, events are only counted.
    pub fn new(client: Client, bus: Option<String>, metrics: Metrics) -> Self {
        Self { client, bus, metrics }
    }
}

#[async_trait]
impl Events for EventBus {
    async fn publish(&self, event: &Event) -> Result<(), EventsError> {
        self.metrics.count(event.metric(), 1, Some(&event.application), event.at);
        let Some(bus) = &self.bus else { return Ok(()) };
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(bus)
            .source(SOURCE)
            .detail_type(event.detail_type())
            .detail(event.detail())
            .time(DateTime::from_millis(event.at.timestamp_millis()))
            .build();
        let answer = self.client.put_events().entries(entry).send().await;
        let answer = answer.map_err(|error| EventsError(explain("PutEvents", &error)))?;
        // An entry that is refused is no error of the call.
        match answer.entries().iter().find(|entry| entry.error_code().is_some()) {
            Some(refused) => Err(refusal(refused)),
            None => Ok(()),
        }
    }
}

fn refusal(entry: &PutEventsResultEntry) -> EventsError {
    let (code, message) = (entry.error_code().unwrap_or_default(), entry.error_message().unwrap_or_default());
    EventsError(format!("PutEvents: {code}: {message}"))
}
