//! A set of files of which every reader can tell whether it is whole, and the volume that it is in.

use std::fs;
use std::time::Duration;

use devcloud::DevCloud;
use devcloud::node::{Class, Volume};

use crate::support::{REGION, World, class};

pub const SECRET: &str = "shop/pair";

/// Three files of one secret, one of them in a directory.
pub fn pair_class() -> Class {
    class(
        "- objectName: shop/pair\n  objectType: secretsmanager\n  objectAlias: whole.json\n  jmesPath:\n    \
         - {path: user, objectAlias: user}\n    - {path: password, objectAlias: tls_password, filePermission: '0400'}\n",
    )
}

/// The secret's next value, of a length of its own so that a part of it is not taken for the whole.
pub fn put_pair(cloud: &DevCloud, number: usize) {
    cloud.put_secret(REGION, SECRET, whole(number));
}

pub fn whole(number: usize) -> String {
    let (user, password) = (value("user", number), value("password", number));
    format!(r#"{{"user": "{user}", "password": "{password}"}}"#)
}

pub fn value(name: &str, number: usize) -> String {
    format!("{name}-{number}-{}", "x".repeat(number % 50))
}

/// The number of a value, if it is one and whole.
pub fn number_of(name: &str, value: &str) -> Option<usize> {
    let number = value.strip_prefix(name)?.strip_prefix('-')?.split('-').next()?.parse().ok()?;
    (value == self::value(name, number)).then_some(number)
}

/// Names in the root of a volume, hidden ones too.
pub fn names(volume: &Volume) -> Vec<String> {
    let entries = fs::read_dir(volume.path()).expect("listed").map(|entry| entry.expect("an entry").file_name());
    entries.map(|name| name.into_string().expect("UTF-8")).collect()
}

/// Mounts the set again and again until what it has replaced is gone: the first mount a second after that clears it away.
pub async fn until_cleared(world: &World, volume: &Volume) {
    let cleared = async {
        while names(volume).iter().filter(|name| name.starts_with("..generation-")).count() > 1 {
            world.mount(&pair_class(), volume).await.expect("mounted");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), cleared).await.expect("what was replaced goes");
}

/// Nothing of the provider holds it. What other tests of this process start holds what is open here until it has become
/// another program, and nobody tells when that is: so it is tried again, for two seconds.
pub async fn unmount(volume: &Volume) {
    for _ in 0..100 {
        if volume.unmount().is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    volume.unmount().expect("nothing holds it");
}
