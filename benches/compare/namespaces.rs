//! A network and a view of files of this process's own, in which AWS's host names lead to it and a service account's files
//! are where a pod has them.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use rustix::mount::{MountFlags, mount, mount_bind};

/// Set for the process that has them.
const OWN: &str = "SECRETMOUNT_COMPARE_NAMESPACES";

pub fn are_own() -> bool {
    std::env::var_os(OWN).is_some()
}

/// Starts this program once more, in place of this process. Comes back only when that fails.
pub fn again() -> anyhow::Error {
    let user: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error.into(),
    };
    let mut unshare = Command::new("unshare");
    unshare.args(user).args(["--net", "--mount"]).arg(program).args(std::env::args_os().skip(1)).env(OWN, "1");
    anyhow::Error::new(unshare.exec()).context("unshare of util-linux makes the namespaces this needs")
}

/// Brings up the loopback, which is all there is of a network.
pub fn bring_up_loopback() -> anyhow::Result<()> {
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().context("ip of iproute2")?;
    anyhow::ensure!(up.success(), "the loopback does not come up");
    Ok(())
}

/// Lets all these names, and no others, lead to the loopback.
pub fn lead_home(hosts: &[String], scratch: &Path) -> io::Result<()> {
    let private = scratch.join("hosts");
    let line = |host: &str| format!("127.0.0.1 {host}\n");
    fs::write(&private, line("localhost") + &hosts.iter().map(|host| line(host)).collect::<String>())?;
    Ok(mount_bind(&private, "/etc/hosts")?)
}

/// Puts a service account's files where every client of Kubernetes looks for them.
pub fn put_service_account(token: &str, authority: &str) -> io::Result<()> {
    mount("tmpfs", "/var/run", "tmpfs", MountFlags::empty(), None)?;
    let directory = Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
    fs::create_dir_all(directory)?;
    for (file, content) in [("token", token), ("ca.crt", authority), ("namespace", "kube-system")] {
        fs::write(directory.join(file), content)?;
    }
    Ok(())
}
