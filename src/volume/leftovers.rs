//! What earlier sets, earlier writers and crashes leave in a volume.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, FileType, unlinkat};

use super::directory::{is_random_name, link_value, names, open_below, remove, type_of};
use super::record::Retired;
use super::stage::{GENERATION, tops};
use super::{Step as _, VolumeError, record};
use crate::plan::{Files, RelativePath};

pub const DATA: &str = "..data";
/// Prefix of names of links that are being made, followed by random digits. Only we make such names.
pub const LINK: &str = "..link-";

/// Most entries of a volume that are looked at: ours have far fewer, whatever else is there.
const MAX_ENTRIES: usize = 20_000;

/// Whether a generation can have that name: ours, or one of the driver's or kubelet's writer.
pub fn is_generation(name: &OsStr) -> bool {
    // kubelet's AtomicWriter: the time as "..2006_01_02_15_04_05." and random digits
    let of_atomic_writer = || {
        let rest = name.as_bytes().strip_prefix(b"..")?;
        let (time, random) = rest.split_at_checked(19)?;
        let random = random.strip_prefix(b".")?;
        let is_time = time.iter().enumerate().all(|(index, byte)| match index {
            4 | 7 | 10 | 13 | 16 => *byte == b'_',
            _ => byte.is_ascii_digit(),
        });
        (is_time && !random.is_empty() && random.iter().all(u8::is_ascii_digit)).then_some(())
    };
    is_random_name(name, GENERATION) || of_atomic_writer().is_some()
}

/// Removes what an earlier set, an earlier writer or a crash has left, and nothing whose maker is unknown.
/// `current` is the generation in use, `kept` are those that stay for a while.
pub fn sweep(volume: &OwnedFd, files: &Files, current: Option<&OsStr>, kept: &Retired) -> Result<(), VolumeError> {
    let tops = tops(files);
    for name in names(volume.as_fd(), MAX_ENTRIES).step("listing the volume")? {
        let is_kept = || name.to_str().is_some_and(|name| kept.contains_key(name));
        let stale_generation = is_generation(&name) && Some(&*name) != current && !is_kept();
        let leftover = [LINK, record::UNFINISHED].iter().any(|prefix| is_random_name(&name, prefix));
        if stale_generation || leftover || is_of_a_crashed_atomic_writer(volume, &name)? {
            remove(volume, &name);
        } else if !name.as_bytes().starts_with(b"..") && name.to_str().is_none_or(|name| !tops.contains(name)) {
            let ours =
                link_value(volume, &name).step("reading a link")?.is_some_and(|value| value == visible_link(&name));
            if ours {
                unlinkat(volume, &name, AtFlags::empty()).step("removing a name")?;
            }
        }
    }
    Ok(())
}

/// kubelet's and the driver's writer gives the next `..data` this name, and fails for ever where it is taken already.
fn is_of_a_crashed_atomic_writer(volume: &OwnedFd, name: &OsStr) -> Result<bool, VolumeError> {
    Ok(name == "..data_tmp"
        && link_value(volume, name).step("reading a link")?.is_some_and(|generation| is_generation(&generation)))
}

/// How many visible names are not of a set: somebody else's, such as what the official provider leaves where it was killed. Nobody
/// can tell those from files of a user.
pub fn strangers(volume: &OwnedFd, files: &Files) -> Result<usize, VolumeError> {
    let tops = tops(files);
    let names = names(volume.as_fd(), MAX_ENTRIES).step("listing the volume")?;
    let is_strange =
        |name: &&OsString| !name.as_bytes().starts_with(b"..") && name.to_str().is_none_or(|name| !tops.contains(name));
    Ok(names.iter().filter(is_strange).count())
}

/// What the link of a visible name says: one hop, relative, through `..data`.
pub fn visible_link(name: &OsStr) -> OsString {
    let mut value = OsString::from(DATA);
    value.push("/");
    value.push(name);
    value
}

/// Removes a plain file of ours, and the directories above it that are empty then. What cannot be removed stays.
pub fn remove_plain(volume: &OwnedFd, path: &RelativePath) {
    let mut above: Vec<&OsStr> = path.elements().map(OsStr::new).collect();
    let Some(name) = above.pop() else { return };
    let mut directories: Vec<OwnedFd> = Vec::new();
    for element in &above {
        // A link is another writer's.
        match open_below(directories.last().unwrap_or(volume), element) {
            Ok(directory) => directories.push(directory),
            Err(_) => return,
        }
    }
    let parent = directories.last().unwrap_or(volume);
    if type_of(parent, name) == Ok(Some(FileType::RegularFile)) {
        let _ = unlinkat(parent, name, AtFlags::empty());
    }
    while let (Some(name), Some(_)) = (above.pop(), directories.pop()) {
        let parent = directories.last().unwrap_or(volume);
        if unlinkat(parent, name, AtFlags::REMOVEDIR).is_err() {
            return;
        }
    }
}
