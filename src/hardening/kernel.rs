//! What the node's kernel offers, for whoever asks what this process has of it.

use std::fs;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

/// Its release, as `uname -r` says it.
pub fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// Whether paths can be opened without leaving a directory, which every write into a volume needs.
pub fn has_openat2() -> bool {
    openat2(CWD, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH).is_ok()
}

/// Whether secrets in memory may be written to the node's disk.
pub fn swaps() -> bool {
    has_swap_space(&fs::read_to_string("/proc/swaps").unwrap_or_default())
}

/// From the text of `/proc/swaps`: a headline, and a line for each.
fn has_swap_space(swaps: &str) -> bool {
    swaps.lines().skip(1).any(|line| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f84_swap_space_is_seen() {
        let headline = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert!(!has_swap_space(headline) && !has_swap_space(""));
        assert!(has_swap_space(&format!("{headline}/swapfile file 1048572 0 -2\n")));
    }

    #[test]
    fn a_kernel_that_runs_this_is_known() {
        assert!(release().starts_with(|first: char| first.is_ascii_digit()), "{}", release());
        assert!(has_openat2());
    }
}
