//! P8, A20: two processes, and many calls, for one volume.

use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::Signal;
use tonic::Code;

use crate::rows::{names, pair_class, put_pair, until_cleared, whole};
use crate::support::{READY, REGION, World, assert_refused, class_of, needs_mounts, start};

#[tokio::test]
async fn p8_what_a_frozen_process_was_asked_for_earlier_does_not_replace_what_the_next_version_wrote() {
    needs_mounts!();
    let world = World::new().await;
    for name in ["shop/earlier", "shop/later"] {
        world.cloud.put_secret(REGION, name, name);
    }
    let volume = world.publish();
    let next = start(&world.cloud, &world.node, &[], &[]);
    let driver = next.driver(READY).await.expect("it takes the socket over");

    world.cloud.set_latency_of("GetSecretValue", Duration::from_millis(300));
    let meanwhile = async {
        world.cloud.wait_for_call("GetSecretValue").await;
        world.provider.signal(Signal::STOP).expect("frozen");
        driver.mount(&world.mount_of(&class_of(&["shop/later"]), volume.path())).await.expect("mounted");
        world.provider.signal(Signal::CONT).expect("goes on");
    };
    let earlier = class_of(&["shop/earlier"]);
    let (earlier, ()) = tokio::join!(world.mount(&earlier, &volume), meanwhile);
    assert_refused(earlier, Code::Internal, "TargetChanged", &["newer request"]);
    assert_eq!(volume.files().expect("readable").into_keys().collect::<Vec<_>>(), ["shop_later"]);
}

#[tokio::test]
async fn p8_f54_many_calls_for_one_volume_that_want_different_layouts_leave_one_whole_set() {
    needs_mounts!();
    let world = World::new().await;
    put_pair(&world.cloud, 1);
    let volume = world.publish();
    let mounts = |layouts: [&'static str; 2]| {
        let classes = layouts.map(|layout| pair_class().with("fileLayout", layout));
        (0..40).map(|number| world.mount_of(&classes[number % 2], volume.path())).collect::<Vec<_>>()
    };
    for mount in [mounts(["atomic", "files"]), mounts(["files", "atomic"])] {
        for answer in join_all(mount.iter().map(|mount| world.driver.mount(mount))).await {
            match answer {
                Ok(_) => {}
                Err(status) => assert!(status.message().starts_with("TargetChanged: "), "{status}"),
            }
        }
        assert_eq!(volume.read("whole.json").expect("readable"), whole(1).as_bytes());
        assert_eq!(volume.files().expect("readable").len(), 3);
    }
    until_cleared(&world, &volume).await;
    let (hidden, visible): (Vec<_>, Vec<_>) = names(&volume).into_iter().partition(|name| name.starts_with(".."));
    assert_eq!(visible.len(), 3, "{visible:?}");
    assert_eq!(hidden.len(), 3, "..data, a generation and the record: {hidden:?}");
}
