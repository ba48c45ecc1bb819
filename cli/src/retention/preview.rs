//! `holdfast retention preview`: what other policies would keep of today's backups, beside what the plan's keep.

use holdfast_domain::{
    cost::PolicyCost,
    retention::{
        calendar::{Calendar, CalendarDay},
        preview::{Preview as Both, VerdictAction},
    },
};
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    draw,
    report::{Policies, action},
};
use crate::{
    arguments::Preview,
    client::{Call, Client},
    failure::Failure,
    table::{Table, size},
    terminal::Terminal,
};

/// Both policies and what they keep, as the API reports it.
#[derive(Deserialize)]
struct Report {
    policies_now: Policies,
    policies_then: Policies,
    #[serde(flatten)]
    both: Both,
    #[serde(default)]
    calendar_then: Vec<CalendarDay>,
    cost_now: Cost,
    cost_then: Cost,
}

#[derive(Deserialize)]
struct Cost {
    policy: Option<PolicyCost>,
    notes: Vec<String>,
}

/// Shows both side by side, or draws what the others would leave into a file.
pub(super) async fn run(options: &Preview, client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    let call = request(options)?;
    if let Some(path) = &options.svg {
        return draw(call, path, client, terminal).await;
    }
    let answer = client.call(&call).await?;
    if terminal.is_json() {
        return terminal.json(&answer.json()?);
    }
    terminal.print(&text(&answer.read()?, terminal.has_colour()))
}

fn request(options: &Preview) -> Result<Call, Failure> {
    let written = |policy: Result<Value, serde_json::Error>| {
        policy.map_err(|error| Failure::usage(format!("the policy cannot be sent: {error}")))
    };
    let mut document = Map::new();
    document.insert("application".to_owned(), options.app.as_str().into());
    if let Some(policy) = options.policy {
        document.insert("scheduled".to_owned(), written(serde_json::to_value(policy))?);
    }
    if let Some(policy) = options.on_demand {
        document.insert("on_demand".to_owned(), written(serde_json::to_value(policy))?);
    }
    Ok(Call::new(Method::POST, "/v1/retention/preview").body(document.into()))
}

fn text(report: &Report, colour: bool) -> String {
    let mut table = Table::new(["BACKUP", "SLOT", "LABEL", "SIZE", "NOW", "THEN", "WHY THEN"]).right([3]);
    for line in &report.both.backups {
        let word = |name: VerdictAction| match name {
            VerdictAction::Keep => "keep",
            VerdictAction::Relabel => "relabel",
            VerdictAction::Discard => "discard",
        };
        let label =
            |to: Option<holdfast_domain::backup::Label>| to.map(holdfast_domain::backup::Label::as_str);
        table.row([
            line.id.to_string(),
            line.slot_date.map_or_else(|| "on demand".to_owned(), |date| date.to_string()),
            line.label.map_or("-", |label| label.as_str()).to_owned(),
            size(line.bytes),
            action(word(line.now.action), label(line.now.to)),
            action(word(line.then.action), label(line.then.to)),
            line.then.reason.clone(),
        ]);
    }
    let table = if table.is_empty() { "no backup has succeeded yet\n".to_owned() } else { table.to_string() };
    let calendar: Calendar = report.calendar_then.iter().copied().collect();
    format!(
        "now:  {}\nthen: {}\n\nthen, on the calendar:\n{}\n{table}\nnow:  {}\nthen: {}\n{}{}",
        report.policies_now.text(),
        report.policies_then.text(),
        calendar.with_colour(colour),
        report.both.now,
        report.both.then,
        cost("now:  ", &report.cost_now),
        cost("then: ", &report.cost_then),
    )
}

fn cost(head: &str, cost: &Cost) -> String {
    match &cost.policy {
        Some(policy) => format!("\n{head}{policy}"),
        None => cost.notes.iter().fold(String::new(), |text, note| format!("{text}\n{head}{note}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_stand_side_by_side() {
        let line = |id: &str, then: &str| {
            json!({"id": id, "trigger": "scheduled", "slot_date": "2026-04-01", "taken_at": "2026-04-01T01:00:00Z",
                "label": "daily", "held": false, "bytes": 1024,
                "now": {"action": "keep", "to": null, "reason": "kept"},
                "then": {"action": then, "to": (then == "relabel").then_some("weekly"), "reason": format!("because of {then}")}})
        };
        let totals = |kept: u64| {
            json!({"kept": kept, "discarded": 0, "daily": kept, "weekly": 0, "monthly": 0, "on_demand": 0, "held": 0,
                "bytes": 1024 * kept, "month_nano_dollars": null})
        };
        let report: Report = serde_json::from_value(json!({
            "policies_now": {"scheduled": "gfs:7/4/12", "on_demand": "age_then_count:30/3"},
            "policies_then": {"scheduled": "gfs:1/1/0", "on_demand": "age_then_count:30/3"},
            "backups": [
                line("018bcfe5-6800-7707-8707-070707070707", "relabel"),
                line("018bcfe5-6800-7707-8707-070707070708", "discard"),
            ],
            "calendar_then": [{"date": "2026-04-01", "mark": "kept", "label": "weekly"}],
            "now": totals(2), "then": totals(1),
            "cost_now": {"policy": null, "notes": ["no price known for region moon-1"]},
            "cost_then": {"policy": null, "notes": ["no price known for region moon-1"]},
        }))
        .unwrap();
        insta::assert_snapshot!(text(&report, false));
    }
}
