//! Hardening first, then the command line.

#[cfg(target_env = "musl")]
mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(error) = secretmount::hardening::apply() {
        eprintln!("error: the kernel refused to harden this process: {error}");
        return ExitCode::FAILURE;
    }
    secretmount::cli::run()
}
