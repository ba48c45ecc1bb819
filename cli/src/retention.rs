//! `holdfast retention`: what is kept, and why.

mod picture;
mod preview;
mod report;
mod simulation;
pub(crate) mod size;

use std::path::Path;

use crate::{
    arguments::{Connection, Retention},
    client::{Call, Client},
    failure::Failure,
    terminal::Terminal,
};

/// Runs one of the commands; the API is connected to only where it is needed.
pub(crate) async fn run(
    command: Retention,
    connection: &Connection,
    terminal: &Terminal,
) -> Result<(), Failure> {
    match command {
        Retention::Show { app, svg } => {
            let client = Client::connect(connection).await?;
            report::run(&app, svg.as_deref(), &client, terminal).await
        }
        Retention::Preview(options) => {
            let client = Client::connect(connection).await?;
            preview::run(&options, &client, terminal).await
        }
        Retention::Simulate(options) => simulation::run(&options, connection.region.as_deref(), terminal),
    }
}

/// Asks for the picture that `call` can be answered with, and writes it to `path`, or to standard output for `-`.
async fn draw(call: Call, path: &Path, client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    if terminal.is_json() {
        return Err(Failure::usage("--svg draws a picture, and --output json asks for JSON")
            .fix("choose one of them"));
    }
    let answer = client.call(&call.header("accept", "image/svg+xml")).await?;
    if path == Path::new("-") {
        return terminal.print(answer.text()?);
    }
    picture::write(path, answer.text()?)
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
