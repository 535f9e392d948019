//! The atomic layout: prepare beside it, change over in one step, then clear away.
//!
//! Whatever happens before the one rename changes nothing that a reader sees; whatever is left undone after it, the next
//! call does, also when nothing has changed by then.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, Mode, OFlags, fchmod, openat2, symlinkat, unlinkat};
use rustix::io::Errno;

use super::directory::{ASIDE, confined, is_random_name, link_value, make_directory, names, random_name, remove};
use super::record::{self, Record};
use super::target::touch;
use super::{Outcome, Step as _, VolumeError, directory};
use crate::plan::{File, Files, RelativePath};

const DATA: &str = "..data";
/// Prefixes of names that only we make. Each is followed by random digits.
const GENERATION: &str = "..generation-";
const LINK: &str = "..link-";

/// Most entries of a volume that are looked at: ours have far fewer, whatever else is there.
const MAX_ENTRIES: usize = 20_000;

/// Makes `files` the content of the volume.
///
/// `given_up` is asked before each file and right before the rename; once it says yes nothing more is written.
///
/// # Errors
/// The first step that fails; what it had prepared is removed, and readers still see the earlier set.
pub fn replace(volume: &OwnedFd, files: &Files, given_up: &dyn Fn() -> bool) -> Result<Outcome, VolumeError> {
    if given_up() {
        return Err(VolumeError::GivenUp);
    }
    let current = current_generation(volume)?;
    let record = Record::read(volume).filter(|record| Some(OsStr::new(&record.generation)) == current.as_deref());
    if let Some(record) = record.filter(|record| record.has_content_of(files)) {
        if !record.has_versions_of(files) {
            Record::of(files, &record.generation).write(volume)?;
        }
        Names::of(volume, Expected::There).link_all(tops(files))?;
        sweep(volume, files, OsStr::new(&record.generation))?;
        touch(volume)?;
        return Ok(Outcome::Unchanged);
    }

    let generation = random_name(GENERATION);
    let expected = if current.is_some() { Expected::There } else { Expected::Missing };
    let names = Names::of(volume, expected);
    let left = change_over(names, files, &generation, given_up).inspect_err(|_| remove(volume, &generation))?;
    // From here on readers see the new set. What fails now is said, and made up for by the next call.
    Names::of(volume, Expected::There).link_all(left)?;
    sweep(volume, files, &generation)?;
    Ok(Outcome::Changed)
}

/// Gives the top-level names that must wait until the new set can be seen.
fn change_over<'a>(
    mut names: Names<'_, 'a>,
    files: &'a Files,
    generation: &OsStr,
    given_up: &dyn Fn() -> bool,
) -> Result<BTreeSet<&'a str>, VolumeError> {
    let volume = names.volume;
    stage(volume, files, generation, given_up)?;
    names
        .link_but_files(tops(files))
        .and_then(|left| Record::of(files, &generation.to_string_lossy()).write(volume).map(|()| left))
        .and_then(|left| flip(volume, generation, given_up).map(|()| left))
        // Names that lead nowhere would be in the way of whoever lists the old set.
        .inspect_err(|_| names.added.iter().for_each(|name| remove(volume, OsStr::new(name))))
}

/// The one step that can be seen.
fn flip(volume: &OwnedFd, generation: &OsStr, given_up: &dyn Fn() -> bool) -> Result<(), VolumeError> {
    let temporary = random_name(LINK);
    symlinkat(generation, volume, &temporary).step("linking the new set")?;
    if given_up() {
        let _ = unlinkat(volume, &temporary, AtFlags::empty());
        return Err(VolumeError::GivenUp);
    }
    directory::replace(volume, &temporary, OsStr::new(DATA)).step("changing over to the new set")
}

/// Writes every file, with its final mode, into a directory that no name leads to yet.
fn stage(volume: &OwnedFd, files: &Files, generation: &OsStr, given_up: &dyn Fn() -> bool) -> Result<(), VolumeError> {
    let root = make_directory(volume, generation).step("making a directory for the new set")?;
    for (path, file) in files {
        if given_up() {
            return Err(VolumeError::GivenUp);
        }
        write_file(&root, path, file).map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC | Errno::DQUOT) => {
                VolumeError::NoSpace { bytes: files.values().map(|file| file.content.len()).sum(), files: files.len() }
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
    // On the descriptor, where no umask applies, and before any name leads here.
    fchmod(&opened, Mode::from_raw_mode(file.permission.mode()))?;
    Ok(())
}

/// Where `..data` leads, if that is a name a generation can have: ours, or one of the driver's or kubelet's writer.
fn current_generation(volume: &OwnedFd) -> Result<Option<OsString>, VolumeError> {
    let value = link_value(volume, OsStr::new(DATA)).step("reading ..data")?;
    Ok(value.filter(|name| is_generation(name)))
}

fn is_generation(name: &OsStr) -> bool {
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
        self.link_but_files(tops)?.into_iter().try_for_each(|top| self.replace(top))
    }

    /// Gives every name its link, but for those that something else than a link has, and says which. Plain files of another
    /// writer keep their place until the new set can be seen, so that no reader meets a gap.
    fn link_but_files(&mut self, tops: BTreeSet<&'a str>) -> Result<BTreeSet<&'a str>, VolumeError> {
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
                Some(_) => self.replace(top)?,
                None => drop(left.insert(top)),
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

/// Removes what an earlier set, an earlier writer or a crash has left, and nothing whose maker is unknown.
fn sweep(volume: &OwnedFd, files: &Files, current: &OsStr) -> Result<(), VolumeError> {
    let tops = tops(files);
    for name in names(volume.as_fd(), MAX_ENTRIES).step("listing the volume")? {
        let stale_generation = is_generation(&name) && name != current;
        let leftover = [LINK, ASIDE, record::UNFINISHED].iter().any(|prefix| is_random_name(&name, prefix));
        if stale_generation || leftover {
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

fn tops(files: &Files) -> BTreeSet<&str> {
    files.keys().map(RelativePath::top).collect()
}

fn visible_link(name: &OsStr) -> OsString {
    let mut value = OsString::from(DATA);
    value.push("/");
    value.push(name);
    value
}
