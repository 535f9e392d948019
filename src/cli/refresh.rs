//! `secretmount refresh`: the next refresh of some volumes asks AWS.

use std::process::ExitCode;

use clap::Args;
use http::Method;

use super::ask::Whom;
use crate::admin::{Refresh, Refreshed};

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    whom: Whom,

    /// Only volumes of pods in this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Only volumes of pods with this name
    #[arg(long, value_name = "POD")]
    pod: Option<String>,

    /// Only this secret or parameter, as classes call it: name or ARN
    #[arg(long, value_name = "OBJECT")]
    object: Option<String>,
}

/// Asks and shows what was done.
pub fn run(options: &Options) -> ExitCode {
    let Options { whom, namespace, pod, object } = options;
    let wish = Refresh { namespace: namespace.clone(), pod: pod.clone(), object: object.clone() };
    whom.ask(Method::POST, "/refresh", &wish, text, |done: &Refreshed| done.volumes == 0)
}

fn text(done: &Refreshed) -> String {
    let Refreshed { volumes, left_alone, answers, .. } = done;
    if *volumes == 0 {
        return "no volume is meant: secretmount status lists those that there are\n".into();
    }
    format!(
        "volumes that are meant: {volumes}, of which were left alone after a failure: {left_alone}\n\
         answers of AWS that are forgotten: {answers}\n\
         The driver brings the files when it asks next; secretmount status shows when that is expected.\n"
    )
}
