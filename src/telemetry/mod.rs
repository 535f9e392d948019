//! Logs and numbers, and nothing else: what is told to people must never decide what happens.

mod audit;
mod logs;
mod metrics;
mod process;
mod record;

pub use audit::{Answered, Delivered, Delivery, Reading};
pub use logs::{Log, start};
pub use metrics::{Api, Cache, Eviction, Got, Metrics, Sent, Taken, VolumeNow, VolumesNow, Write, metrics};
pub use record::{Failure, MountRecord, Operation, Outcome, Stage, refused};
