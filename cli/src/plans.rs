//! `holdfast plans`: when backups are made, and what is kept.

use holdfast_domain::{id::PlanId, plan::PlanSpec};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    arguments::Plans,
    client::{Call, Client},
    documents, events,
    failure::Failure,
    listing,
    table::{Table, plain},
    terminal::Terminal,
};

const PATH: &str = "/v1/plans";

/// What the tables show of a plan.
#[derive(Deserialize)]
struct Plan {
    id: String,
    version: u64,
    spec: PlanSpec,
}

impl Plan {
    fn schedule(&self) -> String {
        self.spec.schedule.as_ref().map_or_else(|| "on demand only".to_owned(), ToString::to_string)
    }
}

/// Runs one of the commands.
pub(crate) async fn run(command: Plans, client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    match command {
        Plans::List => list(client, terminal).await,
        Plans::Get { plan } => {
            show(client.call(&Call::get(format!("{PATH}/{plan}"))).await?.json()?, terminal)
        }
        Plans::Put { plan, document } => {
            let look = format!("holdfast plans get {plan}");
            let answer = documents::put(client, &format!("{PATH}/{plan}"), &document, &look).await?;
            show(answer.json()?, terminal)
        }
        Plans::Events { plan, limit } => events::run(events_path(&plan), limit, client, terminal).await,
    }
}

/// The trail of a plan.
fn events_path(plan: &PlanId) -> String {
    format!("{PATH}/{plan}/events")
}

async fn list(client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    let items = listing::items(client, Call::get(PATH), usize::MAX).await?;
    if terminal.is_json() {
        return terminal.json(&listing::document(&items));
    }
    let mut table = Table::new(["PLAN", "SCHEDULE", "SCHEDULED", "ON DEMAND"]);
    for plan in listing::read::<Plan>(items)? {
        let (scheduled, on_demand) = (plan.spec.scheduled.to_string(), plan.spec.on_demand.to_string());
        table.row([plan.id.clone(), plan.schedule(), scheduled, on_demand]);
    }
    terminal.print(&table.to_string())
}

fn show(answer: Value, terminal: &Terminal) -> Result<(), Failure> {
    if terminal.is_json() {
        return terminal.json(&answer);
    }
    let plan: Plan = listing::read_one(answer)?;
    terminal.print(&format!(
        "plan         {}\nversion      {}\nschedule     {}\nscheduled    {}\non demand    {}\nlimit        {} on demand a day\n",
        plain(&plan.id),
        plan.version,
        plain(&plan.schedule()),
        plan.spec.scheduled,
        plan.spec.on_demand,
        plan.spec.limits.on_demand_per_day,
    ))
}
