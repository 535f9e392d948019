//! Logs and numbers, and nothing else: what is told to people must never decide what happens.

mod logs;
mod metrics;
mod process;
mod record;

pub use logs::{Log, start};
pub use metrics::{Api, Cache, Got, Metrics, VolumesNow, Write, metrics};
pub use record::{MountRecord, Operation, Outcome, Stage, refused};
