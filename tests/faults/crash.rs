//! P3: the process is killed before every system call of a write, and the next one repairs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use devcloud::DevCloud;
use devcloud::node::{Class, Node, Provider, Volume};

use crate::root::is_root;
use crate::rows::{pair_class, put_pair, value, whole};
use crate::support::{READY, cloud, mount_for, needs_mounts, start};

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

async fn walk(layouts: &'static str, is_refresh: bool) {
    needs_mounts!();
    if !is_root() {
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

        let killer = Killer::attach(provider.id().expect("it runs"), call, number);
        let answer = driver.mount(&mount(&after)).await;
        drop(killer);
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
        volume.unmount().expect("nothing holds it");
        true
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

/// Kills a process when the thread that writes volumes comes to its so many-th call of a kind.
struct Killer(Child);

impl Killer {
    fn attach(process: u32, call: &str, number: usize) -> Self {
        let tasks =
            fs::read_dir(format!("/proc/{process}/task")).expect("it runs").map(|task| task.expect("a thread").path());
        let mut writers =
            tasks.filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "volume\n"));
        let thread = writers.next().expect("a thread that writes").file_name().expect("its id").to_owned();
        let mut strace = Command::new("strace")
            .arg("-p")
            .arg(thread)
            .args(["-o", "/dev/null", "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:signal=KILL:when={number}")])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command strace is there");
        let mut said = String::new();
        let mut lines = BufReader::new(strace.stderr.take().expect("piped"));
        lines.read_line(&mut said).expect("it says something");
        assert!(said.contains("attached"), "{said}");
        Self(strace)
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
