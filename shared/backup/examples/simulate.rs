//! Plays histories of the use cases and says what happened in them.
//!
//! `simulate HISTORIES [FIRST]` plays those of so many seeds from `FIRST` on, and ends with the trace of the first one that is
//! wrong; `simulate seed SEED` plays that one alone and prints its trace.

use std::{
    env,
    error::Error,
    io::{self, Write as _},
    time::Instant,
};

use holdfast_testing::simulation::{Counts, Simulation};

/// Histories between two words about how far it is.
const AT_A_TIME: u64 = 5000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mut out = io::stdout().lock();
    let mut simulation = Simulation::new();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["seed", seed] => {
            let played = simulation.play(seed.parse()?);
            writeln!(out, "{}", played.report(seed.parse()?))?;
            if played.wrong.is_empty() { Ok(()) } else { Err("it is wrong".into()) }
        }
        [histories] => play(&mut simulation, 0, histories.parse()?, &mut out),
        [histories, first] => play(&mut simulation, first.parse()?, histories.parse()?, &mut out),
        _ => Err("usage: simulate HISTORIES [FIRST], or simulate seed SEED".into()),
    }
}

fn play(
    simulation: &mut Simulation,
    first: u64,
    histories: u64,
    out: &mut impl io::Write,
) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let mut counts = Counts::default();
    while counts.histories < histories {
        let some = AT_A_TIME.min(histories - counts.histories);
        match simulation.play_all(first + counts.histories, some) {
            Ok(more) => counts.add(more),
            Err(report) => {
                writeln!(out, "{report}")?;
                return Err("a history is wrong".into());
            }
        }
        writeln!(out, "{} histories in {} s", counts.histories, began.elapsed().as_secs())?;
    }
    Ok(write!(out, "{counts}")?)
}
