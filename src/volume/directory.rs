//! Small operations below an open directory: nothing here follows a link or leaves that directory.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, mkdirat, openat2, readlinkat, renameat,
    renameat_with, statat, unlinkat,
};
use rustix::io::{Errno, Result};

use crate::random;

/// Deepest tree that is removed; ours have the levels of a path and a little.
const MAX_DEPTH: usize = 32;

/// A name that nobody can have planted.
pub fn random_name(prefix: &str) -> OsString {
    format!("{prefix}{}", random::hex::<8>()).into()
}

/// Whether a name is one that [`random_name`] makes with this prefix.
pub fn is_random_name(name: &OsStr, prefix: &str) -> bool {
    let digits = name.as_bytes().strip_prefix(prefix.as_bytes());
    digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

/// Opens a directory below, on the same file system.
pub fn open_below(directory: impl AsFd, path: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(directory, path, flags, Mode::empty(), confined())
}

pub fn confined() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV
}

/// Makes a directory that everybody may enter, whatever the umask is, and opens it.
pub fn make_directory(parent: impl AsFd, name: &OsStr) -> Result<OwnedFd> {
    mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
    let made = open_below(&parent, name)?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
    Ok(made)
}

/// What a link says, or `None` where there is no link of that name.
pub fn link_value(directory: impl AsFd, name: &OsStr) -> Result<Option<OsString>> {
    match readlinkat(directory, name, Vec::new()) {
        Ok(value) => Ok(Some(OsString::from_vec(value.into_bytes()))),
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The type of an entry, or `None` where there is none.
pub fn type_of(directory: impl AsFd, name: &OsStr) -> Result<Option<FileType>> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Puts a file or link in the place of whatever has the name, in one step. A directory in the way has the temporary name for
/// a moment, and is removed. When it fails, the temporary name is gone too.
pub fn replace(directory: impl AsFd, temporary: &OsStr, name: &OsStr) -> Result<()> {
    let renamed = match renameat(&directory, temporary, &directory, name) {
        Err(Errno::ISDIR) => renameat_with(&directory, temporary, &directory, name, RenameFlags::EXCHANGE)
            .inspect(|()| remove(&directory, temporary)),
        other => other,
    };
    renamed.inspect_err(|_| {
        let _ = unlinkat(&directory, temporary, AtFlags::empty());
    })
}

/// The names in a directory, `.` and `..` left out, at most `limit`.
pub fn names(directory: impl AsFd, limit: usize) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)?.take(limit.saturating_add(2)) {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// Removes an entry with all that is below it, as far as possible: what cannot be removed now is left for the next time.
/// Follows no link and enters no other file system.
pub fn remove(directory: impl AsFd, name: &OsStr) {
    remove_at(&directory, name, 0);
}

fn remove_at(directory: &impl AsFd, name: &OsStr, depth: usize) {
    if unlinkat(directory, name, AtFlags::empty()).is_ok() || depth > MAX_DEPTH {
        return;
    }
    if let Ok(below) = open_below(directory, name) {
        for entry in names(&below, usize::MAX - 2).unwrap_or_default() {
            remove_at(&below, &entry, depth.saturating_add(1));
        }
    }
    let _ = unlinkat(directory, name, AtFlags::REMOVEDIR);
}
