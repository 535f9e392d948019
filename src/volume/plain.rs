//! The plain layout: a file of its own for every name, replaced one by one, for programs that follow no links or watch a
//! single file.
//!
//! Each file changes as a whole, the set does not: a reader may meet new ones beside old ones. Everything is staged first, so
//! that what can fail has failed before the first file changes. What a crash leaves in between, the next call finishes.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, openat2, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use super::directory::{confined, link_value, names, open_below, random_name, remove, type_of};
use super::leftovers::{DATA, is_generation, remove_plain, sweep};
use super::record::Record;
use super::stage::{GENERATION, stage};
use super::target::touch;
use super::write::Write;
use super::{Outcome, Step as _, VolumeError, record};
use crate::clock;
use crate::plan::{File, FileLayout, Files, RelativePath};

/// Makes `files` the content of the volume.
///
/// The write is asked whether it is still wanted before each file is prepared and right before the first one is changed.
///
/// # Errors
/// The first step that fails. Until the first file is changed what was prepared is removed; after that the next call goes on.
pub fn replace(volume: &OwnedFd, write: &Write<'_>) -> Result<Outcome, VolumeError> {
    let files = write.files;
    let record = Record::read(volume);
    let is_it = |record: &Record| record.layout == FileLayout::Files && record.has_content_of(files);
    if record.as_ref().is_some_and(is_it) && is_whole(volume, files)? {
        clear_away(volume, write, record.as_ref())?;
        touch(volume)?;
        return Ok(Outcome::Unchanged);
    }

    let generation = random_name(GENERATION);
    let staged = stage(volume, write, &generation)
        .and_then(|()| write.check(volume))
        .and_then(|()| outdate(volume))
        // From here on no record says that everything is as it was, but which names are ours.
        .and_then(|()| Record::unfinished(files, record.as_ref()).asked(write.asked).write(volume));
    staged.inspect_err(|_| remove(volume, &generation))?;
    let root = open_below(volume, &generation).step("opening the new set")?;
    place_all(&root, volume)?;
    drop(root);
    clear_away(volume, write, record.as_ref())?;
    Ok(Outcome::Changed)
}

/// Makes the set that `..data` leads to one that the driver's writer does not take for its own. It stays there for readers on their
/// way, and the driver's writer, which takes plain files away first, would make no links where it finds in it what it is to write:
/// then every name would be gone for good (*seen*). A name that is in no set of it makes it write, and what it then removes in the
/// volume is the record, which is out of date by then.
fn outdate(volume: &OwnedFd) -> Result<(), VolumeError> {
    let generation = link_value(volume, OsStr::new(DATA)).step("reading ..data")?.filter(|name| is_generation(name));
    let Some(generation) = generation.and_then(|name| open_below(volume, &name).ok()) else { return Ok(()) };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat2(&generation, record::NAME, flags, Mode::RUSR, confined()) {
        Ok(_) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).step("outdating the old set"),
    }
}

/// Clears away what is not of this set, and says in the record that it is whole, where the one before does not say so.
fn clear_away(volume: &OwnedFd, write: &Write<'_>, before: Option<&Record>) -> Result<(), VolumeError> {
    let files = write.files;
    for path in before.into_iter().flat_map(Record::plain_names).filter(|path| !files.contains_key(path)) {
        remove_plain(volume, &path);
    }
    let mut kept = before.map(|before| before.retired.clone()).unwrap_or_default();
    // No name leads through it any more.
    if let Some(generation) = link_value(volume, OsStr::new(DATA)).step("reading ..data")? {
        let generation = Some(generation).filter(|name| is_generation(name)).and_then(|name| name.into_string().ok());
        let replaced = generation.map(|name| *kept.entry(name).or_insert_with(clock::since_boot));
        if !replaced.is_some_and(|replaced| write.stays(replaced)) {
            unlinkat(volume, DATA, AtFlags::empty()).step("removing ..data")?;
        }
    }
    kept.retain(|_, replaced| write.stays(*replaced));
    sweep(volume, files, None, &kept)?;
    match Record::read(volume) {
        Some(record) if record.is_whole_of(files) && record.retired == kept => Ok(()),
        _ => Record::of(files, FileLayout::Files, "").asked(write.asked).retired(kept).write(volume),
    }
}

/// Moves everything in one directory to the same names in another.
fn place_all(from: &OwnedFd, to: &OwnedFd) -> Result<(), VolumeError> {
    names(from, usize::MAX - 2).step("listing the new set")?.iter().try_for_each(|name| place(from, to, name))
}

/// No reader by name meets a gap, whatever has the name.
fn place(from: &OwnedFd, to: &OwnedFd, name: &OsStr) -> Result<(), VolumeError> {
    let is_directory = type_of(from, name).step("looking at the new set")? == Some(FileType::Directory);
    // Watches on a directory, and whoever has opened it, go on seeing what changes in it.
    if is_directory && let Ok(there) = open_below(to, name) {
        return place_all(&open_below(from, name).step("opening the new set")?, &there);
    }
    match renameat(from, name, to, name) {
        Err(Errno::ISDIR | Errno::NOTDIR) => renameat_with(from, name, to, name, RenameFlags::EXCHANGE),
        renamed => renamed,
    }
    .step("putting a file in its place")
}

/// Whether every file is in its place, as far as can be told without reading it.
fn is_whole(volume: &OwnedFd, files: &Files) -> Result<bool, VolumeError> {
    for (path, file) in files {
        if !is_there(volume, path, file).step("looking at a file")? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_there(volume: &OwnedFd, path: &RelativePath, file: &File) -> rustix::io::Result<bool> {
    let mut elements: Vec<&OsStr> = path.elements().map(OsStr::new).collect();
    let Some(name) = elements.pop() else { return Ok(false) };
    let mut below: Option<OwnedFd> = None;
    for element in elements {
        match open_below(below.as_ref().unwrap_or(volume), element) {
            Ok(directory) => below = Some(directory),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
    match statat(below.as_ref().unwrap_or(volume), name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_mode & 0o7777 == file.permission.mode()
            && u64::try_from(stat.st_size) == u64::try_from(file.content.len())
            && file.owner.uid.is_none_or(|uid| uid == stat.st_uid)
            && file.owner.gid.is_none_or(|gid| gid == stat.st_gid)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}
