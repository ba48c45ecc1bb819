//! `holdfast retention simulate`: a policy tried out, drawn and priced, without an API.

use std::{fs, path::Path};

use holdfast_domain::{
    cost::{PolicyCost, Prices, Shape},
    region::Region,
    retention::{
        calendar::Calendar,
        simulate::{Simulation, simulate_several},
    },
};
use serde::Serialize;

use super::picture;
use crate::{arguments::Simulate, failure::Failure, terminal::Terminal};

/// What is printed as JSON: the cost only where it was asked for.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    simulation: &'a Simulation,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<&'a PolicyCost>,
}

/// Simulates, and prints or writes what was asked for. `region` is whose prices the cost is in.
pub(crate) fn run(options: &Simulate, region: Option<&str>, terminal: &Terminal) -> Result<(), Failure> {
    let to_stdout = options.svg.as_deref() == Some(Path::new("-"));
    if to_stdout && (terminal.is_json() || options.bytes.is_some()) {
        return Err(Failure::usage("--svg - leaves no room on standard output for JSON or a cost")
            .fix("give --svg the name of a file"));
    }
    let simulation =
        simulate_several(options.policy, options.from, options.days, options.slots_per_day, &options.skipped)
            .map_err(|invalid| {
                Failure::usage(format!("--{} {}", invalid.field, invalid.problem)).fix(invalid.fix)
            })?;
    let cost = options.bytes.map(|bytes| cost(options, bytes, region)).transpose()?;
    let calendar = Calendar::of(&simulation);
    match &options.svg {
        Some(_) if to_stdout => return terminal.print(&calendar.svg(&title(options))),
        Some(path) => picture::write(path, &calendar.svg(&title(options)))?,
        None => {}
    }
    if terminal.is_json() {
        return terminal.json(&Document { simulation: &simulation, cost: cost.as_ref() });
    }
    let calendar = calendar.with_colour(terminal.has_colour());
    match cost {
        Some(cost) => terminal.print(&format!("{calendar}\n{cost}")),
        None => terminal.print(&calendar.to_string()),
    }
}

fn cost(options: &Simulate, bytes: u64, region: Option<&str>) -> Result<PolicyCost, Failure> {
    let region = region.ok_or_else(|| {
        Failure::usage("--bytes asks for a cost, and prices differ between regions")
            .fix("name the region with --region, such as --region eu-central-1")
    })?;
    let prices = match &options.prices {
        Some(path) => read(path)?,
        None => Prices::bundled(),
    };
    let tariff = prices.tariff(&Region::new(region)).map_err(|unknown| {
        Failure::usage(unknown.to_string())
            .fix("name one of those with --region, or give a file that has its prices with --prices (docs/costs.md)")
    })?;
    Ok(tariff.policy(options.policy, &Shape::of_bytes(bytes), options.slots_per_day))
}

fn read(path: &Path) -> Result<Prices, Failure> {
    let name = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
    Prices::parse(&text).map_err(|invalid| {
        Failure::usage(format!("{name}: {} {}", invalid.field, invalid.problem)).fix(invalid.fix)
    })
}

fn title(options: &Simulate) -> String {
    let successes = match options.slots_per_day {
        1 => "one success a day".to_owned(),
        several => format!("{several} successes a day"),
    };
    format!("{}: {successes}, {} days from {}", options.policy, options.days, options.from)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::arguments::Output;

    fn options() -> Simulate {
        Simulate {
            policy: "gfs:1/1/0".parse().unwrap(),
            from: "2026-04-05".parse().unwrap(),
            days: 4,
            skipped: Vec::new(),
            slots_per_day: 1,
            svg: None,
            bytes: None,
            prices: None,
        }
    }

    fn refusal(options: &Simulate, region: Option<&str>, output: Output) -> String {
        run(options, region, &Terminal::new(output, true)).unwrap_err().to_string()
    }

    #[test]
    fn the_picture_is_written_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("year.svg");
        run(&Simulate { svg: Some(path.clone()), ..options() }, None, &Terminal::new(Output::Json, true))
            .unwrap();
        let svg = fs::read_to_string(path).unwrap();
        assert!(svg.contains("gfs:1/1/0: one success a day, 4 days from 2026-04-05"), "{svg}");
        assert!(svg.contains("<title>2026-04-06: weekly</title>"), "{svg}");
    }

    #[rstest]
    #[case::no_region(options(), None, "--region")]
    #[case::unknown_region(options(), Some("mars-north-1"), "no price known for region mars-north-1")]
    #[case::no_such_file(
        Simulate { prices: Some("/no/such/prices.json".into()), ..options() },
        Some("eu-central-1"),
        "/no/such/prices.json cannot be read"
    )]
    fn without_a_price_there_is_no_cost(
        #[case] options: Simulate,
        #[case] region: Option<&str>,
        #[case] says: &str,
    ) {
        let refusal = refusal(&Simulate { bytes: Some(1), ..options }, region, Output::Text);
        assert!(refusal.contains(says) && !refusal.contains('$'), "{refusal}");
    }

    #[test]
    fn prices_of_ones_own_are_used_or_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prices.json");
        let own = include_str!("../../../shared/domain/prices/2026-08-07.json")
            .replace("eu-west-1", "mars-north-1")
            .replace("\"2026-08-07\"", "\"2031-01-02\"");
        fs::write(&path, own).unwrap();
        let asked = Simulate { prices: Some(path.clone()), ..options() };
        let cost = cost(&asked, 1 << 30, Some("mars-north-1")).unwrap();
        assert_eq!(
            (cost.region.as_str(), cost.prices_of.to_string().as_str()),
            ("mars-north-1", "2031-01-02")
        );

        fs::write(&path, "{\"date\":1}").unwrap();
        let refused = refusal(&Simulate { bytes: Some(1), ..asked }, Some("mars-north-1"), Output::Text);
        assert!(refused.contains("prices.json: prices cannot be read"), "{refused}");
    }

    #[rstest]
    #[case::json(options(), Output::Json)]
    #[case::cost(Simulate { bytes: Some(1), ..options() }, Output::Text)]
    fn one_thing_goes_to_standard_output(#[case] options: Simulate, #[case] output: Output) {
        let refusal = refusal(&Simulate { svg: Some("-".into()), ..options }, Some("eu-central-1"), output);
        assert!(refusal.contains("--svg -"), "{refusal}");
    }

    #[test]
    fn the_json_has_a_cost_only_when_it_was_asked_for() {
        let simulation = simulate_several(options().policy, options().from, 4, 1, &[]).unwrap();
        let json = |cost| serde_json::to_value(Document { simulation: &simulation, cost }).unwrap();
        assert_eq!(json(None), serde_json::to_value(&simulation).unwrap());
        let cost = cost(&options(), 1 << 30, Some("eu-central-1")).unwrap();
        let with = json(Some(&cost));
        assert_eq!(with["cost"]["total_nano_dollars"], cost.total_nano_dollars.0);
        assert_eq!(with.as_object().unwrap().len(), 3);
    }

    #[test]
    fn a_cost_counts_the_parts_an_upload_has() {
        let mut bytes = 0;
        for number in 1..=10_000 {
            bytes += holdfast_archive::multipart::part_bytes(number).unwrap() as u64;
            assert_eq!(holdfast_domain::cost::parts(bytes), u64::from(number));
            assert_eq!(holdfast_domain::cost::parts(bytes + 1), u64::from(number) + 1);
        }
    }

    #[test]
    fn an_absurd_number_of_slots_is_refused() {
        let refusal = refusal(&Simulate { slots_per_day: 25, ..options() }, None, Output::Text);
        assert!(refusal.starts_with("--slots-per-day is 25"), "{refusal}");
    }
}
