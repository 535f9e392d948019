//! What both rooms that talk to AWS need of its SDK.

mod bounded;
mod clients;
mod configuration;
mod counted;
mod document;
mod failure;
mod names;
mod short_way;

pub use clients::{Clients, TENANTS, Tries};
pub use configuration::{Configuration, configuration};
pub use counted::counted;
pub use document::Document;
pub use failure::{NO_ANSWER, is_expired, is_throttling, shorten, transport_problem, word};
pub use short_way::{Operation, Short, ShortWay};
