//! What happens to a volume: writes, writes that are given up, and things that somebody else puts into it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use secretmount::plan::{File, FileLayout, FilePermission, Files, Owner};
use secretmount::volume::{Outcome, OwnDirectory};

/// No name is the parent of another, as in every plan.
const NAMES: [&str; 6] = ["a", "b", "c/x", "c/y", "d/e/f", "g"];

/// Names that somebody else may take.
const PLANTED: [&str; 10] = [
    "a",
    "c",
    "c/x",
    "d",
    "stranger",
    "..data",
    "..data_tmp",
    "..secretmount",
    "..generation-0123456789abcdef",
    "..2026_01_02_03_04_05.1234567890",
];

/// Each step is one byte that says what, and one that says which. After every write that was not given up, all of its set can be
/// read, twice the same write changes nothing, and a tree outside is as it was.
pub fn volume_ops(input: &[u8]) {
    let place = tempfile::tempdir().expect("a directory");
    let (volume, canary) = (place.path().join("volume"), place.path().join("canary"));
    fs::create_dir(&volume).expect("made");
    fs::create_dir(&canary).expect("made");
    fs::write(canary.join("bird"), "sings").expect("written");

    let mut planted = false;
    for step in input.chunks_exact(2).take(24) {
        let [what, which] = [step[0], step[1]];
        match what % 4 {
            0 | 1 => write(&volume, what, which),
            2 => give_up(&volume, what, which, planted),
            _ => {
                plant(&volume, what >> 2, PLANTED[usize::from(which) % PLANTED.len()]);
                planted = true;
            }
        }
        assert_eq!(fs::read_to_string(canary.join("bird")).expect("there"), "sings");
        assert_eq!(fs::read_dir(&canary).expect("listed").count(), 1);
    }
}

fn layout(what: u8) -> FileLayout {
    if what & 4 == 0 { FileLayout::Atomic } else { FileLayout::Files }
}

/// Which names is a bit for each, and at least one.
fn set(what: u8, which: u8) -> Files {
    let names =
        NAMES.iter().enumerate().filter(|(place, _)| which & (1 << place) != 0 || *place == 5 && which & 63 == 0);
    let file = |name: &str| File {
        permission: FilePermission::from_mode(if which & 64 == 0 { 0o644 } else { 0o400 }).0,
        owner: Owner::default(),
        content: format!("{name} {}", what >> 3).into(),
        version: (what >> 3).to_string(),
    };
    names.map(|(_, name)| (name.parse().expect("a path"), file(name))).collect()
}

fn write(volume: &Path, what: u8, which: u8) {
    let (set, own) = (set(what, which), OwnDirectory::at(volume.into()));
    own.replace(&set, layout(what), &|| false).expect("written");
    assert_eq!(own.replace(&set, layout(what), &|| false).expect("looked at"), Outcome::Unchanged);
    for (path, file) in &set {
        let path = volume.join(path.as_str());
        assert_eq!(fs::read(&path).expect("readable"), file.content.expose(), "{}", path.display());
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, file.permission.mode());
    }
    let ours =
        names(volume).into_iter().filter(|name| name.starts_with("..generation-") || name.starts_with("..link-"));
    assert_eq!(ours.count(), usize::from(layout(what) == FileLayout::Atomic), "{:?}", names(volume));
}

/// Whoever reads by name has what there was before. What somebody else has taken away may be there again.
fn give_up(volume: &Path, what: u8, which: u8, planted: bool) {
    let (before, left) = (read(volume), Cell::new(which % 8));
    let given_up = || left.replace(left.get().saturating_sub(1)) == 0;
    let set = set(what, which);
    match OwnDirectory::at(volume.into()).replace(&set, layout(what), &given_up) {
        Ok(_) => assert!(set.iter().all(|(path, file)| {
            fs::read(volume.join(path.as_str())).is_ok_and(|content| content == file.content.expose())
        })),
        Err(_) => {
            let mut after = read(volume);
            after.retain(|name, _| !planted || before.contains_key(name));
            assert_eq!(after, before, "a write that was given up has changed something");
        }
    }
}

/// What can be read by the names of sets.
fn read(volume: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    NAMES.iter().filter_map(|name| Some((*name, fs::read(volume.join(name)).ok()?))).collect()
}

fn names(volume: &Path) -> Vec<String> {
    let entries = fs::read_dir(volume).expect("listed").map(|entry| entry.expect("an entry").file_name());
    entries.map(|name| name.into_string().expect("UTF-8")).collect()
}

fn plant(volume: &Path, kind: u8, name: &str) {
    let path = volume.join(name);
    if !path.starts_with(volume) || path.parent().is_none_or(|parent| !parent.is_dir() || parent.is_symlink()) {
        return;
    }
    let _ = fs::remove_file(&path);
    // Whatever is below is the volume's own: links are removed and not followed.
    let _ = fs::remove_dir_all(&path);
    let planted = match kind % 6 {
        0 => fs::write(&path, "planted"),
        1 => fs::create_dir(&path),
        2 => symlink("../canary", &path),
        3 => symlink("..generation-0123456789abcdef", &path),
        4 => fs::create_dir(&path).and_then(|()| symlink("../../canary", path.join("a"))),
        _ => Ok(()),
    };
    planted.expect("planted");
}
