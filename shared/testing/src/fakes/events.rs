use std::sync::Mutex;

use async_trait::async_trait;
use holdfast_backup::ports::{Events, EventsError};
use holdfast_domain::event::Event;

/// Remembers what was told.
#[derive(Default)]
pub struct FakeEvents {
    told: Mutex<Vec<Event>>,
}

impl FakeEvents {
    /// What was told, in order.
    pub fn told(&self) -> Vec<Event> {
        self.told.lock().unwrap().clone()
    }

    /// What was told, in order, by its `detail-type`.
    pub fn types(&self) -> Vec<&'static str> {
        self.told.lock().unwrap().iter().map(Event::detail_type).collect()
    }
}

#[async_trait]
impl Events for FakeEvents {
    async fn publish(&self, event: &Event) -> Result<(), EventsError> {
        self.told.lock().unwrap().push(event.clone());
        Ok(())
    }
}
