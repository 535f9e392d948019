//! What a process of this provider is from its start on.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use devcloud::node::{Driver, Node};
use futures_util::future::join_all;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Uid;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use rustix::thread::set_thread_res_uid;
use secretmount::hardening::{Reach, confine};
use tokio::net::UnixStream;

use crate::support::{REGION, World, class_of, cloud, is_final, mount_for, needs_mounts, skip};

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
    if rustix::process::geteuid().is_root() {
        // So do all tests of this suite and of the suite of mounts start it.
        for set in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
            assert_eq!(field(set), "0000000000000000", "{set}: root without any capability");
        }
    }
    // On a thread of its own, which alone is confined then.
    let here = std::thread::spawn(|| confine(&Reach::default()).expect("no reason to refuse"));
    let here = format!("\"landlock\":\"{}\"", here.join().expect("asked"));
    assert!(world.provider.log().contains(&here), "what this kernel can do, it does");
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).expect("read");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    for thread in fs::read_dir(format!("/proc/{process}/task")).expect("listed") {
        let status = fs::read_to_string(thread.expect("a thread").path().join("status")).expect("read");
        assert!(status.contains("\nSeccomp:\t2\n"), "every thread has it: {status}");
    }
}

#[tokio::test]
async fn a23_a_connection_of_another_user_is_closed() {
    if !rustix::process::geteuid().is_root() {
        skip("root, who can become another user");
        return;
    }
    let world = World::driver_writes().await;
    // As where its directory is shared in some careless way.
    let all = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    all(world.node.scratch(), 0o755);
    all(world.provider.socket(), 0o666);
    let socket = world.provider.socket().to_owned();
    let stranger = std::thread::spawn(move || {
        let user = Uid::from_raw(1_000);
        set_thread_res_uid(user, user, user).expect("this thread only");
        let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("the mode lets it in");
        stream.read(&mut [0; 1])
    });
    // The kernel may say either, as something was sent or not.
    let end = tokio::task::spawn_blocking(|| stranger.join().expect("asked")).await.expect("ended");
    assert!(end.is_err() || end.is_ok_and(|length| length == 0), "closed without a word");
    assert!(world.provider.logged("closed a connection of another user than root").await);
    world.cloud.put_secret(REGION, "shop/key", "k");
    world.ask(&class_of(&["shop/key"])).await.expect("root is served");
}

#[tokio::test]
async fn descriptors_that_its_parent_left_open_are_closed() {
    let left = tempfile::NamedTempFile::new().expect("a file");
    fcntl_setfd(left.as_file(), FdFlags::empty()).expect("kept open by those who are started");
    let world = World::driver_writes().await;
    let Some(open) = descriptors(world.provider.id().expect("it runs")) else { return };
    let open: Vec<_> = open.iter().filter_map(|link| fs::read_link(link).ok()).collect();
    assert!(!open.is_empty() && !open.iter().any(|file| file == left.path()), "{open:?}");
}

/// Where what a process has open is shown. Not even its own user may look at it; then the calling test is skipped.
fn descriptors(process: u32) -> Option<Vec<PathBuf>> {
    let Ok(open) = fs::read_dir(format!("/proc/{process}/fd")) else {
        skip("root, who may look into processes");
        return None;
    };
    Some(open.map(|entry| entry.expect("an entry").path()).collect())
}

#[tokio::test]
async fn f81_a_log_that_nobody_reads_holds_up_no_mount_and_lost_lines_are_counted() {
    let cloud = cloud().await;
    cloud.put_secret(REGION, "shop/key", "k");
    let node = Node::new().expect("a node");
    let kubeconfig = node.scratch().join("kubeconfig");
    fs::write(&kubeconfig, cloud.kubeconfig()).expect("written");
    let mut provider = Command::new(env!("CARGO_BIN_EXE_secretmount"))
        .arg(format!("--provider-volume={}", node.providers_dir().display()))
        .args(["--driver-writes-secrets=true", "--log-level=debug"])
        .env_clear()
        .env("AWS_ENDPOINT_URL", cloud.aws_url())
        .env("KUBECONFIG", kubeconfig)
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let driver = dialled(&node.providers_dir().join("aws.sock")).await;
    let pod = cloud.put_pod("shop", "web-0", "web", "node-a");
    let target = node.unmounted(&pod, "secrets").expect("a directory");
    // A pipe holds 64 KiB, and a thousand lines wait besides.
    let mount = mount_for(&cloud, &pod, &class_of(&["shop/key"]), &target);
    for _ in 0..40 {
        for answer in join_all((0..50).map(|_| driver.mount(&mount))).await {
            answer.expect("mounted, though nobody reads the log");
        }
    }
    let mut log = provider.stderr.take().expect("piped");
    let (mut said, mut part) = (String::new(), [0; 4096]);
    while !said.contains("log lines were lost") {
        let length = log.read(&mut part).expect("read");
        assert!(length > 0, "it ended without a word about them");
        said += &String::from_utf8_lossy(&part[..length]);
    }
    provider.kill().expect("ended");
    provider.wait().expect("ended");
}

/// Where nobody reads the log, the socket is all that tells, and nothing tells of the socket: so it is asked again and again.
async fn dialled(socket: &Path) -> Driver {
    loop {
        if let Ok(driver) = Driver::dial(socket).await
            && driver.version().await.is_ok()
        {
            return driver;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// When a line was logged: `{"timestamp":"2026-01-02T03:04:05.678901Z",…`.
fn time_of_day(line: &str) -> Duration {
    let time = line.split('T').nth(1).and_then(|rest| rest.split('Z').next()).expect("a time");
    let seconds = time.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?));
    Duration::from_secs_f64(seconds.expect("numbers"))
}

#[tokio::test]
async fn f68_a_process_without_descriptors_waits_for_some_and_then_serves() {
    let world = World::driver_writes().await;
    world.cloud.put_secret(REGION, "shop/key", "k");
    let Some(open) = descriptors(world.provider.id().expect("it runs")) else { return };
    let process = Pid::from_raw(world.provider.id().expect("it runs").cast_signed());
    let now = u64::try_from(open.len()).expect("a number");
    let most = Rlimit { current: Some(now + 8), maximum: Some(now + 8) };
    prlimit(process, Resource::Nofile, most).expect("limited");
    // Whoever connects, the kernel lets in; that many are not accepted.
    let idle: Vec<_> = join_all((0..40).map(|_| UnixStream::connect(world.provider.socket()))).await;
    assert!(idle.iter().all(Result::is_ok));
    let refused = "no connection can be accepted";
    assert!(world.provider.logged_times(refused, 5).await, "it goes on trying");
    let log = world.provider.log();
    let times: Vec<Duration> = log.lines().filter(|line| line.contains(refused)).map(time_of_day).collect();
    // A pause of 200 ms is never shorter, however busy the machine is. At midnight the day begins anew.
    let pauses = times.windows(2).filter_map(|pair| pair[1].checked_sub(pair[0]));
    assert!(pauses.clone().all(|pause| pause > Duration::from_millis(150)), "and not in a loop: {times:?}");
    drop(idle);
    world.ask(&class_of(&["shop/key"])).await.expect("served again, without anybody's help");
    dialled(world.provider.socket()).await;
}

#[tokio::test]
async fn f79_a_node_that_was_frozen_writes_nothing_for_a_caller_that_has_gone() {
    needs_mounts!();
    let world = World::new().await;
    world.cloud.put_secret(REGION, "shop/key", "k");
    world.cloud.set_latency_of("GetSecretValue", Duration::from_millis(500));
    let volume = world.publish();
    let mount = world.mount_of(&class_of(&["shop/key"]), volume.path()).timeout(Duration::from_secs(2));
    let frozen = async {
        world.cloud.wait_for_call("GetSecretValue").await;
        world.provider.signal(Signal::STOP).expect("stopped");
    };
    let (answer, ()) = tokio::join!(world.driver.mount(&mount), frozen);
    answer.expect_err("nobody answers, and the client does not wait");
    world.provider.signal(Signal::CONT).expect("goes on");
    // The next one waits as long as the driver does: a machine that is busy takes its time to wake up.
    let later = world.driver.mount(&world.mount_of(&class_of(&["shop/none"]), volume.path())).await;
    let later = later.expect_err("there is no such secret");
    assert!(is_final(later.code()), "{later}");
    assert_eq!(fs::read_dir(volume.path()).expect("listed").count(), 0);
}
