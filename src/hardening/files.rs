//! Files that can be reached from now on.
//!
//! A confused or subverted process still runs as root with the node's directories in it; Landlock leaves it those that it
//! works with. What it may see of the kernel's it needs to know itself: its mounts, its memory limit.
//! <https://docs.kernel.org/userspace-api/landlock.html>

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags, path_beneath_rules,
};

/// The newest interface that this program knows. Of an older one all that it offers is used.
const KNOWN: ABI = ABI::V6;

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// Neither devices nor FIFOs, and nothing to execute. `Refer` is a rename from one directory to another.
const CHANGE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | MakeSym | MakeSock | RemoveFile | RemoveDir | Refer
});

/// What the system's libraries read: authorities, names of hosts, what the dynamic linker loads for them, and what the kernel
/// says of this process. Tokens of a pod's service account are below `/var/run/secrets`.
const OF_THE_SYSTEM: [&str; 27] = [
    "/etc/ca-certificates",
    "/etc/certs",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/openssl",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/lib",
    "/lib64",
    "/opt/etc/ssl",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/etc/openssl",
    "/usr/local/share/ca-certificates",
    "/usr/local/ssl",
    "/usr/share/ca-certificates",
    "/usr/share/pki",
    "/var/run/secrets",
];

/// Variables that name files or directories of authorities, the latter parted by colons.
const OF_AUTHORITIES: [&str; 3] = ["SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_CA_BUNDLE"];

/// What a process works with, beside what the system's libraries read. What is not there is passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Files and directories to read, with everything below.
    pub read: Vec<PathBuf>,
    /// Directories to write in, with everything below, and with what is mounted there later.
    pub change: Vec<PathBuf>,
}

/// How much of it the kernel does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confined {
    /// All that this program knows.
    Fully,
    /// What this older kernel knows.
    Partly,
    /// It has no Landlock, or does not let this process use it.
    Not,
}

impl Display for Confined {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fully => "fully",
            Self::Partly => "partly",
            Self::Not => "not",
        })
    }
}

/// From now on this thread, and all that it starts, reach nothing else. Files that are open stay so.
///
/// # Errors
/// When the kernel has Landlock and refuses all the same.
pub fn confine(reach: &Reach) -> Result<Confined, RulesetError> {
    let variables = OF_AUTHORITIES.iter().filter_map(std::env::var_os);
    let of_authorities: Vec<PathBuf> =
        variables.flat_map(|value| std::env::split_paths(&value).collect::<Vec<_>>()).collect();
    let of_the_system = OF_THE_SYSTEM.iter().map(Path::new);
    let read =
        of_the_system.chain(of_authorities.iter().map(PathBuf::as_path)).chain(reach.read.iter().map(PathBuf::as_path));
    let RestrictionStatus { ruleset, landlock, .. } = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rules(path_beneath_rules(read, READ))?
        .add_rules(path_beneath_rules(&reach.change, CHANGE))?
        .restrict_self()?;
    Ok(match (ruleset, landlock) {
        (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) | (RulesetStatus::NotEnforced, _) => {
            Confined::Not
        }
        (RulesetStatus::PartiallyEnforced, _) => Confined::Partly,
        (RulesetStatus::FullyEnforced, _) => Confined::Fully,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_is_not_named_cannot_be_reached_and_what_is_can_be_worked_with() {
        let place = tempfile::tempdir().expect("a directory");
        let [read, change, other] = ["read", "change", "other"].map(|name| {
            let directory = place.path().join(name);
            fs::create_dir(&directory).expect("made");
            fs::write(directory.join("file"), name).expect("written");
            directory
        });
        let reach = Reach { read: vec![read.clone(), "/not/there".into()], change: vec![change.clone()] };
        // It is for this thread, and ends with it.
        let thread = std::thread::spawn(move || {
            let confined = confine(&reach).expect("no reason to refuse");
            if confined == Confined::Not {
                eprintln!("SKIPPED: this kernel has no Landlock");
                return;
            }
            let denied = |result: std::io::Result<()>| {
                assert_eq!(result.expect_err("denied").kind(), ErrorKind::PermissionDenied)
            };
            assert_eq!(fs::read_to_string(read.join("file")).expect("read"), "read");
            denied(fs::write(read.join("file"), "x"));
            denied(fs::read(other.join("file")).map(drop));
            denied(fs::read_dir(&other).map(drop));
            denied(fs::write(other.join("new"), "x"));
            denied(fs::read("/etc/passwd").map(drop));
            denied(fs::rename(change.join("file"), other.join("file")));
            // What the volume and the socket are made of.
            fs::create_dir(change.join("set")).expect("made");
            fs::write(change.join("set/new"), "x").expect("written");
            fs::rename(change.join("set/new"), change.join("new")).expect("moved");
            symlink("new", change.join("link")).expect("linked");
            drop(UnixListener::bind(change.join("socket")).expect("bound"));
            fs::remove_dir_all(change.join("set")).expect("removed");
            assert!(fs::read_to_string("/proc/self/mountinfo").is_ok());
        });
        thread.join().expect("as expected");
    }
}
