//! `secretmount check`: what is wrong with SecretProviderClasses, without AWS and without a cluster. With `--cluster` it is the
//! installation that is looked at.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, ValueEnum};

use super::{Cli, installation};
use crate::installation::Outcome;
use crate::lint::report::{self, Report};
use crate::lint::{self, CheckedFile};
use crate::spec::aws::GRAMMAR;

/// Classes, or an installation, with errors; with --strict, also those with warnings.
const WRONG: u8 = 1;
/// A file that could not be read, or an API server that did not answer, and nothing wrong with what could be read.
const UNREADABLE: u8 = 3;

#[derive(Debug, Args)]
pub struct Options {
    /// Manifests in YAML or JSON, directories of them, or - for standard input
    #[arg(required_unless_present = "cluster", conflicts_with = "cluster", value_name = "FILE|DIR|-")]
    paths: Vec<PathBuf>,

    /// Check the installation in a cluster instead, by a kubeconfig, or in a pod by its service account
    #[arg(long)]
    cluster: bool,

    #[command(flatten)]
    installation: installation::Options,

    /// How to show what is found
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,

    /// Fail for warnings too
    #[arg(long)]
    strict: bool,

    /// When to use colours in texts
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: Color,

    /// Say nothing of what is right
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// One document for programs
    Json,
    /// Annotations of a GitHub workflow
    Github,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

/// Checks and shows. Who has closed the output early has seen enough.
pub fn run(options: &Options) -> ExitCode {
    if options.cluster {
        return of_cluster(options);
    }
    let report = check(&options.paths);
    let shown = match options.output {
        Output::Text => report::text(&report, has_color(options.color), options.quiet),
        Output::Json => report::json(&report),
        Output::Github => report::github(&report),
    };
    let _ = std::io::stdout().lock().write_all(shown.as_bytes());
    match (report.errors(), report.unreadable()) {
        (0, 0) if options.strict && report.warnings() > 0 => WRONG.into(),
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => UNREADABLE.into(),
        _ => WRONG.into(),
    }
}

fn of_cluster(options: &Options) -> ExitCode {
    let report = match options.output {
        Output::Github => {
            let error = "--output github is for FILEs; --cluster has text and json";
            Cli::command().error(ErrorKind::ArgumentConflict, error).exit()
        }
        Output::Text | Output::Json => installation::examine(&options.installation),
    };
    let shown = match options.output {
        Output::Json => report.json(),
        _ => report.text(has_color(options.color), options.quiet),
    };
    let _ = std::io::stdout().lock().write_all(shown.as_bytes());
    match (report.count(Outcome::Error), report.count(Outcome::Unreachable)) {
        (0, 0) if options.strict && report.count(Outcome::Success) < report.checks().count() => WRONG.into(),
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => UNREADABLE.into(),
        _ => WRONG.into(),
    }
}

fn check(paths: &[PathBuf]) -> Report {
    let (inputs, unreadable) = lint::inputs(paths);
    let read = inputs.iter().map(|input| {
        let checked = match input.read() {
            Ok(text) => lint::check(&text, &GRAMMAR),
            Err(why) => CheckedFile::unreadable(&why),
        };
        (input.name(), checked)
    });
    let unreadable = unreadable.iter().map(|found| (found.name(), CheckedFile::unreadable(&found.to_string())));
    Report { files: read.chain(unreadable).collect() }
}

/// <https://no-color.org>
fn has_color(when: Color) -> bool {
    match when {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) && std::io::stdout().is_terminal(),
    }
}
