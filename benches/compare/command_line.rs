//! What can be asked for.

use std::path::PathBuf;

use clap::Parser;

use crate::scenarios::Scenario;

/// Measures this provider, and another one beside it.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench --bench compare --", max_term_width = 100)]
pub struct CommandLine {
    /// Another provider, which takes the official one's flags.
    #[arg(long, value_name = "BINARY")]
    pub peer: Option<PathBuf>,
    /// This provider as it was built elsewhere, as the image's build does it for example.
    #[arg(long, value_name = "BINARY", default_value = env!("CARGO_BIN_EXE_secretmount"), hide_default_value = true)]
    pub ours: PathBuf,
    /// This provider once more, with these arguments, as in `--variant=--max-age=0s`. May be repeated.
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true)]
    pub variant: Vec<String>,
    /// Only these scenarios. May be repeated.
    #[arg(long, value_name = "SCENARIO")]
    only: Vec<Scenario>,
    /// Fewer rounds, and nothing where somebody waits for minutes.
    #[arg(long)]
    pub quick: bool,
    /// Replaces the tables in this document.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Cargo says so.
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl CommandLine {
    pub fn scenarios(&self) -> &[Scenario] {
        match self.only.is_empty() {
            true => &Scenario::ALL,
            false => &self.only,
        }
    }
}
