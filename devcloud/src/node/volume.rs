//! A tmpfs where kubelet has a pod's CSI volume, and what a container sees in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A mounted volume; unmounted when it is dropped.
#[derive(Debug)]
pub struct Volume {
    target: PathBuf,
}

/// A file as a container sees it through its visible name.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Permission and special bits.
    pub mode: u32,
    /// Inode of what the name leads to: another one was written anew.
    pub inode: u64,
    /// The bytes.
    pub content: Vec<u8>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({:04o}, {} bytes)", self.mode, self.content.len())
    }
}

impl Volume {
    pub(super) fn mount(target: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&target)?;
        mount("tmpfs", &target, "tmpfs", MountFlags::empty(), Some(c"mode=1777"))?;
        Ok(Self { target })
    }

    /// Its path on the node.
    pub fn path(&self) -> &Path {
        &self.target
    }

    /// The content of one file.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.target.join(name))
    }

    /// Every file by visible name: names that start with two dots are left out, links and directories followed.
    pub fn files(&self) -> io::Result<BTreeMap<String, Entry>> {
        let mut found = BTreeMap::new();
        walk(&self.target, "", &mut found)?;
        Ok(found)
    }

    /// Unmounts as the driver does: not lazily, so it fails while anybody has something open below.
    pub fn unmount(&self) -> io::Result<()> {
        Ok(unmount(&self.target, UnmountFlags::empty())?)
    }

    /// Mounts it again, empty, as after an unmount the next publish does.
    pub fn mount_again(&self) -> io::Result<()> {
        Ok(mount("tmpfs", &self.target, "tmpfs", MountFlags::empty(), Some(c"mode=1777"))?)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = unmount(&self.target, UnmountFlags::DETACH);
    }
}

fn walk(directory: &Path, prefix: &str, found: &mut BTreeMap<String, Entry>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if name.starts_with("..") {
            continue;
        }
        let meta = fs::metadata(entry.path())?;
        if meta.is_dir() {
            walk(&entry.path(), &format!("{name}/"), found)?;
        } else {
            let content = fs::read(entry.path())?;
            found.insert(name, Entry { mode: meta.permissions().mode() & 0o7777, inode: meta.ino(), content });
        }
    }
    Ok(())
}
