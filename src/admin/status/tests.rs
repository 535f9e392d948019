use std::sync::Arc;

use super::*;
use crate::identity::ClaimedPod;
use crate::reason::Reason;
use crate::volume::TargetPath;

fn known(pod: &str, good: Option<Instant>, failure: Option<Outage>) -> VolumeState {
    let path = format!("/var/lib/kubelet/pods/{pod}/volumes/kubernetes.io~csi/secrets/mount");
    let now = Instant::now();
    let versions = BTreeMap::from([("prod_db".to_owned(), "planted-version".to_owned())]);
    let known = Known {
        target: TargetPath::parse(&path, pod).expect("valid"),
        pod: Arc::new(ClaimedPod {
            namespace: "orders".into(),
            name: pod.into(),
            uid: pod.into(),
            service_account: "api".into(),
        }),
        class: "db".into(),
        wanted: now,
        expected: good.map(|_| now + Duration::from_secs(80)),
        good: good.map(|last| Arc::new(Good { first: last, last, files: 3, versions, is_written: true })),
        failure: failure.map(Arc::new),
    };
    VolumeState { known, bytes: Some(4_096), left_alone_for: None }
}

fn failure(times: u32) -> Outage {
    let text = "secret \"prod/db\" cannot be read".into();
    Outage { reason: Reason::SecretAccessDenied, text, since: Instant::now(), times, is_refresh: true }
}

fn status(volumes: Vec<VolumeState>, with_names: bool) -> Status {
    let state = State {
        volumes,
        secrets: (61, 217_000),
        credentials: (14, 0),
        tokens: (40, 0),
        keys: Some((2, Duration::from_secs(200))),
        node: None,
    };
    let mut status = Status::of(Looked {
        about: About::of_this(Some("ip-10-0-3-7".into()), Duration::from_secs(532_800), Writer::Provider),
        waits_for: None,
        sockets: vec![("/run/aws.sock".into(), Ok(()))],
        confined: Confined::Fully,
        state: Some(state),
        with_names,
    });
    status.caches.secrets.lookups = 100;
    status.caches.secrets.hits = 96;
    status.kernel = Kernel {
        release: "6.8.0".into(),
        openat2: true,
        landlock: "fully".into(),
        unique_mount_ids: true,
        swap: false,
    };
    status.warnings = warnings(&status.kernel);
    status
}

#[tokio::test(start_paused = true)]
async fn people_see_what_fails_first_and_no_names_of_secrets() {
    let served = Instant::now();
    tokio::time::advance(Duration::from_secs(41)).await;
    let volumes = || {
        vec![
            known("api-0", Some(served), None),
            known("worker-0", Some(served), Some(failure(13))),
            known("new", None, None),
        ]
    };
    let text = status(volumes(), false).text();
    let expected = "\
secretmount 0.1.0 · node ip-10-0-3-7 · up 6d4h · serving /run/aws.sock · 3 volumes, 1 failing
NAMESPACE  POD       CLASS  FILES  LAST OK  NEXT   STATE
orders     worker-0  db     3      41s ago  1m20s  failing SecretAccessDenied (13 times)
orders     new       db     0      never    -      mounting
orders     api-0     db     3      41s ago  1m20s  current
socket   /run/aws.sock serving
caches   secrets 61 (212 KiB, 96 % hits) · credentials 14 · tokens 40 · keys 2 (age 3m20s)
kernel   6.8.0 · openat2 yes · Landlock fully · unique mount ids yes
writing  by the provider
";
    assert_eq!(text, expected);
    let json = serde_json::to_string(&status(volumes(), false)).expect("serializable");
    for planted in ["prod", "planted-version"] {
        assert!(!text.contains(planted) && !json.contains(planted), "{planted} in {text} {json}");
    }
    let named = status(volumes(), true).text();
    assert!(named.contains("  failing: secret \"prod/db\" cannot be read\n"), "{named}");
    assert!(named.contains("  prod_db planted-version\n  and more: 3 files in all\n"), "{named}");
}

#[tokio::test(start_paused = true)]
async fn f80_ages_do_not_jump_with_the_clock_on_the_wall() {
    let served = Instant::now();
    tokio::time::advance(Duration::from_secs(72)).await;
    let day = Duration::from_secs(86_400);
    let now = SystemTime::now();
    let at = |wall: SystemTime| VolumeStatus::of(known("api-0", Some(served), None), Instant::now(), wall, false);
    for wall in [now, now + day, now - day] {
        let volume = at(wall);
        assert_eq!((volume.last_success_age_seconds, volume.next_call_in_seconds), (Some(72), Some(80)));
        let shown = wall.duration_since(UNIX_EPOCH).expect("after 1970").as_secs() - 72;
        assert_eq!(volume.last_success_timestamp_seconds, Some(shown));
    }
    // The driver leaves a volume alone whose directory is from the future: nobody asks, and that is seen.
    let forgotten = known("api-0", Some(served), None);
    tokio::time::advance(day).await;
    let text = status(vec![forgotten], false).text();
    assert!(text.contains("1d ago") && text.contains("overdue 23h58m"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn it_is_healthy_where_all_is_served_and_nothing_fails() {
    let good = || known("api-0", Some(Instant::now()), None);
    assert!(status(vec![good()], false).healthy && status(Vec::new(), false).healthy);
    let failing = status(vec![good(), known("b", None, Some(failure(1)))], false);
    assert!(!failing.healthy && failing.text().contains("failing SecretAccessDenied (once)"));
    assert!(failing.of_namespace("others").healthy);
    for (sockets, waiting_for) in [
        (Vec::new(), None),
        (vec![SocketStatus { path: "/a".into(), serving: false, problem: Some("gone".into()) }], None),
        (status(Vec::new(), false).sockets, Some("keys".to_owned())),
    ] {
        assert!(!Status { sockets, waiting_for, ..status(Vec::new(), false) }.is_healthy());
    }
}

#[tokio::test(start_paused = true)]
async fn f84_swap_is_warned_of_and_hostile_names_move_no_terminal() {
    let mut status = status(vec![known("api-0", None, None)], false);
    status.kernel.swap = true;
    status.warnings = warnings(&status.kernel);
    status.volumes[0].class = "\u{1b}[2Jdb\n\u{202e}".into();
    let text = status.text();
    assert!(text.contains("\nwarning  this node swaps: "), "{text}");
    assert!(text.contains("\\u{1b}[2Jdb\\u{a}\\u{202e}") && !text.contains(['\u{1b}', '\u{202e}']), "{text}");
}
