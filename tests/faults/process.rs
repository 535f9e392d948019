//! What a process of this provider is from its start on.

use std::fs;

use rustix::io::{FdFlags, fcntl_setfd};

use crate::support::World;

#[tokio::test]
async fn a28_the_process_has_given_up_what_it_does_not_need() {
    let world = World::driver_writes().await;
    let process = world.provider.id().expect("it runs");
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("read");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("no {name} in {status}"))
    };
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(field("Seccomp"), "2", "a filter");
    assert_eq!(field("Umask"), "0077");
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).expect("read");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    for thread in fs::read_dir(format!("/proc/{process}/task")).expect("listed") {
        let status = fs::read_to_string(thread.expect("a thread").path().join("status")).expect("read");
        assert!(status.contains("\nSeccomp:\t2\n"), "every thread has it: {status}");
    }
}

#[tokio::test]
async fn descriptors_that_its_parent_left_open_are_closed() {
    let left = tempfile::NamedTempFile::new().expect("a file");
    fcntl_setfd(left.as_file(), FdFlags::empty()).expect("kept open by those who are started");
    let world = World::driver_writes().await;
    let process = world.provider.id().expect("it runs");
    let open =
        fs::read_dir(format!("/proc/{process}/fd")).expect("listed").map(|entry| entry.expect("an entry").path());
    let open: Vec<_> = open.filter_map(|link| fs::read_link(link).ok()).collect();
    assert!(!open.is_empty() && !open.iter().any(|file| file == left.path()), "{open:?}");
}
