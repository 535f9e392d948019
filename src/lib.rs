//! A provider for the Secrets Store CSI driver: secrets that live in AWS become files in pods.
//!
//! Each mount runs through the rooms in this order, and data never moves back up:
//!
//! [`grpc`] → [`spec`] → [`identity`] → [`credentials`] → [`secrets`] → [`render`] → [`volume`]
//!
//! [`mount`] knows the order, [`plan`] holds the words that all of them share, [`provider`] is what differs between clouds.
//! `docs/architecture.md` says why.

pub mod admin;
#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "aws")]
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod credentials;
pub mod events;
mod flights;
pub mod grpc;
pub mod hardening;
pub mod identity;
pub mod installation;
pub mod lint;
pub mod mount;
pub mod plan;
pub mod policy;
pub mod provider;
mod random;
pub mod reason;
pub mod render;
pub mod secrets;
pub mod sensitive;
mod socket;
pub mod spec;
pub mod startup_taint;
pub mod telemetry;
mod turns;
pub mod volume;
