//! The files that `secretmount serve` works with, by its settings and its environment.

use std::path::{Path, PathBuf};

use crate::cluster::KubernetesClient;
use crate::config::{Settings, TokenKeys};
use crate::hardening::Reach;

/// What can be known before it starts. A socket's directory, or kubelet's, must be there by then.
pub fn reach(settings: &Settings) -> Reach {
    let keys = settings.token_keys.iter().filter_map(|keys| match keys {
        TokenKeys::File(path) => Some(path.as_path()),
        TokenKeys::Url(_) => None,
    });
    let of_cluster = KubernetesClient::files_of_environment();
    let named = keys.chain(settings.policy_file.as_deref()).chain(of_cluster.iter().map(PathBuf::as_path));
    let mut change = settings.provider_volume.clone();
    if !settings.driver_writes_secrets {
        match &settings.kubelet_dir {
            Some(directory) => change.push(pods_of(directory)),
            None => change.extend(mounted_pods(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())),
        }
    }
    change.extend(settings.admin_socket.parent().map(Path::to_owned));
    Reach { read: named.flat_map(with_successors).map(Path::to_owned).collect(), change }
}

/// A file that is replaced has the same name and is another one, so there is a rule for its directory too, where it has one of
/// its own. The file itself may be a link that leads elsewhere.
fn with_successors(file: &Path) -> impl Iterator<Item = &Path> {
    let directory = file.parent().filter(|directory| directory.parent().is_some());
    [Some(file), directory].into_iter().flatten()
}

/// A node that has never had a pod has no such directory yet.
fn pods_of(kubelet_dir: &Path) -> PathBuf {
    let pods = kubelet_dir.join("pods");
    if pods.is_dir() { pods } else { kubelet_dir.to_owned() }
}

/// The directories that may turn out to be kubelet's, from the text of `proc_pid_mountinfo(5)`: without `--kubelet-dir` only a
/// `pods` that is mounted here is accepted.
fn mounted_pods(mounts: &str) -> impl Iterator<Item = PathBuf> {
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    places.filter(|place| place.ends_with("/pods")).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn reach_of(arguments: &[&str]) -> Reach {
        let command = Settings::augment_args(Command::new("serve"));
        let matches = command.get_matches_from([&["serve"], arguments].concat());
        reach(&Settings::from_arg_matches(&matches).expect("taken"))
    }

    #[test]
    fn files_that_settings_name_are_reached_with_those_that_replace_them() {
        let reach = reach_of(&["--policy-file=/etc/secretmount/policy.yaml", "--token-keys=/keys.json"]);
        assert!(
            ["/etc/secretmount", "/etc/secretmount/policy.yaml"].iter().all(|path| reach.read.contains(&path.into()))
        );
        assert!(reach.read.contains(&"/keys.json".into()), "{reach:?}");
        assert!(!reach.read.contains(&"/".into()), "not all there is: {reach:?}");
    }

    #[test]
    fn only_who_writes_reaches_volumes() {
        let kubelet = tempfile::tempdir().expect("a directory");
        let flag = format!("--kubelet-dir={}", kubelet.path().display());
        let reach_of = |arguments: &[&str]| reach_of(&[&["--admin-socket="], arguments].concat());
        assert_eq!(reach_of(&["--provider-volume=/run/a,/run/b", &flag]).change[2..], [kubelet.path()]);
        std::fs::create_dir(kubelet.path().join("pods")).expect("made");
        assert_eq!(reach_of(&["--provider-volume=/run/a", &flag]).change[1..], [kubelet.path().join("pods")]);
        let reach = reach_of(&["--provider-volume=/run/a", &flag, "--driver-writes-secrets=true"]);
        assert_eq!(reach.change, [Path::new("/run/a")]);
    }

    #[test]
    fn the_socket_of_operators_has_its_directory() {
        let reach = reach_of(&["--provider-volume=/run/a", "--driver-writes-secrets=true"]);
        assert_eq!(reach.change, [Path::new("/run/a"), Path::new("/run/secretmount")]);
    }

    #[test]
    fn kubelets_directory_is_one_that_is_mounted_where_none_is_named() {
        let mounts = "30 24 0:26 / / rw - ext4 /dev/a rw\n\
            31 30 8:1 /data/pods /var/lib/kubelet/pods rw master:1 - ext4 /dev/b rw\n\
            32 30 8:1 /x /var/lib/tripods rw - ext4 /dev/b rw\n";
        assert_eq!(mounted_pods(mounts).collect::<Vec<_>>(), [Path::new("/var/lib/kubelet/pods")]);
        assert_eq!(mounted_pods("").count(), 0);
    }
}
