//! What is wrong with SecretProviderClasses in manifests, with the place in the file, before a pod asks for them.
//!
//! A class is read by the same code as in a mount ([`Grammar::examine`](crate::spec::Grammar)), so an error of a mount
//! is never missed, and nothing is called one that a mount takes, but what is certainly a mistake: keys that nobody
//! knows. This room adds the places, what the API server and the driver would say, and how to show it. It asks nobody,
//! and takes every manifest for hostile: it ends within a budget, and shows nothing that could steer a terminal.

// Nothing that comes from outside may end the process.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod class;
mod diagnostic;
mod inner;
mod keys;
mod manifest;
pub mod report;
mod rule;
pub mod schema;
mod source;
mod sources;
mod tree;

pub use diagnostic::{Diagnostic, printable};
pub use manifest::{CheckedClass, CheckedFile, check};
pub use rule::{Rule, Severity};
pub use sources::{Input, Unreadable, inputs};

#[cfg(test)]
mod tests;
