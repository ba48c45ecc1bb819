//! `holdfast retention show`: what the next run does and why, what comes after it, and what it costs.

use std::path::Path;

use chrono::NaiveDate;
use holdfast_domain::{
    cost::{BackupsCost, PolicyCost},
    id::ApplicationId,
    retention::calendar::{Calendar, CalendarDay},
};
use serde::Deserialize;

use super::draw;
use crate::{
    client::{Call, Client},
    failure::Failure,
    outlook::Next,
    table::{Table, plain, size},
    terminal::Terminal,
};

/// What retention would do now, as the API reports it.
#[derive(Deserialize)]
struct Report {
    policies: Policies,
    forecast_until: NaiveDate,
    backups: Vec<Line>,
    #[serde(default)]
    calendar: Vec<CalendarDay>,
    cost: Cost,
}

/// Both policies, in their short form.
#[derive(Deserialize)]
pub(super) struct Policies {
    scheduled: String,
    on_demand: String,
}

#[derive(Deserialize)]
struct Line {
    id: String,
    slot_date: Option<NaiveDate>,
    label: Option<String>,
    bytes: u64,
    action: String,
    to: Option<String>,
    reason: String,
    #[serde(flatten)]
    next: Next,
}

#[derive(Deserialize)]
struct Cost {
    stored: Option<BackupsCost>,
    policy: Option<PolicyCost>,
    notes: Vec<String>,
}

/// Shows it, or draws it into a file.
pub(super) async fn run(
    app: &ApplicationId,
    svg: Option<&Path>,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let call = Call::get(format!("/v1/applications/{app}/retention"));
    if let Some(path) = svg {
        return draw(call, path, client, terminal).await;
    }
    let answer = client.call(&call).await?;
    if terminal.is_json() {
        return terminal.json(&answer.json()?);
    }
    terminal.print(&text(answer.read()?, terminal.has_colour()))
}

fn text(report: Report, colour: bool) -> String {
    let head = format!("{}\n\n", report.policies.text());
    let mut table =
        Table::new(["BACKUP", "SLOT", "LABEL", "SIZE", "NEXT RUN", "NEXT LABEL", "GOES", "WHY"]).right([3]);
    for line in report.backups {
        let dash = || "-".to_owned();
        table.row([
            line.id,
            line.slot_date.map_or_else(|| "on demand".to_owned(), |date| date.to_string()),
            line.label.unwrap_or_else(dash),
            size(line.bytes),
            action(&line.action, line.to.as_deref()),
            line.next.relabel().unwrap_or_else(dash),
            line.next.discard(),
            line.reason,
        ]);
    }
    if table.is_empty() {
        return format!("{head}no backup has succeeded yet\n");
    }
    let calendar: Calendar = report.calendar.into_iter().collect();
    let mut text = format!(
        "{head}{}\n{table}\nGiven one scheduled success a day from now on; the forecast looks as far as {}.\n",
        calendar.with_colour(colour),
        report.forecast_until
    );
    if let Some(stored) = report.cost.stored {
        text = format!("{text}\nstored: {stored}\n");
    }
    match report.cost.policy {
        Some(policy) => format!("{text}\n{policy}"),
        None => report.cost.notes.iter().fold(text, |text, note| format!("{text}{}\n", plain(note))),
    }
}

impl Policies {
    pub(super) fn text(&self) -> String {
        format!("scheduled {}, on demand {}", plain(&self.scheduled), plain(&self.on_demand))
    }
}

/// What happens to a backup: `keep`, `relabel to weekly`.
pub(super) fn action(action: &str, to: Option<&str>) -> String {
    to.map_or_else(|| action.to_owned(), |to| format!("{action} to {to}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report_says_why_and_when_and_what_it_costs() {
        let report: Report = serde_json::from_value(json!({
            "policies": {"scheduled": "gfs:7/4/12", "on_demand": "age_then_count:30/3"},
            "forecast_until": "2027-05-01",
            "backups": [
                {"id": "a", "slot_date": "2026-04-01", "label": "daily", "bytes": 1024, "action": "keep", "to": null,
                 "reason": "kept as daily of 2026-04-01: within the 7 dailies the policy keeps",
                 "next_relabel": {"on": "2026-04-08", "to": "weekly", "reason": "x"},
                 "discard": {"kind": "on", "on": "2027-04-30", "reason": "x"}},
                {"id": "b", "slot_date": null, "label": null, "bytes": 5_452_595, "action": "keep", "to": null,
                 "reason": "kept because a hold is on it", "next_relabel": null, "discard": {"kind": "never", "reason": "x"}},
                {"id": "c", "slot_date": "2026-03-24", "label": "daily", "bytes": 7, "action": "relabel", "to": "weekly",
                 "reason": "kept as weekly of 2026-W13: oldest daily when the eighth arrived", "next_relabel": null,
                 "discard": {"kind": "after", "after": "2027-05-01"}}
            ],
            "calendar": [
                {"date": "2026-03-24", "mark": "kept", "label": "daily"},
                {"date": "2026-03-25", "mark": "discarded", "label": null},
                {"date": "2026-03-30", "mark": "held", "label": null},
                {"date": "2026-04-01", "mark": "kept", "label": "daily"}
            ],
            "cost": {"stored": null, "policy": null, "notes": ["no price known for region moon-1"]}
        }))
        .unwrap();
        insta::assert_snapshot!(text(report, false));
    }

    #[test]
    fn without_a_success_there_is_nothing_to_show() {
        let report: Report = serde_json::from_value(json!({
            "policies": {"scheduled": "gfs:7/4/12", "on_demand": "age_then_count:30/3"},
            "forecast_until": "2026-04-01", "backups": [], "cost": {"stored": null, "policy": null, "notes": []}
        }))
        .unwrap();
        assert!(text(report, false).ends_with("no backup has succeeded yet\n"));
    }
}
