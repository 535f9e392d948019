//! Tests that only root of the machine can make.

/// Whether this process may look into processes that let nobody else; where not, it says that the calling test is skipped.
pub fn is_root() -> bool {
    // In a user namespace of one's own everybody is root of a few users only.
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_root = rustix::process::geteuid().is_root() && map.split_whitespace().last() == Some("4294967295");
    if !is_root {
        crate::support::skip("root");
    }
    is_root
}
