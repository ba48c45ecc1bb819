//! `holdfast retention`: what is kept, and why.

mod picture;
mod simulation;
pub(crate) mod size;

use chrono::NaiveDate;
use serde::Deserialize;

use crate::{
    arguments::{Connection, Retention},
    client::{Call, Client},
    failure::Failure,
    table::{Table, plain},
    terminal::Terminal,
};

/// What retention would do now, as the API reports it.
#[derive(Deserialize)]
struct Report {
    policies: Policies,
    backups: Vec<Line>,
}

#[derive(Deserialize)]
struct Policies {
    scheduled: String,
    on_demand: String,
}

#[derive(Deserialize)]
struct Line {
    id: String,
    trigger: String,
    slot_date: Option<NaiveDate>,
    label: Option<String>,
    action: String,
    to: Option<String>,
    reason: String,
}

/// Runs one of the commands; the API is connected to only where it is needed.
pub(crate) async fn run(
    command: Retention,
    connection: &Connection,
    terminal: &Terminal,
) -> Result<(), Failure> {
    match command {
        Retention::Show { app } => {
            let client = Client::connect(connection).await?;
            let answer = client.call(&Call::get(format!("/v1/applications/{app}/retention"))).await?;
            if terminal.is_json() {
                return terminal.json(&answer.json()?);
            }
            show(answer.read()?, terminal)
        }
        Retention::Simulate(options) => simulation::run(&options, connection.region.as_deref(), terminal),
    }
}

fn show(report: Report, terminal: &Terminal) -> Result<(), Failure> {
    let head = format!(
        "scheduled {}, on demand {}\n\n",
        plain(&report.policies.scheduled),
        plain(&report.policies.on_demand)
    );
    let mut table = Table::new(["BACKUP", "TRIGGER", "SLOT", "LABEL", "NEXT RUN", "WHY"]);
    for line in report.backups {
        let dash = || "-".to_owned();
        let action = line.to.map_or_else(|| line.action.clone(), |to| format!("{} to {to}", line.action));
        let slot = line.slot_date.map_or_else(dash, |date| date.to_string());
        table.row([line.id, line.trigger, slot, line.label.unwrap_or_else(dash), action, line.reason]);
    }
    if table.is_empty() {
        return terminal.line(&format!("{head}no backup has succeeded yet"));
    }
    terminal.print(&format!("{head}{table}"))
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use holdfast_domain::retention::simulate;

    #[test]
    fn the_json_of_a_simulation_keeps_its_form() {
        let from = NaiveDate::from_ymd_opt(2025, 12, 24).unwrap();
        let skipped = ["2025-12-27..2025-12-28".parse().unwrap()];
        let simulation = simulate::simulate("gfs:2/1/1".parse().unwrap(), from, 9, &skipped).unwrap();
        insta::assert_json_snapshot!(simulation);
    }
}
