//! Faults that have to be made: the process killed between two system calls, readers beside a writer, an attacker on the way
//! to the target. Tests are named after the ids of `docs/reliability.md`. What needs root says so where it is missing.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with the suite of mounts, which uses more of it")]
mod support;

mod attacker;
mod crash;
mod floods;
mod memory;
mod modes;
mod overlap;
mod page;
mod process;
mod readers;
mod root;
mod rows;
mod volumes;
