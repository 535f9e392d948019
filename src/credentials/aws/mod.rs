//! Credentials of AWS for a pod.

mod irsa;

pub use irsa::{Irsa, IrsaSource};
