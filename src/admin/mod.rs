//! What operators and their tools ask this process: whether it lives and serves, its numbers, and what it knows of each volume.
//!
//! The first two are on ports that are open to the cluster's network, so no page there has a name of a pod or of a secret in it,
//! unless the operator wants names of pods among the numbers. All else is on a Unix socket of the provider's own pod.

mod health;
mod http;
mod local;
mod numbers;
mod operations;
mod status;

pub use health::Health;
pub use http::{Page, Pages, listen};
pub use local::listen_at;
pub use numbers::Numbers;
pub use operations::{LogLevel, Operations, Problem, Refresh, Refreshed};
pub use status::{API_VERSION, Status, Writer};
