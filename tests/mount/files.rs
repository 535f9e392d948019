//! What is in the volume, and what AWS is asked for it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use devcloud::node::Volume;
use tonic::Code;

use crate::support::{World, assert_refused, class, class_of, may_chown, needs_mounts, versions};

const CLASS: &str = r#"
- objectName: shop/db
  objectType: secretsmanager
  objectAlias: db.json
  jmesPath:
    - {path: username, objectAlias: user}
    - {path: password, objectAlias: password, filePermission: "0400"}
    - {path: port, objectAlias: port}
- {objectName: shop/key, objectType: secretsmanager, filePermission: "0440"}
"#;

fn db(password: &str) -> String {
    format!(r#"{{"username": "alice", "password": "{password}", "port": 5432.0}}"#)
}

#[tokio::test]
async fn a_pod_reads_its_secrets_with_their_modes() {
    needs_mounts!();
    let world = World::new().await;
    let version = world.cloud.put_secret("eu-west-1", "shop/db", db("one")).version_id;
    world.cloud.put_secret("eu-west-1", "shop/key", vec![0, 159, 146, 150]);
    let volume = world.publish();
    let answer = world.mount(&class(CLASS), &volume).await.expect("mounted");

    let files = volume.files().expect("readable");
    let seen: Vec<_> = files.iter().map(|(name, file)| (name.as_str(), file.mode, file.content.as_slice())).collect();
    let whole = db("one");
    assert_eq!(
        seen,
        [
            ("db.json", 0o644, whole.as_bytes()),
            ("password", 0o400, b"one"),
            ("port", 0o644, b"5432.0"),
            ("shop_key", 0o440, &[0, 159, 146, 150]),
            ("user", 0o644, b"alice"),
        ]
    );
    assert!(answer.files.is_empty() && answer.error.is_none());
    let of_password = versions(&answer).into_iter().find(|(file, _)| file == "password");
    assert_eq!(of_password, Some(("password".into(), version)));
    assert_eq!(answer.object_version.len(), 5);
    // Every visible name is a relative link of one hop, for the driver's own listing follows one.
    assert_eq!(fs::read_link(volume.path().join("user")).expect("a link").to_str(), Some("..data/user"));
    assert_eq!(world.cloud.count("GetSecretValue"), 2, "one call for each distinct secret");
}

#[tokio::test]
async fn f60_nothing_is_written_when_nothing_has_changed_even_by_a_new_process() {
    needs_mounts!();
    let mut world = World::new().await;
    world.cloud.put_secret("eu-west-1", "shop/db", db("one"));
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let volume = world.publish();
    let first = world.mount(&class(CLASS), &volume).await.expect("mounted");
    let before = volume.files().expect("readable");
    for restart in [false, true] {
        if restart {
            world.provider.terminate().await.expect("ended");
            world.provider = crate::support::start(&world.cloud, &world.node, &[], &[]);
            world.driver = world.provider.driver(crate::support::READY).await.expect("serves again");
        }
        let directory = fs::File::open(volume.path()).expect("opened");
        directory.set_modified(SystemTime::UNIX_EPOCH).expect("set");
        drop(directory);
        let again = world.mount(&class(CLASS), &volume).await.expect("mounted");
        assert_eq!(versions(&first), versions(&again));
        assert_eq!(volume.files().expect("readable"), before, "same inodes");
        let touched = fs::metadata(volume.path()).and_then(|meta| meta.modified()).expect("known");
        assert_ne!(touched, SystemTime::UNIX_EPOCH, "the driver goes by the directory's time");
    }
}

#[tokio::test]
async fn a_rotation_replaces_the_whole_set_and_dropped_files_vanish() {
    needs_mounts!();
    let world = World::new().await;
    world.cloud.put_secret("eu-west-1", "shop/db", db("one"));
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let volume = world.publish();
    let first = world.mount(&class(CLASS), &volume).await.expect("mounted");
    world.cloud.put_secret("eu-west-1", "shop/db", db("two"));
    let second = world.mount(&class(CLASS), &volume).await.expect("mounted");
    assert_eq!(volume.read("password").expect("there"), b"two");
    let changed = versions(&first).into_iter().zip(versions(&second)).filter(|(old, new)| old != new).count();
    assert_eq!(changed, 4, "all files of the rotated secret and no other");

    world.mount(&class_of(&["shop/key"]), &volume).await.expect("mounted");
    assert_eq!(volume.files().expect("readable").into_keys().collect::<Vec<_>>(), ["shop_key"]);
}

#[tokio::test]
async fn sub_directories_arns_and_stages_are_read() {
    needs_mounts!();
    let world = World::new().await;
    let arn = world.cloud.put_secret("eu-west-1", "shop/cert", "old").arn;
    world.cloud.put_secret("eu-west-1", "shop/cert", "new");
    let pinned = world.cloud.put_secret("eu-west-1", "shop/pinned", "pinned").version_id;
    world.cloud.put_secret("eu-west-1", "shop/pinned", "later");
    let class = class(&format!(
        "- {{objectName: '{arn}', objectAlias: tls/current.pem}}
- {{objectName: '{arn}', objectAlias: tls/previous.pem, objectVersionLabel: AWSPREVIOUS}}
- {{objectName: shop/pinned, objectType: secretsmanager, objectVersion: {pinned}}}"
    ))
    .with("pathTranslation", "False");
    let volume = world.publish();
    world.mount(&class, &volume).await.expect("mounted");
    let files = volume.files().expect("readable");
    let seen: Vec<_> = files.iter().map(|(name, file)| (name.as_str(), file.content.as_slice())).collect();
    assert_eq!(seen, [("shop/pinned", &b"pinned"[..]), ("tls/current.pem", b"new"), ("tls/previous.pem", b"old")]);
}

#[tokio::test]
async fn f57_f58_files_belong_to_whom_the_class_says_and_links_to_root() {
    needs_mounts!();
    if !may_chown() {
        return;
    }
    let world = World::that_may_chown().await;
    world.cloud.put_secret("eu-west-1", "shop/db", db("one"));
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let owned = "- {objectName: shop/db, objectType: secretsmanager}\n\
        - {objectName: shop/key, objectType: secretsmanager, filePermission: '0400', uid: 1001}\n";
    let owners = |volume: &Volume| {
        ["shop_db", "shop_key"].map(|name| {
            let meta = fs::metadata(volume.path().join(name)).expect("there");
            (meta.uid(), meta.gid(), meta.mode() & 0o7777)
        })
    };
    let volume = world.publish();
    for layout in ["atomic", "files"] {
        let class = class(owned).with("gid", "2000").with("filePermission", "0440").with("fileLayout", layout);
        for _ in 0..2 {
            world.mount(&class, &volume).await.expect("mounted");
            assert_eq!(owners(&volume), [(0, 2000, 0o440), (1001, 2000, 0o400)], "{layout}");
        }
        for name in fs::read_dir(volume.path()).expect("listed").map(|entry| entry.expect("entry").path()) {
            let meta = fs::symlink_metadata(&name).expect("there");
            assert!(
                meta.uid() == 0 || meta.is_file(),
                "{} is a link that a sticky directory lets nobody follow",
                name.display()
            );
        }
    }
    // As the capability is missing where the class needs it.
    let without = World::new().await;
    without.cloud.put_secret("eu-west-1", "shop/key", "key");
    let refused = without.mount(&class_of(&["shop/key"]).with("gid", "2000"), &without.publish()).await;
    assert_refused(refused, Code::FailedPrecondition, "ChownForbidden", &["CHOWN", "shop_key"]);
    // Another owner alone is a change.
    let class = class(owned).with("gid", "2001").with("filePermission", "0440").with("fileLayout", "files");
    world.mount(&class, &volume).await.expect("mounted");
    assert_eq!(owners(&volume), [(0, 2001, 0o440), (1001, 2001, 0o400)]);
}

#[tokio::test]
async fn f54_plain_files_are_replaced_one_by_one_and_either_layout_follows_the_other() {
    needs_mounts!();
    let world = World::new().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let volume = world.publish();
    for (password, layout) in [("one", "files"), ("two", "files"), ("three", "atomic"), ("four", "files")] {
        world.cloud.put_secret("eu-west-1", "shop/db", db(password));
        world.mount(&class(CLASS).with("fileLayout", layout), &volume).await.expect("mounted");
        let files = volume.files().expect("readable");
        assert_eq!(files["password"].content, password.as_bytes());
        assert_eq!(files.len(), 5);
        let is_link = fs::symlink_metadata(volume.path().join("user")).expect("there").is_symlink();
        assert_eq!(is_link, layout == "atomic");
    }
}

#[tokio::test]
async fn what_the_driver_cannot_write_is_refused_where_it_writes() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    for (parameter, value) in [("fileLayout", "files"), ("uid", "1000"), ("gid", "1000")] {
        let refused = world.ask(&class_of(&["shop/key"]).with(parameter, value)).await;
        assert_refused(refused, Code::InvalidArgument, "ConflictingSettings", &[parameter, "--driver-writes-secrets"]);
    }
    world.ask(&class_of(&["shop/key"]).with("fileLayout", "atomic")).await.expect("that is what it writes");
}

#[tokio::test]
async fn a_driver_that_writes_itself_gets_the_same_files() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/db", db("one"));
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let answer = world.ask(&class(CLASS)).await.expect("answered");
    let files: Vec<_> = answer.files.iter().map(|file| (file.path.as_str(), file.mode)).collect();
    let expected = [("db.json", 0o644), ("password", 0o400), ("port", 0o644), ("shop_key", 0o440), ("user", 0o644)];
    assert_eq!(files, expected);
    assert_eq!(answer.files[1].contents, b"one");
    assert_eq!(answer.object_version.len(), 5);
}

#[tokio::test]
async fn the_mode_of_the_request_is_the_default() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    for (permission, mode) in [("256", 0o400), ("2468", 0o644)] {
        let mount = world.mount_of(&class_of(&["shop/key"]), &target).permission(permission);
        let answer = world.driver.mount(&mount).await.expect("answered");
        assert_eq!(answer.files[0].mode, mode, "special bits are never set");
    }
}

#[tokio::test]
async fn twenty_secrets_cold_take_two_rounds_of_aws() {
    let world = World::driver_writes().await;
    let names: Vec<String> = (0..20).map(|number| format!("shop/secret-{number}")).collect();
    for name in &names {
        world.cloud.put_secret("eu-west-1", name, name.as_str());
    }
    world.cloud.set_latency(Duration::from_millis(400));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.ask(&class_of(&names)).await.expect("answered");

    let calls = world.cloud.calls();
    let of = |api: &str| calls.iter().filter(|call| call.api == api).collect::<Vec<_>>();
    let (exchange, reads) = (of("AssumeRoleWithWebIdentity"), of("GetSecretValue"));
    assert_eq!((exchange.len(), reads.len()), (1, 20));
    assert!(reads.iter().all(|read| Some(read.started) >= exchange[0].finished), "credentials first");
    let first_answer = reads.iter().filter_map(|read| read.finished).min().expect("answered");
    assert!(reads.iter().all(|read| read.started < first_answer), "then all reads in one round");
    let most = reads.iter().map(|read| read.in_flight).max().expect("some");
    assert!(most >= 16, "{most} reads in flight together");
}

#[tokio::test]
async fn a_secret_in_many_files_is_asked_for_once_and_a_restart_sees_what_aws_holds_now() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/db", db("one"));
    let class = class(
        "- {objectName: shop/db, objectType: secretsmanager, objectAlias: a}
- {objectName: shop/db, objectType: secretsmanager, objectAlias: b}
- {objectName: shop/db, objectType: secretsmanager, objectAlias: c, objectVersionLabel: AWSCURRENT}",
    );
    world.ask(&class).await.expect("answered");
    assert_eq!(world.cloud.count("GetSecretValue"), 1);
    world.cloud.put_secret("eu-west-1", "shop/db", db("two"));
    let answer = world.ask(&class).await.expect("answered");
    assert!(answer.files.iter().all(|file| file.contents == db("two").as_bytes()));
}

#[tokio::test]
async fn a_class_without_a_region_is_read_in_the_region_of_the_node() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let mut class = class_of(&["shop/key"]);
    class.parameters.remove("region");
    for _ in 0..2 {
        world.ask(&class).await.expect("answered");
    }
    assert_eq!(world.cloud.count("get nodes"), 1, "learned once");
    let call = world.cloud.calls().into_iter().find(|call| call.api == "GetSecretValue").expect("asked");
    assert_eq!(call.region.as_deref(), Some("eu-west-1"));
}

#[tokio::test]
async fn the_stage_is_always_sent_so_that_a_condition_on_it_works() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let allow = devcloud::Allow {
        action: "secretsmanager:GetSecretValue".into(),
        resource: "*".into(),
        version_stage: Some("AWSCURRENT".into()),
    };
    let mut role = devcloud::Role::new(crate::support::ROLE).trust_service_account("shop", "web");
    role.allow.push(allow);
    world.cloud.put_role(role);
    world.ask(&class_of(&["shop/key"])).await.expect("allowed");
}
