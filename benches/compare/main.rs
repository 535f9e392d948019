//! Two providers side by side: what mounts, refreshes and storms cost each of them, in one run on one embedded cloud.
//!
//! ```console
//! $ cargo bench --bench compare                                   # this provider alone
//! $ cargo bench --bench compare -- --peer ./provider --quick      # with another one, roughly
//! $ cargo bench --bench compare -- --peer ./provider --write docs/performance.md
//! ```
//!
//! The peer is a binary that takes the official provider's flags. Both find AWS and Kubernetes as on a real node: under AWS's
//! own host names over TLS, and with a service account's files. This needs namespaces, so root or user namespaces.
//! What is measured, and how to read it: `docs/performance.md`.

mod bench;
mod command_line;
mod contender;
mod document;
mod meter;
mod namespaces;
mod row;
mod running;
mod scenarios;
mod table;
mod world;

use std::process::ExitCode;

use clap::Parser as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use bench::Bench;
use command_line::CommandLine;
use document::Document;

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    if !command_line.bench {
        eprintln!("nothing is measured without optimization: run `cargo bench --bench compare`");
        return ExitCode::SUCCESS;
    }
    let outcome = match namespaces::are_own() {
        true => compare(&command_line),
        false => Err(namespaces::again()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn compare(command_line: &CommandLine) -> anyhow::Result<()> {
    allow_many_connections()?;
    let CommandLine { ours, peer, variant, quick, .. } = command_line;
    let bench = Bench::new(ours, peer.as_deref(), variant, *quick).await?;
    let mut document = command_line.write.as_deref().map(Document::open).transpose()?;
    println!("{}\n", bench.legend());
    for scenario in command_line.scenarios() {
        println!("{}:\n", scenario.name());
        let table = scenario.run(&bench).await?;
        println!("{table}");
        if let Some(document) = &mut document {
            document.replace(&scenario.name(), &table.to_string())?;
        }
    }
    if let Some(mut document) = document {
        document.replace("contenders", &bench.legend())?;
        document.save()?;
    }
    Ok(())
}

/// In a storm somebody may open one for each call, which is more than many shells allow the cloud to hold.
fn allow_many_connections() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}
