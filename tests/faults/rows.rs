//! A set of files of which every reader can tell whether it is whole.

use devcloud::DevCloud;
use devcloud::node::Class;

use crate::support::{REGION, class};

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
