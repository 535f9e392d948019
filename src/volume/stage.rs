//! A set of files in a directory that no visible name leads to yet, each with its final mode and owner.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::fd::OwnedFd;

use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown, openat2};
use rustix::io::Errno;

use super::directory::{self, confined, make_directory};
use super::write::Write;
use super::{Step as _, VolumeError};
use crate::plan::{File, Files, RelativePath};

/// Prefix of names of such directories, followed by random digits. Only we make such names.
pub const GENERATION: &str = "..generation-";

/// The visible names in the root of a volume.
pub fn tops(files: &Files) -> BTreeSet<&str> {
    files.keys().map(RelativePath::top).collect()
}

/// Writes every file into a new directory of that name.
///
/// # Errors
/// The first file that cannot be written. What is there by then stays.
pub fn stage(volume: &OwnedFd, write: &Write<'_>, generation: &OsStr) -> Result<(), VolumeError> {
    let files = write.files;
    if let Some(lack) = write.headroom.lacks(files) {
        return Err(VolumeError::NoHeadroom { lack, held: (write.held)() });
    }
    let root = make_directory(volume, generation).step("making a directory for the new set")?;
    for (path, file) in files {
        if (write.given_up)() {
            return Err(VolumeError::GivenUp);
        }
        write_file(&root, path, file).map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC | Errno::DQUOT) => {
                VolumeError::NoSpace { bytes: files.values().map(|file| file.content.len()).sum(), files: files.len() }
            }
            // The second in a user namespace that has no such user.
            Some(Errno::PERM | Errno::INVAL) if !file.owner.is_ours() => {
                VolumeError::NotOurs { path: path.to_string() }
            }
            _ => VolumeError::Io { step: "writing a file", error },
        })?;
    }
    Ok(())
}

fn write_file(root: &OwnedFd, path: &RelativePath, file: &File) -> std::io::Result<()> {
    let mut elements: Vec<&str> = path.elements().collect();
    let name = elements.pop().unwrap_or_default();
    let mut below: Option<OwnedFd> = None;
    for element in elements {
        let (parent, element) = (below.as_ref().unwrap_or(root), OsStr::new(element));
        below = Some(match make_directory(parent, element) {
            Err(Errno::EXIST) => directory::open_below(parent, element)?,
            other => other?,
        });
    }
    let parent = below.as_ref().unwrap_or(root);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat2(parent, name, flags, Mode::from_raw_mode(0o600), confined())?;
    let mut opened = std::fs::File::from(opened);
    opened.write_all(file.content.expose())?;
    // On the descriptor, where no umask applies, and before any name leads here. The mode first: it is still our file.
    fchmod(&opened, Mode::from_raw_mode(file.permission.mode()))?;
    if !file.owner.is_ours() {
        fchown(&opened, file.owner.uid.map(Uid::from_raw), file.owner.gid.map(Gid::from_raw))?;
    }
    Ok(())
}
