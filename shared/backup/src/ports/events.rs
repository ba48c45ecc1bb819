use async_trait::async_trait;
use holdfast_domain::event::Event;

/// Who tells others what has happened.
#[async_trait]
pub trait Events: Send + Sync {
    /// Tells one thing. An answer that was lost may mean that it was told.
    async fn publish(&self, event: &Event) -> Result<(), EventsError>;
}

/// An event could not be sent.
#[derive(Debug, thiserror::Error)]
#[error("the event could not be sent: {0}")]
pub struct EventsError(pub String);
