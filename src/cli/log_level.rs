//! `secretmount log-level`: what the provider logs, until it starts anew.

use std::process::ExitCode;

use clap::Args;
use http::Method;

use super::ask::Whom;
use crate::admin::LogLevel;

#[derive(Debug, Args)]
pub struct Options {
    /// What is logged: error, warn, info, debug or trace, or a filter such as secretmount=debug
    level: String,

    #[command(flatten)]
    whom: Whom,
}

/// Asks for it.
pub fn run(options: &Options) -> ExitCode {
    let wish = LogLevel { level: options.level.clone() };
    let text = |done: &LogLevel| format!("logs {} until the provider starts anew\n", done.level);
    options.whom.ask(Method::PUT, "/log-level", &wish, text, |_| false)
}
