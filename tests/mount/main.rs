//! Mounts as the driver asks for them, through the socket of the real process, against an embedded cloud.

#[path = "../support/mod.rs"]
mod support;

mod files;
mod identity;
mod process;
mod refusals;
mod time;
