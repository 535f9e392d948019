//! P13, F78: the memory limit of the provider's own control group, which counts what it has written into volumes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use devcloud::node::{Node, Provider, Volume};
use devcloud::{DevCloud, Pod};
use futures_util::future::join_all;

use crate::support::{
    READY, REGION, class, class_of, cloud, is_final, mount_for, needs_mounts, skip, start_by, without_capabilities_but,
};

/// Of a pod, in which a container comes after the other.
const LIMIT: u64 = 64 << 20;
/// One secret in so many files makes 4 MiB.
const FILES: usize = 64;
const PODS: usize = 110;

/// A control group with a limit, in which each process has a group of its own: a pod with its containers.
struct Group {
    path: PathBuf,
    limit: &'static str,
    /// File and line that count the processes that were killed.
    killed: &'static str,
}

impl Group {
    /// `None`, said aloud, where none can be made.
    fn make() -> Option<Self> {
        let name = format!("secretmount-test-{}", std::process::id());
        let v1 = Self {
            path: Path::new("/sys/fs/cgroup/memory").join(&name),
            limit: "memory.limit_in_bytes",
            killed: "memory.oom_control",
        };
        let v2 = Self { path: Path::new("/sys/fs/cgroup").join(&name), limit: "memory.max", killed: "memory.events" };
        for group in [v1, v2] {
            if fs::create_dir(&group.path).is_ok() && fs::write(group.path.join(group.limit), LIMIT.to_string()).is_ok()
            {
                // The second version passes its controllers on where it is told to.
                let _ = fs::write(group.path.join("cgroup.subtree_control"), "+memory");
                return Some(group);
            }
        }
        skip("root, and a control group for memory that it may make groups in");
        None
    }

    /// A command that runs another one in a group of its own, without capabilities.
    fn container(&self, name: &str) -> Vec<String> {
        let group = self.path.join(name);
        fs::create_dir(&group).expect("made");
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.display());
        [vec!["sh".into(), "-c".into(), enter, "sh".into()], without_capabilities_but("")].concat()
    }

    fn killed(&self, name: &str) -> u64 {
        let text = fs::read_to_string(self.path.join(name).join(self.killed)).expect("read");
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill ")).expect("counted");
        line.parse().expect("a number")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for container in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(container.path());
        }
        let _ = fs::remove_dir(&self.path);
    }
}

struct Fleet {
    cloud: DevCloud,
    node: Node,
    pods: Vec<(Pod, Volume)>,
}

impl Fleet {
    async fn new() -> Self {
        let (cloud, node) = (cloud().await, Node::new().expect("a node"));
        cloud.put_secret(REGION, "shop/big", "x".repeat(64 * 1024));
        cloud.put_secret(REGION, "shop/key", "k");
        let pods = (0..PODS).map(|number| {
            let pod = cloud.put_pod("shop", &format!("web-{number}"), "web", "node-a");
            let volume = node.publish(&pod, "secrets").expect("a tmpfs");
            (pod, volume)
        });
        let pods = pods.collect();
        Self { cloud, node, pods }
    }

    async fn provider(&self, by: &[String]) -> (Provider, devcloud::node::Driver) {
        let provider = start_by(by, &self.cloud, &self.node, &["--max-age=1h"], &[]);
        let driver = provider.driver(READY).await.expect("it serves");
        (provider, driver)
    }
}

fn large() -> devcloud::node::Class {
    let object =
        |number| format!("- {{objectName: shop/big, objectType: secretsmanager, objectAlias: big-{number}}}\n");
    class(&(0..FILES).map(object).collect::<String>())
}

#[tokio::test]
async fn p13_f78_a_limit_of_memory_refuses_mounts_and_kills_nobody_and_a_kill_needs_no_help() {
    needs_mounts!();
    let Some(group) = Group::make() else { return };
    let fleet = Fleet::new().await;
    let (mut provider, driver) = fleet.provider(&group.container("first")).await;
    let (large, small) = (large(), class_of(&["shop/key"]));

    // More is asked for than there is room for.
    let mut written = 0;
    for (pod, volume) in &fleet.pods[..30] {
        match driver.mount(&mount_for(&fleet.cloud, pod, &large, volume.path())).await {
            Ok(_) => written += 1,
            Err(status) => {
                let message = status.message();
                let beside =
                    format!("beside {} MiB in {written} volumes", (written * FILES * (64 * 1024 + 1_600)) >> 20);
                assert!(message.starts_with("MemoryLimit: ") && message.contains(&beside), "{beside}: {message}");
            }
        }
    }
    assert!((1..30).contains(&written), "{written} of 30 are written");
    let (pod, volume) = &fleet.pods[29];
    driver.mount(&mount_for(&fleet.cloud, pod, &small, volume.path())).await.expect("a small one has room");
    assert_eq!(group.killed("first"), 0, "nobody is killed");

    // Somebody else in the pod takes all that is left while every pod mounts, and the provider is the one that is killed.
    let process = provider.id().expect("it runs");
    fs::write(format!("/proc/{process}/oom_score_adj"), "1000").expect("set");
    let enter = format!("echo $$ > {}/cgroup.procs && exec tail /dev/zero", group.path.join("first").display());
    let mut glutton = Command::new("sh").args(["-c", &enter]).spawn().expect("started");
    let mounts: Vec<_> =
        fleet.pods.iter().map(|(pod, volume)| mount_for(&fleet.cloud, pod, &small, volume.path())).collect();
    let killed = async {
        provider.wait().await.expect("ended");
        // It goes on until it is killed as well, which frees what it has taken.
        tokio::task::spawn_blocking(move || glutton.wait()).await.expect("waited").expect("ended");
    };
    let storm = async {
        for _ in 0..1_000 {
            for status in
                join_all(mounts.iter().map(|mount| driver.mount(mount))).await.into_iter().filter_map(Result::err)
            {
                if !is_final(status.code()) {
                    return; // the connection is gone
                }
            }
        }
    };
    tokio::join!(killed, storm);
    assert!(group.killed("first") >= 1);

    // The next container of the pod, under what the last one has left charged.
    let (mut provider, driver) = fleet.provider(&group.container("second")).await;
    for (answer, (_, volume)) in join_all(mounts.iter().map(|mount| driver.mount(mount))).await.iter().zip(&fleet.pods)
    {
        answer.as_ref().expect("mounted, without anybody's help");
        let files = volume.files().expect("readable");
        assert_eq!(files.into_keys().collect::<Vec<_>>(), ["shop_key"], "nothing is left of what was before");
    }
    assert_eq!(group.killed("second"), 0);
    eprintln!("{written} volumes of 4 MiB under a limit of 64 MiB; {PODS} volumes are whole after the kill");
    provider.terminate().await.expect("ended");
}
