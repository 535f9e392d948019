//! What operators and their tools ask this process: whether it lives and serves, and its numbers.
//!
//! Neither needs anybody outside the process, and no page has a name of a pod or of a secret in it: the ports are open to the
//! cluster's network.

mod health;
mod http;
mod numbers;

pub use health::Health;
pub use http::{Page, Pages, listen};
pub use numbers::{Numbers, Observe};
