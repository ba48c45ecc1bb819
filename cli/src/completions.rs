//! Completion scripts for shells.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{arguments::Arguments, failure::Failure, terminal::Terminal};

/// Prints the completion script of `shell`.
pub(crate) fn print(shell: Shell, terminal: &Terminal) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "holdfast", &mut script);
    terminal.print(&String::from_utf8_lossy(&script))
}
