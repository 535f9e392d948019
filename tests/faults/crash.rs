//! P3, F42 to F44: the process is killed before every system call of a write, or the call fails; the next write repairs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use devcloud::DevCloud;
use devcloud::node::{Class, Driver, Node, Provider, Volume};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::root::may_trace;
use crate::rows::{pair_class, put_pair, unmount, value, whole};
use crate::support::{READY, cloud, is_final, mount_for, needs_mounts, start};

/// Every call by which a write changes something, or opens what it changes.
const CALLS: [&str; 11] = [
    "mkdirat",
    "openat2",
    "write",
    "fchmod",
    "fchown",
    "symlinkat",
    "renameat",
    "renameat2",
    "unlinkat",
    "utimensat",
    "close",
];

#[tokio::test]
async fn p3_f48_f49_f63_a_first_mount_killed_anywhere_leaves_nothing_or_everything() {
    walk("atomic", false).await;
}

#[tokio::test]
async fn p3_f48_f49_f63_a_refresh_killed_anywhere_leaves_the_old_set_or_the_new_one() {
    walk("atomic", true).await;
}

#[tokio::test]
async fn p3_f54_plain_files_killed_anywhere_are_each_old_or_new() {
    walk("files", true).await;
}

#[tokio::test]
async fn p3_f54_a_change_of_layout_killed_anywhere_leaves_every_name_readable() {
    walk("atomic, then files", true).await;
    walk("files, then atomic", true).await;
}

#[tokio::test]
async fn f42_f43_f44_a_call_that_fails_leaves_the_old_set_or_the_new_one_and_the_next_mount_works() {
    fail_everywhere("atomic").await;
}

#[tokio::test]
async fn f42_f43_f44_a_call_that_fails_leaves_plain_files_old_or_new_and_the_next_mount_works() {
    fail_everywhere("files").await;
}

/// Every call once with an error that any may have, and once with those of a full file system or process where it creates.
async fn fail_everywhere(layout: &'static str) {
    needs_mounts!();
    if !may_trace() {
        return;
    }
    let walk = Walk {
        cloud: cloud().await,
        node: Node::new().expect("a node"),
        before: layout,
        after: layout,
        is_refresh: true,
    };
    let provider = walk.start();
    let driver = provider.driver(READY).await.expect("it serves");
    let mut points = 0;
    // One that does not close keeps the descriptor only here: Linux closes it whatever it answers.
    for call in CALLS.into_iter().filter(|call| *call != "close") {
        let creates = ["mkdirat", "openat2", "write", "symlinkat"].contains(&call);
        for error in
            ["EIO", "ENOSPC", "EDQUOT", "EROFS", "EMFILE", "ENOMEM"].into_iter().take(if creates { 6 } else { 1 })
        {
            for number in 1.. {
                if !walk.fail_at(&provider, &driver, call, number, error).await {
                    break;
                }
                points += 1;
            }
        }
    }
    eprintln!("{layout}: {points} calls failed");
    assert!(points >= 50, "only {points} calls: does strace see the thread?");
}

async fn walk(layouts: &'static str, is_refresh: bool) {
    needs_mounts!();
    if !may_trace() {
        return;
    }
    let (before, after) = layouts.split_once(", then ").unwrap_or((layouts, layouts));
    let walk = Walk { cloud: cloud().await, node: Node::new().expect("a node"), before, after, is_refresh };
    let mut points = 0;
    for call in CALLS {
        for number in 1.. {
            if !walk.kill_at(call, number).await {
                break;
            }
            points += 1;
        }
    }
    eprintln!("{layouts}, refresh: {is_refresh}: killed at {points} points");
    assert!(points >= 20, "only {points} points: does strace see the thread?");
}

struct Walk {
    cloud: DevCloud,
    node: Node,
    before: &'static str,
    after: &'static str,
    is_refresh: bool,
}

/// Content and mode by visible name.
type Set = BTreeMap<String, (String, u32)>;

impl Walk {
    /// Whether the process has died there; it has not where the write makes fewer such calls.
    async fn kill_at(&self, call: &str, number: usize) -> bool {
        let pod = self.cloud.put_pod("shop", "web-0", "web", "node-a");
        let volume = self.node.publish(&pod, &format!("{call}-{number}")).expect("a tmpfs");
        let mount = |class: &Class| mount_for(&self.cloud, &pod, class, volume.path());
        let (before, after) =
            (pair_class().with("fileLayout", self.before), pair_class().with("fileLayout", self.after));
        let mut provider = self.start();
        let driver = provider.driver(READY).await.expect("it serves");
        put_pair(&self.cloud, 1);
        if self.is_refresh {
            driver.mount(&mount(&before)).await.expect("the old set is written");
        }
        put_pair(&self.cloud, 2);

        let fault = Fault::inject(&provider, call, &format!("signal=KILL:when={number}"));
        let answer = driver.mount(&mount(&after)).await;
        drop(fault);
        if answer.is_ok() {
            assert_eq!(read(&volume), set(2), "{call} {number}");
            provider.terminate().await.expect("ended");
            return false;
        }
        provider.wait().await.expect("killed");
        self.assert_old_or_new(&volume, call, number);

        let mut next = self.start();
        let driver = next.driver(READY).await.expect("the next one serves");
        driver.mount(&mount(&after)).await.expect("it repairs");
        assert_eq!(read(&volume), set(2), "{call} {number}");
        self.assert_nothing_is_left_over(&volume, call, number);
        next.terminate().await.expect("ended");
        unmount(&volume).await;
        true
    }

    /// Whether there was such a call.
    async fn fail_at(&self, provider: &Provider, driver: &Driver, call: &str, number: usize, error: &str) -> bool {
        let pod = self.cloud.put_pod("shop", "web-0", "web", "node-a");
        let volume = self.node.publish(&pod, &format!("{call}-{error}-{number}").to_lowercase()).expect("a tmpfs");
        let mount = mount_for(&self.cloud, &pod, &pair_class().with("fileLayout", self.after), volume.path());
        put_pair(&self.cloud, 1);
        driver.mount(&mount).await.expect("the old set is written");
        put_pair(&self.cloud, 2);

        let fault = Fault::inject(provider, call, &format!("error={error}:when={number}"));
        let answer = driver.mount(&mount).await;
        let was_met = fault.was_met();
        let place = format!("{error} of {call} {number}");
        match answer {
            Ok(_) => assert_eq!(read(&volume), set(2), "{place}"),
            Err(status) => {
                assert!(was_met && is_final(status.code()), "{place}: {status}");
                assert!(!status.message().starts_with("Internal"), "{place}: {status}");
                self.assert_old_or_new(&volume, call, number);
            }
        }
        driver.mount(&mount).await.unwrap_or_else(|status| panic!("after {place}: {status}"));
        assert_eq!(read(&volume), set(2), "after {place}");
        self.assert_nothing_is_left_over(&volume, call, number);
        unmount(&volume).await;
        was_met
    }

    /// But the set before, which stays for a second, and the link to it.
    fn assert_nothing_is_left_over(&self, volume: &Volume, call: &str, number: usize) {
        let hidden = hidden(volume.path());
        let (generations, others): (Vec<_>, Vec<_>) = hidden.iter().partition(|name| name.starts_with("..generation-"));
        let most = usize::from(self.after == "atomic") + usize::from(self.is_refresh && self.before == "atomic");
        assert!(generations.len() <= most, "left over after {call} {number}: {hidden:?}");
        assert!(others.iter().all(|name| ["..data", "..secretmount"].contains(&name.as_str())), "{hidden:?}");
    }

    fn start(&self) -> Provider {
        start(&self.cloud, &self.node, &[], &[])
    }

    fn assert_old_or_new(&self, volume: &Volume, call: &str, number: usize) {
        let found = read(volume);
        let old = if self.is_refresh { set(1) } else { Set::new() };
        let is_whole = found == old || found == set(2);
        // The set of the plain layout changes file by file, and what becomes plain or ceases to be does too.
        let by_file = (self.before, self.after) != ("atomic", "atomic");
        let is_each =
            found.len() == old.len() && found.iter().all(|(name, file)| file == &old[name] || file == &set(2)[name]);
        assert!(is_whole || by_file && is_each, "killed at {call} {number}: {found:?}");
    }
}

fn set(number: usize) -> Set {
    BTreeMap::from([
        ("whole.json".into(), (whole(number), 0o644)),
        ("user".into(), (value("user", number), 0o644)),
        ("tls_password".into(), (value("password", number), 0o400)),
    ])
}

/// Whatever can be read by a visible name.
fn read(volume: &Volume) -> Set {
    let entries = fs::read_dir(volume.path()).expect("listed").map(|entry| entry.expect("an entry"));
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().expect("UTF-8");
        let content = fs::read_to_string(entry.path()).ok().filter(|_| !name.starts_with(".."))?;
        let mode = fs::metadata(entry.path()).ok()?.permissions().mode() & 0o7777;
        Some((name, (content, mode)))
    };
    entries.filter_map(read).collect()
}

fn hidden(path: &Path) -> Vec<String> {
    let names = fs::read_dir(path).expect("listed").map(|entry| entry.expect("an entry").file_name());
    names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with("..")).collect()
}

/// Something that happens to the thread that writes volumes at a system call of a kind, as long as this lives.
struct Fault {
    strace: Child,
    calls: NamedTempFile,
}

/// The thread that writes volumes. A thread has its name only once it runs, which may be later than the socket is there.
fn writer_of(process: u32) -> OsString {
    let is_named = |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "volume\n");
    loop {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
        let mut tasks = tasks.map(|task| task.expect("a thread").path());
        match tasks.find(is_named) {
            Some(task) => break task.file_name().expect("its id").to_owned(),
            None => std::thread::yield_now(),
        }
    }
}

impl Fault {
    /// What happens, and at which call, is in the words of `strace -e inject`.
    fn inject(provider: &Provider, call: &str, what: &str) -> Self {
        let process = provider.id().expect("it runs");
        let calls = NamedTempFile::new().expect("a file");
        let thread = writer_of(process);
        let mut strace = Command::new("strace")
            .arg("-p")
            .arg(thread)
            .arg("-o")
            .arg(calls.path())
            .args(["-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:{what}")])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command strace is there");
        let mut said = String::new();
        let mut lines = BufReader::new(strace.stderr.take().expect("piped"));
        lines.read_line(&mut said).expect("it says something");
        assert!(said.contains("attached"), "{said}");
        Self { strace, calls }
    }

    /// Ends it, and says whether it has happened.
    fn was_met(mut self) -> bool {
        self.end();
        fs::read_to_string(self.calls.path()).expect("read").contains("(INJECTED)")
    }

    /// strace writes what it has, and leaves the thread, when it is asked to end.
    fn end(&mut self) {
        let strace = Pid::from_raw(self.strace.id().cast_signed()).expect("an id");
        let _ = kill_process(strace, Signal::TERM);
        let _ = self.strace.wait();
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if matches!(self.strace.try_wait(), Ok(None)) {
            self.end();
        }
    }
}
