//! `secretmount status`: what this node's provider knows.

use std::process::ExitCode;

use clap::Args;
use http::Method;

use super::ask::Whom;
use crate::admin::Status;

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    whom: Whom,

    /// Only volumes of this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Show names of files, versions and messages too, which name secrets
    #[arg(long)]
    names: bool,
}

/// Asks and shows.
pub fn run(options: &Options) -> ExitCode {
    let path = if options.names { "/status?names" } else { "/status" };
    let of_namespace = |status: Status| match &options.namespace {
        Some(namespace) => status.of_namespace(namespace),
        None => status,
    };
    options.whom.ask_for(Method::GET, path, &(), of_namespace, Status::text, |status| !status.healthy)
}
