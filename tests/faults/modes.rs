//! Mounts at the same time do not get each other's settings.

use std::os::unix::fs::PermissionsExt as _;

use futures_util::future::join_all;

use crate::support::{REGION, World, class_of, mount_for, needs_mounts};

#[tokio::test]
async fn forty_mounts_at_once_have_each_the_mode_that_was_asked_for() {
    needs_mounts!();
    let world = World::new().await;
    world.cloud.put_secret(REGION, "shop/key", "k");
    let mounts: Vec<_> = (0..40_u32)
        .map(|number| {
            let pod = world.newcomer();
            let volume = world.node.publish(&pod, "secrets").expect("a tmpfs");
            // One of the two in the class, the other as the driver's default, which is decimal.
            let (class, permission, mode) = match number % 2 {
                0 => (class_of(&["shop/key"]).with("filePermission", "0400"), "420", 0o400),
                _ => (class_of(&["shop/key"]), "420", 0o644),
            };
            let mount = mount_for(&world.cloud, &pod, &class, volume.path()).permission(permission);
            (volume, mount, mode)
        })
        .collect();
    for answer in join_all(mounts.iter().map(|(_, mount, _)| world.driver.mount(mount))).await {
        answer.expect("mounted");
    }
    let mode = |path| std::fs::metadata(path).expect("there").permissions().mode() & 0o7777;
    let right = mounts.iter().filter(|(volume, _, expected)| mode(volume.path().join("shop_key")) == *expected);
    assert_eq!(right.count(), 40);
}
