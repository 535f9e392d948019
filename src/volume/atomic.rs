//! The atomic layout: prepare beside it, change over in one step, then clear away.
//!
//! Whatever happens before the one rename changes nothing that a reader sees; whatever is left undone after it, the next
//! call does, also when nothing has changed by then.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, symlinkat, unlinkat};
use rustix::io::Errno;

use super::directory::{link_value, random_name, remove};
use super::leftovers::{DATA, LINK, is_generation, remove_plain, sweep, visible_link};
use super::record::Record;
use super::stage::{GENERATION, stage, tops};
use super::target::touch;
use super::write::Write;
use super::{Outcome, Step as _, VolumeError, directory};
use crate::clock;
use crate::plan::FileLayout;

/// Makes `files` the content of the volume.
///
/// The write is asked whether it is still wanted before each file and right before the rename.
///
/// # Errors
/// The first step that fails; what it had prepared is removed, and readers still see the earlier set.
pub fn replace(volume: &OwnedFd, write: &Write<'_>) -> Result<Outcome, VolumeError> {
    let files = write.files;
    let current = current_generation(volume)?;
    let record = Record::read(volume);
    let is_current = |record: &&Record| {
        record.layout == FileLayout::Atomic && Some(OsStr::new(&record.generation)) == current.as_deref()
    };
    if let Some(record) = record.as_ref().filter(is_current).filter(|record| record.has_content_of(files)) {
        Names::of(volume, Expected::There).link_all(tops(files))?;
        finish(volume, write, record)?;
        touch(volume)?;
        return Ok(Outcome::Unchanged);
    }

    let generation = random_name(GENERATION);
    let expected = if current.is_some() { Expected::There } else { Expected::Missing };
    let mut next = Record::of(files, FileLayout::Atomic, &generation.to_string_lossy()).asked(write.asked);
    next.take_over(record.as_ref());
    next.retired.retain(|_, replaced| write.stays(*replaced));
    next.retired.extend(current.and_then(|current| Some((current.into_string().ok()?, clock::since_boot()))));
    let left = change_over(Names::of(volume, expected), write, &next).inspect_err(|_| remove(volume, &generation))?;
    // From here on readers see the new set. What fails now is said, and made up for by the next call.
    Names::of(volume, Expected::There).link_all(left)?;
    finish(volume, write, &next)?;
    Ok(Outcome::Changed)
}

/// Clears away what is not of this set, and keeps the versions in the record.
fn finish(volume: &OwnedFd, write: &Write<'_>, record: &Record) -> Result<(), VolumeError> {
    let files = write.files;
    let mut kept = record.retired.clone();
    kept.retain(|_, replaced| write.stays(*replaced));
    sweep(volume, files, Some(OsStr::new(&record.generation)), &kept)?;
    let tops = tops(files);
    record.plain.iter().filter(|path| !tops.contains(path.top())).for_each(|path| remove_plain(volume, path));
    if !record.plain.is_empty() || !record.has_versions_of(files) || kept != record.retired {
        let next = Record::of(files, FileLayout::Atomic, &record.generation);
        next.asked(record.asked).retired(kept).write(volume)?;
    }
    Ok(())
}

/// Gives the top-level names that must wait until the new set can be seen.
fn change_over<'a>(
    mut names: Names<'_, 'a>,
    write: &Write<'a>,
    next: &Record,
) -> Result<BTreeSet<&'a str>, VolumeError> {
    let (volume, generation) = (names.volume, OsStr::new(&next.generation));
    stage(volume, write, generation)?;
    names
        .link_but_taken(tops(write.files))
        .and_then(|left| write.check(volume).map(|()| left))
        .and_then(|left| next.write(volume).map(|()| left))
        .and_then(|left| flip(volume, generation, write).map(|()| left))
        // Names that lead nowhere would be in the way of whoever lists the old set.
        .inspect_err(|_| names.added.iter().for_each(|name| remove(volume, OsStr::new(name))))
}

/// The one step that can be seen.
fn flip(volume: &OwnedFd, generation: &OsStr, write: &Write<'_>) -> Result<(), VolumeError> {
    let temporary = random_name(LINK);
    symlinkat(generation, volume, &temporary).step("linking the new set")?;
    write.check(volume).inspect_err(|_| {
        let _ = unlinkat(volume, &temporary, AtFlags::empty());
    })?;
    directory::replace(volume, &temporary, OsStr::new(DATA)).step("changing over to the new set")
}

/// Where `..data` leads, if that is a name a generation can have: ours, or one of the driver's or kubelet's writer.
fn current_generation(volume: &OwnedFd) -> Result<Option<OsString>, VolumeError> {
    let value = link_value(volume, OsStr::new(DATA)).step("reading ..data")?;
    Ok(value.filter(|name| is_generation(name)))
}

/// The visible names of a volume while they become links.
struct Names<'v, 'a> {
    volume: &'v OwnedFd,
    expected: Expected,
    /// Those that were not there.
    added: Vec<&'a str>,
}

/// What is looked for first. Either way every name is right in the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    There,
    Missing,
}

impl<'v, 'a> Names<'v, 'a> {
    fn of(volume: &'v OwnedFd, expected: Expected) -> Self {
        Self { volume, expected, added: Vec::new() }
    }

    /// Gives every name its link.
    fn link_all(&mut self, tops: BTreeSet<&'a str>) -> Result<(), VolumeError> {
        self.link_but_taken(tops)?.into_iter().try_for_each(|top| self.replace(top))
    }

    /// Gives every name its link, but for those that something else has, and says which. What another writer has made keeps its
    /// place until the new set can be seen, so that no reader meets a gap, also where this write comes to nothing.
    fn link_but_taken(&mut self, tops: BTreeSet<&'a str>) -> Result<BTreeSet<&'a str>, VolumeError> {
        let mut left = BTreeSet::new();
        for top in tops {
            let name = OsStr::new(top);
            let value = visible_link(name);
            let mut found = None;
            if self.expected == Expected::There {
                found = link_value(self.volume, name).step("reading a link")?;
            }
            if found.is_none() {
                match symlinkat(&value, self.volume, name) {
                    Err(Errno::EXIST) => found = link_value(self.volume, name).step("reading a link")?,
                    made => {
                        made.step("linking a name")?;
                        self.added.push(top);
                        continue;
                    }
                }
            }
            match found {
                Some(found) if found == value => {}
                _ => drop(left.insert(top)),
            }
        }
        Ok(left)
    }

    /// What has the name is replaced in one step, so that nobody meets a gap.
    fn replace(&self, top: &str) -> Result<(), VolumeError> {
        let name = OsStr::new(top);
        let temporary = random_name(LINK);
        symlinkat(visible_link(name), self.volume, &temporary).step("linking a name")?;
        directory::replace(self.volume, &temporary, name).step("linking a name")
    }
}
