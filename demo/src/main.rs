//! `cargo demo`: what a node sees of the product, with an embedded AWS and Kubernetes, in a few seconds.
//!
//! Every line it prints is the result of a real call: the provider runs as a process of its own and is asked through its
//! socket, as the driver asks it. Values of secrets are never printed.

mod report;
mod walk;

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use clap::{Parser, ValueEnum};

use report::Report;

/// Set for the child process that is the product itself.
const SERVE: &str = "SECRETMOUNT_DEMO_SERVE";
/// Set once the demo runs in a namespace of its own.
const NAMESPACE: &str = "SECRETMOUNT_DEMO_NAMESPACE";

/// Mounts three example classes, rotates a secret, and is refused where it should be; all on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo demo")]
struct Arguments {
    /// Stay when it is done, and print how to call the provider
    #[arg(long)]
    keep: bool,

    /// text for people, json for programs
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn main() -> ExitCode {
    if std::env::var_os(SERVE).is_some() {
        return serve();
    }
    let arguments = Arguments::parse();
    enter_namespace();
    let report = Report::new(arguments.output == Output::Json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report.fail(&error.into()),
    };
    match runtime.block_on(walk::run(report.clone(), arguments.keep)) {
        Ok(()) => report.end(),
        Err(error) => report.fail(&error),
    }
}

/// The product's own `main`.
fn serve() -> ExitCode {
    match secretmount::hardening::apply() {
        Ok(()) => secretmount::cli::run(),
        Err(error) => {
            eprintln!("error: the kernel refused to harden this process: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Mounting a tmpfs needs rights that most users have only in a namespace of their own. Where neither works the demo goes on
/// and says so.
fn enter_namespace() {
    if walk::may_mount() || std::env::var_os(NAMESPACE).is_some() {
        return;
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]);
        command
    };
    let works = unshare().arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if let (true, Ok(own)) = (works, std::env::current_exe()) {
        // Comes back only when it fails, and then the demo goes on without.
        let _ = unshare().arg(own).args(std::env::args_os().skip(1)).env(NAMESPACE, "1").exec();
    }
}
