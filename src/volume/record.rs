//! `..secretmount`: what this provider wrote last, so that "nothing has changed" needs no file read back.
//!
//! Readable by root only. It holds versions, modes and salted digests, no value: without the salt, which is in the same
//! file, a digest would tell a guesser when he has guessed a short secret. A record that is missing, that does not name the
//! generation in use, or that others could have written is not believed; then the set is written once more.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;

use aws_lc_rs::digest::{Context, SHA256};
use rustix::fs::{FileType, Mode, OFlags, fchmod, fstat, openat2};
use serde::{Deserialize, Serialize};

use super::directory::{confined, random_name};
use super::{Step as _, VolumeError, directory};
use crate::plan::{File, FileLayout, Files, Owner, RelativePath};
use crate::random;

pub const NAME: &str = "..secretmount";
/// Names of records that are being written.
pub const UNFINISHED: &str = "..secretmount-";

/// A record of 2,000 files with long paths has about this size.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    #[serde(default)]
    pub layout: FileLayout,
    /// The directory that holds the set, of the atomic layout.
    pub generation: String,
    salt: String,
    /// When the set was asked for, in nanoseconds since the node's start.
    #[serde(default)]
    pub asked: u64,
    files: BTreeMap<RelativePath, Entry>,
    /// Plain files of ours that are of no set any more, or of one that is only half in its place.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub plain: BTreeSet<RelativePath>,
    /// Generations that no name leads to any more, by when that began, in nanoseconds since the node's start.
    #[serde(default, skip_serializing_if = "Retired::is_empty")]
    pub retired: Retired,
}

pub type Retired = BTreeMap<String, u64>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    version: String,
    size: usize,
    mode: u32,
    #[serde(default, skip_serializing_if = "Owner::is_ours")]
    owner: Owner,
    digest: String,
}

impl Record {
    const FORMAT: u32 = 1;

    /// The record of `files` in a layout, as the generation of that name.
    pub fn of(files: &Files, layout: FileLayout, generation: &str) -> Self {
        let salt = random::hex::<16>();
        let entries = files.iter().map(|(path, file)| (path.clone(), Entry::of(file, &salt))).collect();
        let (generation, plain, retired) = (generation.into(), BTreeSet::new(), Retired::new());
        Self { format: Self::FORMAT, layout, generation, salt, asked: 0, files: entries, plain, retired }
    }

    pub fn asked(self, asked: u64) -> Self {
        Self { asked, ..self }
    }

    pub fn retired(self, retired: Retired) -> Self {
        Self { retired, ..self }
    }

    /// The record of a volume between two sets of plain files. It is of no content.
    pub fn unfinished(files: &Files, before: Option<&Self>) -> Self {
        let mut record = Self::of(&Files::new(), FileLayout::Files, "");
        record.take_over(before);
        record.plain.extend(files.keys().cloned());
        record
    }

    /// Plain files of ours that there may be.
    pub fn plain_names(&self) -> BTreeSet<RelativePath> {
        let of_set = self.files.keys().filter(|_| self.layout == FileLayout::Files);
        self.plain.iter().chain(of_set).cloned().collect()
    }

    /// Remembers what an earlier record knows to be there, until it is gone.
    pub fn take_over(&mut self, before: Option<&Self>) {
        self.plain.extend(before.into_iter().flat_map(Self::plain_names));
        self.retired.extend(before.into_iter().flat_map(|before| before.retired.clone()));
    }

    /// Whether what is recorded is what `files` would become, but for versions.
    pub fn has_content_of(&self, files: &Files) -> bool {
        self.files.len() == files.len()
            && files.iter().all(|(path, file)| {
                self.files.get(path).is_some_and(|entry| {
                    // The digest last: it costs a pass over the content.
                    entry.size == file.content.len()
                        && entry.mode == file.permission.mode()
                        && entry.owner == file.owner
                        && entry.digest == digest(file, &self.salt)
                })
            })
    }

    /// Whether it is of just these plain files, with their versions, and of nothing that has still to go.
    pub fn is_whole_of(&self, files: &Files) -> bool {
        self.layout == FileLayout::Files
            && self.plain.is_empty()
            && self.has_content_of(files)
            && self.has_versions_of(files)
    }

    /// Whether the versions are those of `files` too.
    pub fn has_versions_of(&self, files: &Files) -> bool {
        files.iter().all(|(path, file)| self.files.get(path).is_some_and(|entry| entry.version == file.version))
    }

    /// The record in a volume, if there is one that can be believed.
    pub fn read(volume: &OwnedFd) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat2(volume, NAME, flags, Mode::empty(), confined()).ok()?;
        let stat = fstat(&file).ok()?;
        let ours = stat.st_uid == rustix::process::geteuid().as_raw()
            && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_mode & 0o777 == 0o600
            && stat.st_nlink == 1
            && u64::try_from(stat.st_size).is_ok_and(|size| size <= MAX_BYTES);
        if !ours {
            return None;
        }
        let mut text = String::new();
        std::fs::File::from(file).take(MAX_BYTES).read_to_string(&mut text).ok()?;
        serde_json::from_str::<Self>(&text).ok().filter(|record| record.format == Self::FORMAT)
    }

    /// Puts the record in the place of an earlier one, in one step.
    pub fn write(&self, volume: &OwnedFd) -> Result<(), VolumeError> {
        let step = "writing the record";
        let text = serde_json::to_vec(self).map_err(|error| VolumeError::Io { step, error: error.into() })?;
        let name = random_name(UNFINISHED);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat2(volume, &name, flags, Mode::from_raw_mode(0o600), confined()).step(step)?;
        fchmod(&file, Mode::from_raw_mode(0o600)).step(step)?;
        std::fs::File::from(file).write_all(&text).map_err(|error| VolumeError::Io { step, error })?;
        directory::replace(volume, &name, OsStr::new(NAME)).step(step)
    }
}

impl Entry {
    fn of(file: &File, salt: &str) -> Self {
        Self {
            version: file.version.clone(),
            size: file.content.len(),
            mode: file.permission.mode(),
            owner: file.owner,
            digest: digest(file, salt),
        }
    }
}

fn digest(file: &File, salt: &str) -> String {
    let mut context = Context::new(&SHA256);
    context.update(salt.as_bytes());
    context.update(file.content.expose());
    hex(context.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
