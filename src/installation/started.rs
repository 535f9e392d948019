//! What containers are started with, as far as their DaemonSet says it.

use crate::cluster::objects::{Container, DaemonSet, PodSpec, VolumeMount};
use crate::config::parse_bool;

/// The version in an image's name: its tag.
pub fn version_of(image: &str) -> Option<&str> {
    let name = image.split('@').next().unwrap_or(image);
    let (_, tag) = name.rsplit_once(':')?;
    (!tag.is_empty() && !tag.contains('/')).then_some(tag)
}

/// The last part of an image's name, without tag and digest.
pub fn repository_of(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split(':').next().unwrap_or(last)
}

/// A container with the pod that it is in.
#[derive(Clone, Copy)]
pub struct Started<'a> {
    pub container: &'a Container,
    pod: &'a PodSpec,
}

impl<'a> Started<'a> {
    /// The first container of a DaemonSet's pods that is as wanted.
    pub fn of(set: &'a DaemonSet, is_wanted: impl Fn(&Container) -> bool) -> Option<Self> {
        let pod = &set.spec.template.spec;
        pod.containers.iter().find(|container| is_wanted(container)).map(|container| Self { container, pod })
    }

    /// What a flag or its variable says, each part of a list by itself. Flags beat variables. Empty where neither is there.
    pub fn values(&self, flag: &str, variable: &str) -> Vec<&'a str> {
        let mut given = Vec::new();
        let mut arguments = self.container.args.iter();
        while let Some(argument) = arguments.next() {
            let Some(named) = argument.trim_start_matches('-').strip_prefix(flag).filter(|_| argument.starts_with('-'))
            else {
                continue;
            };
            match named.strip_prefix('=') {
                Some(value) => given.push(value),
                None if named.is_empty() => given.extend(arguments.next().map(String::as_str)),
                None => {}
            }
        }
        if given.is_empty() {
            let of_variable = self.container.env.iter().filter(|one| one.name == variable);
            given.extend(of_variable.filter_map(|one| one.value.as_deref()));
        }
        given.into_iter().flat_map(|value| value.split(',')).filter(|value| !value.is_empty()).collect()
    }

    /// Whether a variable or a flag gives a value, even where that comes from somewhere else.
    pub fn is_set(&self, flag: &str, variable: &str) -> bool {
        let from_elsewhere = |one: &&crate::cluster::objects::Variable| one.name == variable && one.value.is_none();
        !self.values(flag, variable).is_empty() || self.container.env.iter().any(|one| from_elsewhere(&one))
    }

    /// A switch, whose value needs the `=`.
    pub fn is_on(&self, flag: &str, variable: &str) -> bool {
        let arguments = self.container.args.iter().rev();
        let of_flag = arguments.filter_map(|argument| {
            match argument.strip_prefix('-')?.trim_start_matches('-').strip_prefix(flag)? {
                "" => Some(true),
                value => parse_bool(value.strip_prefix('=')?).ok(),
            }
        });
        let variables = self.container.env.iter().filter(|one| one.name == variable);
        let of_variable = variables.filter_map(|one| parse_bool(one.value.as_deref()?).ok());
        of_flag.chain(of_variable).next().unwrap_or_default()
    }

    /// The directory of the node that is mounted in the container under a path.
    pub fn on_node(&self, path: &str) -> Option<&'a str> {
        let wanted = path.trim_end_matches('/');
        self.mounts().find(|(mount, _)| mount.mount_path.trim_end_matches('/') == wanted).map(|(_, host)| host)
    }

    /// What of the node is mounted there, with its place on the node.
    pub fn mounts(&self) -> impl Iterator<Item = (&'a VolumeMount, &'a str)> {
        let pod = self.pod;
        self.container.volume_mounts.iter().filter_map(move |mount| {
            let volume = pod.volumes.iter().find(|volume| volume.name == mount.name)?;
            Some((mount, volume.host_path.as_ref()?.path.trim_end_matches('/')))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_have_names_and_versions() {
        for (image, repository, version) in [
            ("registry.example/csi-secrets-store/driver:v1.6.0", "driver", Some("v1.6.0")),
            ("registry.local:5000/secretmount", "secretmount", None),
            ("registry.local:5000/secretmount:0.1.0@sha256:00", "secretmount", Some("0.1.0")),
            ("secretmount@sha256:00", "secretmount", None),
            ("", "", None),
        ] {
            assert_eq!((repository_of(image), version_of(image)), (repository, version), "{image}");
        }
    }

    #[test]
    fn flags_are_read_as_the_process_reads_them() {
        let set = json!({"spec": {"template": {"spec": {"containers": [{
            "name": "x",
            "args": ["serve", "-provider-volume=/a,/b", "--provider-volume", "/c", "--driver-writes-secrets", "--provider-volume-x=/d"],
            "env": [
                {"name": "AWS_REGION", "value": "eu-west-1"},
                {"name": "SECRETMOUNT_PROVIDER_VOLUME", "value": "/e"},
                {"name": "SECRETMOUNT_KUBELET_DIR", "valueFrom": {}},
            ],
        }]}}}});
        let set: DaemonSet = serde_json::from_value(set).expect("a DaemonSet");
        let started = Started::of(&set, |_| true).expect("one");
        assert_eq!(started.values("provider-volume", "SECRETMOUNT_PROVIDER_VOLUME"), ["/a", "/b", "/c"]);
        assert_eq!(started.values("aws-region", "AWS_REGION"), ["eu-west-1"]);
        assert!(started.is_on("driver-writes-secrets", "SECRETMOUNT_DRIVER_WRITES_SECRETS"));
        assert!(!started.is_on("landlock", "SECRETMOUNT_LANDLOCK"));
        assert!(started.is_set("kubelet-dir", "SECRETMOUNT_KUBELET_DIR"));
        assert!(!started.is_set("policy-file", "SECRETMOUNT_POLICY_FILE"));
    }
}
