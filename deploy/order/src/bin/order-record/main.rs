//! Runs a program and notes which of its functions are called, in the order of their first calls.
//!
//! `order-record LIST PROGRAM [ARGUMENT...]` adds to LIST the marks that are not in it yet. The program must have its symbols.
//! Each function begins with a breakpoint, which goes away when it is met, so the program is hardly slower. Takes the right to
//! trace processes, and an x86-64.

#[cfg(target_arch = "x86_64")]
mod record;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    #[cfg(target_arch = "x86_64")]
    let result = record::run(&arguments);
    #[cfg(not(target_arch = "x86_64"))]
    let result: anyhow::Result<u8> = Err(anyhow::anyhow!("{arguments:?} cannot be traced: this is no x86-64"));
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
