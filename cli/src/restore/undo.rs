//! `holdfast restore undo`.

use http::Method;
use uuid::Uuid;

use super::{create, path_of};
use crate::{
    arguments::Undo,
    client::{Call, Client},
    failure::Failure,
    terminal::Terminal,
};

/// Has what was there before a restore restored, after asking.
pub(super) async fn run(options: Undo, client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    let Undo { app, id, yes, detach } = options;
    if !yes {
        terminal.confirm(&format!("Replace what is in {app} by what was there before the restore {id}?"))?;
    }
    // The key makes it safe to repeat a request whose answer was lost.
    let key = Uuid::new_v4().to_string();
    let call = Call::new(Method::POST, format!("{}/undo", path_of(&app, id))).header("idempotency-key", key);
    let answer = client.call(&call).await?;
    create::accepted(&app, &answer, detach, client, terminal).await
}
