//! P1, A19: somebody exchanges the elements of the way to the target while it is written to.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::rows::{pair_class, put_pair};
use crate::support::{World, needs_mounts};

const MOUNTS: usize = 5_000;
const TIME: Duration = Duration::from_secs(30);

#[tokio::test]
async fn p1_a19_nothing_is_written_elsewhere_while_elements_of_the_path_are_exchanged() {
    needs_mounts!();
    let world = World::with(&["--max-age=1h"]).await;
    put_pair(&world.cloud, 1);
    let volume = world.publish();
    world.mount(&pair_class(), &volume).await.expect("mounted");

    // A tree of the same shape, which every element of the way leads to in its turn.
    let canary = world.node.scratch().join("canary");
    let pods = world.node.kubelet_dir().join("pods");
    let way: Vec<PathBuf> = volume.path().strip_prefix(&pods).expect("below").iter().map(PathBuf::from).collect();
    fs::create_dir_all(canary.join(way.iter().collect::<PathBuf>())).expect("made");
    fs::write(canary.join("bird"), "sings").expect("planted");
    let before = tree(&canary);

    let (done, exchanges) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let attacker = std::thread::spawn({
        let (done, exchanges) = (done.clone(), exchanges.clone());
        // Not the last one, which is a mount and can be exchanged by nobody.
        let elements: Vec<(PathBuf, PathBuf)> = (1..way.len())
            .map(|length| {
                let element = way[..length].iter().collect::<PathBuf>();
                let decoy = pods.join(format!("decoy-{length}"));
                symlink(canary.join(&element), &decoy).expect("planted");
                (pods.join(element), decoy)
            })
            .collect();
        move || {
            while !done.load(Ordering::SeqCst) {
                for (element, decoy) in &elements {
                    // There and back.
                    for _ in 0..2 {
                        renameat_with(CWD, element, CWD, decoy, RenameFlags::EXCHANGE).expect("exchanged");
                        exchanges.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        }
    });
    // Two classes in turn, so that every mount writes.
    let classes = ["0440", "0444"].map(|permission| pair_class().with("filePermission", permission));
    let (began, mut mounts, mut written) = (Instant::now(), 0, 0);
    while mounts < MOUNTS || began.elapsed() < TIME {
        let answer = world.driver.mount(&world.mount_of(&classes[mounts % 2], volume.path())).await;
        mounts += 1;
        match answer {
            Ok(_) => written += 1,
            Err(status) => assert!(
                ["TargetUnexpected", "TargetNotTmpfs", "TargetChanged"]
                    .iter()
                    .any(|reason| status.message().starts_with(reason)),
                "{status}"
            ),
        }
    }
    done.store(true, Ordering::SeqCst);
    attacker.join().expect("it exchanged all the while");
    eprintln!("{mounts} mounts, {written} of them written, {} exchanges", exchanges.load(Ordering::SeqCst));
    assert!(written > 0 && written < mounts, "both were met: {written} of {mounts} written");
    assert_eq!(tree(&canary), before);
    world.mount(&classes[0], &volume).await.expect("all is as before");
    assert_eq!(volume.files().expect("readable").len(), 3);
}

/// Inode, time of the last change and content of everything below.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).expect("there");
        if meta.is_dir() {
            open.extend(fs::read_dir(&path).expect("listed").map(|entry| entry.expect("an entry").path()));
        }
        let content = if meta.is_file() { fs::read(&path).expect("read") } else { Vec::new() };
        found.insert(path, (meta.ino(), meta.mtime(), meta.mtime_nsec(), content));
    }
    found
}
