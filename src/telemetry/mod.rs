//! Logs, and nothing else: what is told to people must never decide what happens.

mod logs;
mod record;

pub use logs::{Log, start};
pub use record::{MountRecord, Outcome, Stage};
