//! Mounts as the driver asks for them, through the socket of the real process, against an embedded cloud.

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod batch;
mod capture;
mod credentials;
mod endpoints;
mod events;
mod failover;
mod files;
mod find;
mod freshness;
mod handshake;
mod identity;
mod installation;
mod parameters;
mod pod_identity;
mod policy;
mod process;
mod reasons;
mod refusals;
mod roles;
mod startup_taint;
mod status;
mod time;
mod trouble;
