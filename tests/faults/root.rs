//! Tests that only root of the machine can make.

use std::process::{Command, Stdio};

use crate::support::skip;

/// `CAP_SYS_PTRACE` of `capabilities(7)`.
const SYS_PTRACE: u32 = 19;

/// Whether this process may interfere with the system calls of processes that let nobody else look into them; where not, it
/// says that the calling test is skipped.
pub fn may_trace() -> bool {
    // In a user namespace of one's own everybody is root of a few users only.
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:\t"));
    let capabilities = capabilities.and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or_default();
    if map.split_whitespace().last() != Some("4294967295") || capabilities & (1 << SYS_PTRACE) == 0 {
        skip("root, who may trace processes");
        return false;
    }
    let is_there = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !is_there {
        skip("the command strace");
    }
    is_there
}
