//! What others do with a volume, and what it costs those who look at it.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::mem::MaybeUninit;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use devcloud::node::{Node, Volume};
use devcloud::{Fault, FaultKind};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{CWD, FileType, FlockOperation, Mode, flock, makedev, mknodat};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount};
use tonic::Code;

use crate::rows::{names, number_of, pair_class, put_pair, unmount, until_cleared, whole};
use crate::support::{
    READY, REGION, World, assert_refused, class, class_of, may_chown, needs_mounts, start_by, without_capabilities_but,
};

fn inode(volume: &Volume, name: &str) -> u64 {
    fs::metadata(volume.path().join(name)).expect("there").ino()
}

#[tokio::test]
async fn f47_a_pod_that_is_gone_by_the_time_of_the_write_gets_nothing_back() {
    needs_mounts!();
    let world = World::new().await;
    world.cloud.put_secret(REGION, "shop/key", "k");
    world.cloud.set_latency_of("GetSecretValue", Duration::from_millis(300));
    let volume = world.publish();
    let pod = world.node.kubelet_dir().join("pods").join(&world.pod.uid);
    let gone = async {
        world.cloud.wait_for_call("GetSecretValue").await;
        unmount(&volume).await;
        fs::remove_dir_all(&pod).expect("removed");
    };
    let class = class_of(&["shop/key"]);
    let (answer, ()) = tokio::join!(world.mount(&class, &volume), gone);
    assert_refused(answer, Code::FailedPrecondition, "TargetUnexpected", &["No such file or directory"]);
    assert!(!pod.exists(), "nothing is made");
}

#[tokio::test]
async fn f42_f43_a_volume_that_is_full_keeps_the_old_set_until_there_is_room() {
    needs_mounts!();
    let world = World::new().await;
    for (limits, key) in [(c"size=96k", "x".repeat(200_000)), (c"nr_inodes=20", "small".into())] {
        let volume = world.publish();
        put_pair(&world.cloud, 1);
        world.mount(&pair_class(), &volume).await.expect("mounted");
        let limit = |limits: &CStr| mount_remount(volume.path(), MountFlags::empty(), limits).expect("changed");
        limit(limits);
        put_pair(&world.cloud, 2);
        world.cloud.put_secret(REGION, "shop/key", key);
        let files = "- {objectName: shop/pair, objectType: secretsmanager, objectAlias: whole.json}\n".to_owned()
            + &(0..20)
                .map(|number| {
                    format!("- {{objectName: shop/key, objectType: secretsmanager, objectAlias: key-{number}}}\n")
                })
                .collect::<String>();
        let refused = world.mount(&class(&files), &volume).await;
        assert_refused(refused, Code::Internal, "NoSpace", &["21 files"]);
        assert_eq!(volume.read("whole.json").expect("readable"), whole(1).as_bytes(), "{limits:?}");
        assert_eq!(volume.files().expect("readable").len(), 3, "{limits:?}");
        limit(c"size=64m,nr_inodes=1000");
        world.mount(&class(&files), &volume).await.expect("there is room");
        assert_eq!(volume.read("whole.json").expect("readable"), whole(2).as_bytes());
    }
}

#[tokio::test]
async fn f44_a_volume_that_takes_nothing_keeps_the_old_set_and_the_error_says_what_it_said() {
    needs_mounts!();
    let world = World::new().await;
    let volume = world.publish();
    put_pair(&world.cloud, 1);
    world.mount(&pair_class(), &volume).await.expect("mounted");
    put_pair(&world.cloud, 2);
    mount_remount(volume.path(), MountFlags::RDONLY, c"").expect("changed");
    let refused = world.mount(&pair_class(), &volume).await;
    assert_refused(refused, Code::Internal, "WriteFailed", &["Read-only file system"]);
    assert_eq!(volume.read("whole.json").expect("readable"), whole(1).as_bytes());
    mount_remount(volume.path(), MountFlags::empty(), c"").expect("changed");
    world.mount(&pair_class(), &volume).await.expect("mounted");
    assert_eq!(volume.read("whole.json").expect("readable"), whole(2).as_bytes());
}

#[tokio::test]
async fn f50_f56_what_other_writers_left_is_in_nobodys_way_and_files_of_strangers_stay() {
    needs_mounts!();
    let world = World::new().await;
    put_pair(&world.cloud, 1);
    let volume = world.publish();
    // The driver's writer was killed once, and the official provider too.
    symlink("..2026_01_02_03_04_05.1234567890", volume.path().join("..data_tmp")).expect("planted");
    fs::write(volume.path().join("user123456"), "half").expect("planted");
    for _ in 0..2 {
        world.mount(&pair_class(), &volume).await.expect("mounted");
    }
    assert!(!names(&volume).contains(&"..data_tmp".into()), "the driver's writer would fail for ever");
    assert_eq!(volume.read("user123456").expect("there"), b"half");
    assert_eq!(volume.read("whole.json").expect("readable"), whole(1).as_bytes());
    let said = "somebody else's files are in a volume, and are left alone";
    assert!(world.provider.logged(said).await);
    assert_eq!(world.provider.log().matches(said).count(), 1, "once");
}

#[tokio::test]
async fn a22_what_is_no_file_is_not_opened_and_a_hundred_thousand_names_hold_up_nobody() {
    needs_mounts!();
    let world = World::new().await;
    put_pair(&world.cloud, 1);
    for layout in ["atomic", "files"] {
        let volume = world.node.publish(&world.pod, layout).expect("a tmpfs");
        let at = |name: &str| volume.path().join(name);
        let node = |name: &str, kind| mknodat(CWD, at(name), kind, Mode::RWXU, makedev(1, 3));
        node("whole.json", FileType::Fifo).expect("planted");
        node("user", FileType::Socket).expect("planted");
        // Only root of the machine may.
        if node("tls_password", FileType::CharacterDevice).is_err() {
            fs::create_dir(at("tls_password")).expect("planted");
        }
        fs::create_dir(at("..generation-0123456789abcdef")).expect("planted");
        for number in 0..100_000 {
            File::create(at(&format!("..generation-0123456789abcdef/{number}"))).expect("planted");
        }
        world.mount(&pair_class().with("fileLayout", layout), &volume).await.expect("mounted");
        assert_eq!(volume.read("whole.json").expect("readable"), whole(1).as_bytes());
        assert_eq!(volume.files().expect("readable").len(), 3);
        assert!(!at("..generation-0123456789abcdef").exists());
    }
}

#[tokio::test]
async fn a20_a_lock_on_the_volume_holds_up_nobody() {
    needs_mounts!();
    let world = World::new().await;
    put_pair(&world.cloud, 1);
    let volume = world.publish();
    let directory = File::open(volume.path()).expect("opened");
    flock(&directory, FlockOperation::LockExclusive).expect("locked");
    world.mount(&pair_class(), &volume).await.expect("mounted");
}

#[tokio::test]
async fn f59_what_may_not_be_read_back_is_not_written_again_by_a_new_process() {
    needs_mounts!();
    if !may_chown() {
        return;
    }
    let mut world = World::that_may_chown().await;
    put_pair(&world.cloud, 1);
    let class = pair_class().with("uid", "1000").with("filePermission", "0400");
    let volume = world.publish();
    world.mount(&class, &volume).await.expect("mounted");
    let before = inode(&volume, "user");
    world.provider.terminate().await.expect("ended");
    // It may give files away, and not pass over their modes.
    let next = start_by(&without_capabilities_but(",+chown"), &world.cloud, &world.node, &[], &[]);
    let driver = next.driver(READY).await.expect("it serves");
    driver.mount(&world.mount_of(&class, volume.path())).await.expect("mounted");
    assert_eq!(inode(&volume, "user"), before);
}

#[tokio::test]
async fn f61_who_has_a_file_or_the_old_set_open_holds_up_nobody_and_reads_on() {
    needs_mounts!();
    let world = World::new().await;
    let volume = world.publish();
    put_pair(&world.cloud, 1);
    world.mount(&pair_class(), &volume).await.expect("mounted");
    let mut file = File::open(volume.path().join("user")).expect("opened");
    let directory = File::open(volume.path().join("..data")).expect("opened");
    for number in 2..5 {
        put_pair(&world.cloud, number);
        world.mount(&pair_class(), &volume).await.expect("mounted");
    }
    let mut old = String::new();
    file.read_to_string(&mut old).expect("read");
    assert_eq!(number_of("user", &old), Some(1));
    drop(directory);
    assert_eq!(volume.read("whole.json").expect("readable"), whole(4).as_bytes());
}

#[tokio::test]
async fn f62_who_watches_the_volume_sees_each_change_once_and_nothing_where_there_is_none() {
    needs_mounts!();
    let world = World::new().await;
    let volume = world.publish();
    put_pair(&world.cloud, 1);
    world.mount(&pair_class(), &volume).await.expect("mounted");
    let watch = Watch::on(volume.path());
    for number in 2..5 {
        put_pair(&world.cloud, number);
        world.mount(&pair_class(), &volume).await.expect("mounted");
        let events = watch.events();
        let changes = events.iter().filter(|(flags, name)| flags.contains(ReadFlags::MOVED_TO) && name == "..data");
        assert_eq!(changes.count(), 1, "{events:?}");
        assert!(!events.iter().any(|(_, name)| !name.is_empty() && !name.starts_with("..")), "{events:?}");
    }
    until_cleared(&world, &volume).await;
    watch.events();
    world.mount(&pair_class(), &volume).await.expect("mounted");
    let events = watch.events();
    let is_touch = |(flags, name): &(ReadFlags, String)| flags.contains(ReadFlags::ATTRIB) && name.is_empty();
    assert!(
        events.len() == 1 && events.iter().all(is_touch),
        "one of the directory, which the driver needs: {events:?}"
    );
}

#[tokio::test]
async fn f64_f76_an_answer_that_is_lost_is_repeated_without_another_change() {
    needs_mounts!();
    let world = World::new().await;
    put_pair(&world.cloud, 1);
    world.cloud.set_latency_of("GetSecretValue", Duration::from_millis(100));
    let volume = world.publish();
    let mount = world.mount_of(&pair_class(), volume.path());
    // The driver goes away before its answer comes, at first while AWS is asked, at last when all is written.
    for patience in (0..20).map(|number| Duration::from_millis(10 * number)) {
        let _ = tokio::time::timeout(patience, world.driver.mount(&mount)).await;
    }
    world.driver.mount(&mount).await.expect("mounted");
    let before = inode(&volume, "user");
    world.driver.mount(&mount).await.expect("mounted");
    assert_eq!(inode(&volume, "user"), before);
    assert_eq!(volume.files().expect("readable").len(), 3);
    assert_eq!(names(&volume).len(), 6, "{:?}", names(&volume));
    unmount(&volume).await;
}

/// A driver leaves a volume alone that is mounted and younger than its poll interval, whatever is in it.
#[tokio::test]
async fn f64_a_driver_that_starts_anew_asks_again_for_a_volume_whose_first_mount_waits() {
    needs_mounts!();
    let world = World::new().await;
    put_pair(&world.cloud, 1);
    let volume = world.publish();
    let mount = world.mount_of(&pair_class(), volume.path());
    let modified = || fs::metadata(volume.path()).expect("there").modified().expect("known");
    let made = modified();
    let waits = async || {
        world.cloud.inject(Fault::on("GetSecretValue", FaultKind::Hang));
        tokio::select! {
            answer = world.driver.mount(&mount) => panic!("answered: {answer:?}"),
            () = world.cloud.wait_for_call("GetSecretValue") => {}
        }
        world.cloud.clear_calls();
        world.cloud.clear_faults();
    };
    waits().await;
    assert_eq!(modified(), SystemTime::UNIX_EPOCH, "the driver would take it for served");

    world.driver.mount(&mount).await.expect("mounted");
    let written = modified();
    assert!(written >= made, "the driver would ask at each of kubelet's rounds");
    waits().await;
    assert_eq!(modified(), written, "only where nothing is there");
    unmount(&volume).await;
}

#[tokio::test]
async fn f73_a_directory_in_which_there_can_be_no_socket_ends_the_start_with_words() {
    needs_mounts!();
    let world = World::driver_writes().await;
    let node = Node::new().expect("a node");
    // Shorter than the path of a volume, for a socket's has a limit.
    let place = Place(node.scratch().join("place"));
    fs::create_dir(&place.0).expect("made");
    mount("tmpfs", &place.0, "tmpfs", MountFlags::empty(), Some(c"mode=0755")).expect("mounted");
    let help = |place: &Path| format!("no socket can be made in {}", place.display());
    let fails = async |text: String| {
        let flag = format!("--provider-volume={}", place.0.display());
        let arguments = [flag.as_str(), "--driver-writes-secrets=true"];
        let binary = Path::new(env!("CARGO_BIN_EXE_secretmount"));
        let mut provider =
            devcloud::node::Provider::start(binary, &arguments, &world.cloud, &node, "aws.sock", &[]).expect("started");
        assert_eq!(provider.wait().await.expect("ended").code(), Some(1));
        assert!(provider.logged(&text).await, "{text:?} is not in {}", provider.log());
    };
    let limit = |flags, limits: &CStr| mount_remount(&place.0, flags, limits).expect("changed");
    limit(MountFlags::empty(), c"nr_inodes=1");
    fails(help(&place.0) + ": No space left on device").await;
    limit(MountFlags::RDONLY, c"nr_inodes=100");
    fails(help(&place.0) + ": Read-only file system").await;
    limit(MountFlags::empty(), c"nr_inodes=100");
    fs::set_permissions(&place.0, fs::Permissions::from_mode(0o1777)).expect("set");
    fails("can be written by everybody".into()).await;
}

/// A tmpfs; unmounted when it is dropped.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// A watch on a directory.
struct Watch(rustix::fd::OwnedFd);

impl Watch {
    fn on(directory: &Path) -> Self {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("a watch");
        let wanted = WatchFlags::MOVED_TO | WatchFlags::MODIFY | WatchFlags::ATTRIB;
        inotify::add_watch(&watch, directory, wanted).expect("watched");
        Self(watch)
    }

    /// What has happened since the last call, with the names of entries.
    fn events(&self) -> Vec<(ReadFlags, String)> {
        let mut space = [MaybeUninit::uninit(); 65_536];
        let mut reader = inotify::Reader::new(&self.0, &mut space);
        std::iter::from_fn(|| {
            let event = reader.next().ok()?;
            let name = event.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            Some((event.events(), name))
        })
        .collect()
    }
}
