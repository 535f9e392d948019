//! The files to check: those that are named, and those in directories that are.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Most bytes of one file: some times what etcd stores of an object.
const MAX_BYTES: u64 = 8 * 1024 * 1024;
/// Most files that are found in directories, and how deep those may stand in each other.
const MAX_FILES: usize = 20_000;
const MAX_DEPTH: usize = 64;

/// One text to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Stdin,
    File(PathBuf),
}

/// What could not be read, and why.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct Unreadable {
    pub path: PathBuf,
    pub problem: String,
}

impl Unreadable {
    pub fn name(&self) -> String {
        named(&self.path)
    }
}

impl Input {
    /// As messages name it. One that does not look like a path is made to, for readers of a log that take other
    /// beginnings for something else.
    pub fn name(&self) -> String {
        match self {
            Self::Stdin => "<stdin>".into(),
            Self::File(path) => named(path),
        }
    }

    /// The whole text.
    ///
    /// # Errors
    /// It cannot be read, has too many bytes, or is not UTF-8.
    pub fn read(&self) -> Result<String, String> {
        let mut bytes = Vec::new();
        let read = match self {
            Self::Stdin => std::io::stdin().lock().take(MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes),
            Self::File(path) => {
                File::open(path).and_then(|file| file.take(MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes))
            }
        };
        read.map_err(|error| format!("this cannot be read: {error}"))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(format!("this has more than {MAX_BYTES} bytes, which is the limit"));
        }
        String::from_utf8(bytes).map_err(|error| {
            format!("this is not UTF-8: there is another byte behind the first {}", error.utf8_error().valid_up_to())
        })
    }
}

fn named(path: &Path) -> String {
    let name = path.display().to_string();
    let is_path = name.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_'));
    if is_path { name } else { format!("./{name}") }
}

/// All inputs, in the order in which they are named and that of the alphabet within directories; and what could not be
/// looked into.
pub fn inputs(paths: &[PathBuf]) -> (Vec<Input>, Vec<Unreadable>) {
    let mut walk = Walk { found: Vec::new(), unreadable: Vec::new(), entered: HashSet::new(), is_full: false };
    for path in paths {
        match fs::metadata(path) {
            _ if path.as_os_str() == "-" => walk.found.push(Input::Stdin),
            Ok(metadata) if metadata.is_dir() => walk.directory(path, 0),
            // One that is not there says so when it is read.
            Ok(_) | Err(_) => walk.found.push(Input::File(path.clone())),
        }
    }
    (walk.found, walk.unreadable)
}

struct Walk {
    found: Vec<Input>,
    unreadable: Vec<Unreadable>,
    /// Device and inode of every directory on the way, for links that lead back.
    entered: HashSet<(u64, u64)>,
    is_full: bool,
}

impl Walk {
    fn directory(&mut self, path: &Path, depth: usize) {
        let id = match fs::metadata(path) {
            Ok(metadata) => (metadata.dev(), metadata.ino()),
            Err(error) => return self.cannot(path, &error),
        };
        if depth > MAX_DEPTH || !self.entered.insert(id) {
            return;
        }
        let mut entries = match fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => entries,
            Err(error) => return self.cannot(path, &error),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let path = entry.path();
            let is_manifest = path.extension().is_some_and(|extension| {
                ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
            });
            match fs::metadata(&path) {
                _ if is_hidden => {}
                Ok(metadata) if metadata.is_dir() => self.directory(&path, depth.saturating_add(1)),
                Ok(metadata) if metadata.is_file() && is_manifest => self.file(path),
                Err(error) if is_manifest => self.cannot(&path, &error),
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn file(&mut self, path: PathBuf) {
        if self.found.len() < MAX_FILES {
            self.found.push(Input::File(path));
        } else if !std::mem::replace(&mut self.is_full, true) {
            let problem = format!("{MAX_FILES} files are the limit; this one and those after it are not looked at");
            self.unreadable.push(Unreadable { path, problem });
        }
    }

    fn cannot(&mut self, path: &Path, error: &std::io::Error) {
        let problem = format!("this cannot be read: {error}");
        self.unreadable.push(Unreadable { path: path.to_owned(), problem });
    }
}
