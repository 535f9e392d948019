//! What the demo prints, for people or for programs.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

/// Width of the left column.
const COLUMN: usize = 76;

/// Prints each step as it is done; or everything at the end, as one JSON document.
#[derive(Clone)]
pub struct Report {
    json: bool,
    steps: Arc<Mutex<Vec<Value>>>,
}

impl Report {
    pub fn new(json: bool) -> Self {
        Self { json, steps: Arc::default() }
    }

    /// One step of `of`, what was done and what came of it, and more lines about it.
    pub fn step(&self, number: usize, of: usize, what: &str, result: &str, details: &[String]) {
        if self.json {
            let step = json!({"step": number, "what": what, "result": result, "details": details});
            self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
            return;
        }
        say(&format!("  {number}/{of}  {what:COLUMN$}  {result}"));
        for detail in details {
            say(&format!("         {detail}"));
        }
    }

    /// A sentence between the steps.
    pub fn note(&self, text: &str) {
        if !self.json {
            say(text);
        }
    }

    /// The end, after all steps.
    pub fn end(&self) -> ExitCode {
        if self.json {
            self.print(true, Value::Null);
        } else {
            say("Everything ran on this machine. Next: cargo test · docs/parameters.md · docs/errors.md");
        }
        ExitCode::SUCCESS
    }

    /// The end, where a step did not do what it should.
    pub fn fail(&self, error: &anyhow::Error) -> ExitCode {
        if self.json {
            self.print(false, json!(format!("{error:#}")));
        } else {
            eprintln!("error: {error:#}");
        }
        ExitCode::FAILURE
    }

    fn print(&self, ok: bool, error: Value) {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let document = json!({"apiVersion": "secretmount.dev/cli/v1", "ok": ok, "error": error, "steps": steps});
        say(&format!("{document:#}"));
    }
}

/// A reader that has gone away, such as `head`, is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
