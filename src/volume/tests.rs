//! The layout on a plain directory; what needs a mounted tmpfs stands in `tests/`.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::headroom::Headroom;
use super::record::Record;
use super::write::Write;
use super::*;
use crate::clock;
use crate::plan::{File, FileLayout, FilePermission, Files, Owner};
use crate::sensitive::SecretBytes;

/// A volume to write into, opened for every write as a mount does.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("directory"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn open(&self) -> OwnedFd {
        fs::File::open(self.path()).expect("opened").into()
    }

    /// In the atomic layout.
    fn replace(&self, files: &Files) -> Result<Outcome, VolumeError> {
        self.write(files, FileLayout::Atomic)
    }

    fn write(&self, files: &Files, layout: FileLayout) -> Result<Outcome, VolumeError> {
        self.write_until(files, layout, usize::MAX)
    }

    /// Nobody wants it any more when that is asked so often.
    fn write_until(&self, files: &Files, layout: FileLayout, moment: usize) -> Result<Outcome, VolumeError> {
        let asked = AtomicUsize::new(0);
        let given_up = || asked.fetch_add(1, Ordering::Relaxed) >= moment;
        OwnDirectory::at(self.path().into()).replace(files, layout, &given_up)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// What a reader sees: every name that does not start with two dots, directories walked, with mode and content.
    fn visible(&self) -> BTreeMap<String, (u32, String)> {
        fn walk(at: &Path, prefix: &str, found: &mut BTreeMap<String, (u32, String)>) {
            for entry in fs::read_dir(at).expect("listed") {
                let entry = entry.expect("entry");
                let name = entry.file_name().into_string().expect("UTF-8");
                if prefix.is_empty() && name.starts_with("..") {
                    continue;
                }
                let name = format!("{prefix}{name}");
                let meta = fs::metadata(entry.path()).unwrap_or_else(|error| panic!("{name} leads nowhere: {error}"));
                if meta.is_dir() {
                    walk(&entry.path(), &format!("{name}/"), found);
                } else {
                    let content = fs::read_to_string(entry.path()).expect("text");
                    found.insert(name, (meta.permissions().mode() & 0o7777, content));
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(self.path(), "", &mut found);
        found
    }

    /// Names in the root that start with two dots.
    fn hidden(&self) -> Vec<String> {
        let names = fs::read_dir(self.path()).expect("listed").map(|entry| entry.expect("entry").file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().expect("UTF-8")).collect();
        names.retain(|name| name.starts_with(".."));
        names.sort();
        names
    }

    /// Exactly these files can be seen, and nothing else of ours is there.
    fn assert_holds(&self, files: &Files) {
        self.assert_shows(files);
        let hidden = self.hidden();
        assert_eq!(hidden.len(), 3, "..data, ..generation-x, ..secretmount and nothing else: {hidden:?}");
    }

    fn assert_shows(&self, files: &Files) {
        let expected: BTreeMap<_, _> = files
            .iter()
            .map(|(path, file)| {
                let content = String::from_utf8(file.content.expose().to_vec()).expect("text");
                (path.to_string(), (file.permission.mode(), content))
            })
            .collect();
        assert_eq!(self.visible(), expected);
    }
}

fn files(entries: &[(&str, &str)]) -> Files {
    let file = |content: &str| File {
        permission: FilePermission::from_mode(0o640).0,
        owner: Owner::default(),
        content: SecretBytes::from(content.to_owned()),
        version: format!("version-{}", content.len()),
    };
    entries.iter().map(|(path, content)| (path.parse().expect("valid"), file(content))).collect()
}

#[test]
fn a_set_appears_with_its_modes_below_one_hop_links() {
    let scratch = Scratch::new();
    let set = files(&[("user", "alice"), ("tls/key.pem", "key"), ("tls/deep/cert.pem", "cert")]);
    assert_eq!(scratch.replace(&set).expect("written"), Outcome::Changed);
    scratch.assert_holds(&set);
    assert_eq!(fs::read_link(scratch.path().join("tls")).expect("a link"), Path::new("..data/tls"));
    let record = fs::metadata(scratch.path().join("..secretmount")).expect("a record");
    assert_eq!(record.permissions().mode() & 0o777, 0o600);
    assert!(!scratch.read("..secretmount").contains("alice"));
}

#[test]
fn an_equal_set_is_not_written_again_but_touched() {
    let scratch = Scratch::new();
    let set = files(&[("user", "alice"), ("password", "one")]);
    scratch.replace(&set).expect("written");
    let inode = || fs::metadata(scratch.path().join("user")).expect("there").ino();
    let before = inode();
    let old = std::time::SystemTime::UNIX_EPOCH;
    fs::File::open(scratch.path()).expect("opened").set_modified(old).expect("set");
    assert_eq!(scratch.replace(&set).expect("looked at"), Outcome::Unchanged);
    assert_eq!(inode(), before);
    assert_ne!(fs::metadata(scratch.path()).expect("there").modified().expect("known"), old);
}

#[test]
fn dropped_and_renamed_files_vanish() {
    let scratch = Scratch::new();
    scratch.replace(&files(&[("a", "1"), ("b/c", "2"), ("d", "3")])).expect("written");
    let set = files(&[("b", "4"), ("d/e", "5")]);
    assert_eq!(scratch.replace(&set).expect("written"), Outcome::Changed);
    scratch.assert_holds(&set);
}

#[test]
fn another_mode_or_version_is_a_change_of_its_own_kind() {
    let scratch = Scratch::new();
    let mut set = files(&[("a", "1")]);
    scratch.replace(&set).expect("written");
    let inode = || fs::metadata(scratch.path().join("a")).expect("there").ino();
    let before = inode();
    set.values_mut().for_each(|file| file.version = "another".into());
    assert_eq!(scratch.replace(&set).expect("noted"), Outcome::Unchanged, "same bytes are not written again");
    assert_eq!(inode(), before);
    assert!(scratch.read("..secretmount").contains("another"));
    set.values_mut().for_each(|file| file.permission = FilePermission::from_mode(0o400).0);
    assert_eq!(scratch.replace(&set).expect("written"), Outcome::Changed);
    scratch.assert_holds(&set);
}

#[test]
fn a_write_that_is_given_up_at_any_moment_leaves_the_old_set() {
    given_up_at_any_moment(FileLayout::Atomic);
    given_up_at_any_moment(FileLayout::Files);
}

fn given_up_at_any_moment(layout: FileLayout) {
    let old = files(&[("a", "old"), ("b", "old")]);
    let new = files(&[("a", "new"), ("c", "new"), ("d", "new")]);
    for moment in 0.. {
        let scratch = Scratch::new();
        scratch.write(&old, layout).expect("written");
        match scratch.write_until(&new, layout, moment) {
            Ok(_) => {
                assert!(moment > new.len(), "it was asked before each file and before the rename");
                break;
            }
            Err(error) => assert!(matches!(error, VolumeError::GivenUp), "{error}"),
        }
        scratch.assert_shows(&old);
        scratch.write(&new, layout).expect("the next one repairs");
        scratch.assert_shows(&new);
    }
}

#[test]
fn f49_a_missing_link_is_repaired_even_when_nothing_changed() {
    let scratch = Scratch::new();
    let set = files(&[("a", "1"), ("b", "2")]);
    scratch.replace(&set).expect("written");
    fs::remove_file(scratch.path().join("a")).expect("removed");
    fs::create_dir(scratch.path().join("..generation-0123456789abcdef")).expect("left over");
    symlink("..data/gone", scratch.path().join("gone")).expect("left over");
    symlink("x", scratch.path().join("..link-0123456789abcdef")).expect("left over");
    assert_eq!(scratch.replace(&set).expect("repaired"), Outcome::Unchanged);
    scratch.assert_holds(&set);
}

#[test]
fn f51_f52_names_of_another_writer_are_taken_over() {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("file"), "official").expect("planted");
    fs::create_dir(scratch.path().join("directory")).expect("planted");
    fs::write(scratch.path().join("directory/x"), "x").expect("planted");
    symlink("nowhere", scratch.path().join("link")).expect("planted");
    fs::write(scratch.path().join("stranger"), "kept").expect("planted");
    let set = files(&[("file", "1"), ("directory", "2"), ("link", "3")]);
    scratch.replace(&set).expect("written");
    assert_eq!(scratch.read("stranger"), "kept");
    fs::remove_file(scratch.path().join("stranger")).expect("removed");
    scratch.assert_holds(&set);
}

#[test]
fn f52_a_link_of_somebody_else_leads_where_it_led_until_the_new_set_can_be_seen() {
    let scratch = Scratch::new();
    scratch.replace(&files(&[("user", "alice")])).expect("written");
    fs::write(scratch.path().join("elsewhere"), "theirs").expect("planted");
    symlink("elsewhere", scratch.path().join("password")).expect("planted");
    let set = files(&[("user", "bob"), ("password", "ours")]);
    for moment in 0.. {
        match scratch.write_until(&set, FileLayout::Atomic, moment) {
            Ok(_) => break,
            Err(_) => assert_eq!((scratch.read("user"), scratch.read("password")), ("alice".into(), "theirs".into())),
        }
    }
    assert_eq!((scratch.read("user"), scratch.read("password")), ("bob".into(), "ours".into()));
}

#[test]
fn f54_plain_files_stand_for_themselves_and_each_layout_takes_over_from_the_other() {
    let scratch = Scratch::new();
    let one = files(&[("user", "alice"), ("tls/key", "1"), ("tls/cert", "2"), ("dropped", "x"), ("gone/deep/y", "y")]);
    let two = files(&[("user", "bob"), ("tls/key", "3"), ("new/z", "z")]);
    for (from, to) in [
        (FileLayout::Files, FileLayout::Files),
        (FileLayout::Files, FileLayout::Atomic),
        (FileLayout::Atomic, FileLayout::Files),
    ] {
        scratch.write(&one, from).expect("written");
        scratch.assert_shows(&one);
        assert_eq!(scratch.write(&two, to).expect("written"), Outcome::Changed);
        scratch.assert_shows(&two);
        let record = || fs::metadata(scratch.path().join("..secretmount")).expect("a record").ino();
        let before = record();
        assert_eq!(scratch.write(&two, to).expect("looked at"), Outcome::Unchanged);
        assert_eq!(record(), before, "nothing is written where nothing has changed");
        let is_link = fs::symlink_metadata(scratch.path().join("user")).expect("there").is_symlink();
        assert_eq!(is_link, to == FileLayout::Atomic);
        let hidden = scratch.hidden();
        assert_eq!(hidden.len(), if is_link { 3 } else { 1 }, "{hidden:?}");
    }
}

#[test]
fn f55_a_set_that_stays_behind_plain_files_is_not_one_that_the_drivers_writer_takes_for_its_own() {
    let scratch = Scratch::new();
    let set = files(&[("user", "alice")]);
    scratch.replace(&set).expect("written");
    let generation = fs::canonicalize(scratch.path().join("..data")).expect("a generation");
    let volume = scratch.open();
    let (headroom, grace) = (Headroom::default(), Duration::from_secs(3_600));
    let write = Write {
        files: &set,
        layout: FileLayout::Files,
        asked: clock::since_boot(),
        headroom: &headroom,
        held: &Held::default,
        grace,
        given_up: &|| false,
    };
    write.run(&volume).expect("written");
    // Its writer writes where the old set has a name that the new one has not, and then removes that name in the volume.
    assert!(generation.join("..secretmount").exists() && scratch.path().join("..secretmount").exists());
    assert_eq!(scratch.write(&set, FileLayout::Files).expect("looked at"), Outcome::Unchanged);
    assert!(!generation.exists());
}

#[test]
fn two_thousand_files_are_one_set_in_either_layout() {
    let names: Vec<String> = (0..2_000).map(|number| format!("directory-{}/file-{number}", number % 7)).collect();
    let set = |value| files(&names.iter().map(|name| (name.as_str(), value)).collect::<Vec<_>>());
    let scratch = Scratch::new();
    for (value, layout) in
        [("1", FileLayout::Files), ("2", FileLayout::Files), ("3", FileLayout::Atomic), ("4", FileLayout::Files)]
    {
        let set = set(value);
        assert_eq!(scratch.write(&set, layout).expect("written"), Outcome::Changed);
        assert_eq!(scratch.write(&set, layout).expect("looked at"), Outcome::Unchanged);
        scratch.assert_shows(&set);
    }
    scratch.write(&files(&[("one", "5")]), FileLayout::Files).expect("written");
    scratch.assert_shows(&files(&[("one", "5")]));
}

#[test]
fn f54_a_directory_of_plain_files_stays_the_same_directory() {
    let scratch = Scratch::new();
    scratch.write(&files(&[("tls/key", "1"), ("tls/old", "1")]), FileLayout::Files).expect("written");
    let inode = || fs::metadata(scratch.path().join("tls")).expect("there").ino();
    let before = inode();
    let set = files(&[("tls/key", "2"), ("tls/new", "2")]);
    scratch.write(&set, FileLayout::Files).expect("written");
    assert_eq!(inode(), before, "whoever watches it goes on seeing what changes");
    scratch.assert_shows(&set);
}

#[test]
fn f49_a_plain_file_that_somebody_has_touched_is_put_back() {
    let scratch = Scratch::new();
    let set = files(&[("a", "1"), ("b/c", "2")]);
    scratch.write(&set, FileLayout::Files).expect("written");
    let spoil: [&dyn Fn(&Path); 4] = [
        &|path| fs::remove_file(path).expect("removed"),
        &|path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("changed"),
        &|path| fs::write(path, "longer").expect("changed"),
        &|path| {
            fs::remove_file(path).expect("removed");
            symlink("/etc/passwd", path).expect("planted");
        },
    ];
    for (name, spoil) in ["a", "b/c"].iter().flat_map(|name| spoil.iter().map(move |spoil| (name, spoil))) {
        spoil(&scratch.path().join(name));
        assert_eq!(scratch.write(&set, FileLayout::Files).expect("put back"), Outcome::Changed);
        scratch.assert_shows(&set);
    }
}

#[test]
fn p8_what_was_asked_for_later_stays_whoever_wrote_it() {
    for layout in [FileLayout::Atomic, FileLayout::Files] {
        let scratch = Scratch::new();
        let (first, second) = (files(&[("a", "first"), ("b", "1")]), files(&[("a", "second")]));
        let asked = clock::since_boot();
        scratch.write(&second, layout).expect("another process was asked later and was faster");
        let late = Write {
            files: &first,
            layout,
            asked,
            headroom: &Headroom::default(),
            held: &Held::default,
            grace: Duration::ZERO,
            given_up: &|| false,
        }
        .run(&scratch.open());
        assert!(matches!(late, Err(VolumeError::Outdated)), "{late:?}");
        scratch.assert_shows(&second);
        scratch.write(&first, layout).expect("asked for anew");
        scratch.assert_shows(&first);
    }
}

#[test]
fn p2_whoever_is_on_his_way_to_a_file_of_the_old_set_gets_there() {
    let scratch = Scratch::new();
    let (one, two) = (files(&[("a", "1"), ("b", "1")]), files(&[("a", "2")]));
    let write = |files, layout, grace| {
        let headroom = Headroom::default();
        Write {
            files,
            layout,
            asked: clock::since_boot(),
            headroom: &headroom,
            held: &Held::default,
            grace,
            given_up: &|| false,
        }
        .run(&scratch.open())
        .expect("written")
    };
    let long = Duration::from_secs(3_600);
    write(&one, FileLayout::Atomic, long);
    let on_his_way = fs::canonicalize(scratch.path().join("..data")).expect("a generation");
    for (layout, files) in [(FileLayout::Atomic, &two), (FileLayout::Files, &two), (FileLayout::Atomic, &one)] {
        write(files, layout, long);
        scratch.assert_shows(files);
        assert_eq!(fs::read_to_string(on_his_way.join("b")).expect("still there"), "1");
        write(files, layout, long);
        assert_eq!(fs::read_to_string(on_his_way.join("b")).expect("also after a refresh without a change"), "1");
    }
    write(&one, FileLayout::Atomic, Duration::ZERO);
    scratch.assert_holds(&one);
    write(&one, FileLayout::Atomic, long);
    write(&two, FileLayout::Files, long);
    write(&two, FileLayout::Files, Duration::ZERO);
    assert_eq!(scratch.hidden(), ["..secretmount"]);
}

#[test]
fn f53_a_generation_of_the_drivers_writer_is_taken_over() {
    let scratch = Scratch::new();
    let generation = "..2026_01_02_03_04_05.123456789";
    fs::create_dir(scratch.path().join(generation)).expect("planted");
    fs::write(scratch.path().join(generation).join("a"), "driver").expect("planted");
    symlink(generation, scratch.path().join("..data")).expect("planted");
    symlink("..data/a", scratch.path().join("a")).expect("planted");
    let set = files(&[("a", "ours")]);
    assert_eq!(scratch.replace(&set).expect("written"), Outcome::Changed);
    scratch.assert_holds(&set);
}

#[test]
fn a19_a_planted_data_link_leads_nowhere_and_deletes_nothing() {
    let canary = tempfile::tempdir().expect("directory");
    fs::write(canary.path().join("bird"), "sings").expect("planted");
    let scratch = Scratch::new();
    let set = files(&[("a", "1")]);
    for value in [canary.path().to_str().expect("UTF-8"), "../../../..", "..", "."] {
        let _ = fs::remove_file(scratch.path().join("..data"));
        symlink(value, scratch.path().join("..data")).expect("planted");
        let generation = scratch.path().join("..generation-00000000000000aa");
        fs::create_dir_all(&generation).expect("planted");
        symlink(canary.path(), generation.join("escape")).expect("planted");
        assert_eq!(scratch.replace(&set).expect("written"), Outcome::Changed);
        scratch.assert_holds(&set);
        assert_eq!(fs::read_to_string(canary.path().join("bird")).expect("alive"), "sings");
    }
}

#[test]
fn a_record_that_others_could_have_written_is_not_believed() {
    let scratch = Scratch::new();
    let set = files(&[("a", "1")]);
    scratch.replace(&set).expect("written");
    let record = scratch.path().join("..secretmount");
    fs::set_permissions(&record, fs::Permissions::from_mode(0o666)).expect("set");
    assert!(Record::read(&scratch.open()).is_none());
    assert_eq!(scratch.replace(&set).expect("written once more"), Outcome::Changed);
    for text in ["", "{}", "not JSON", r#"{"format":2,"generation":"x","salt":"","files":{}}"#] {
        fs::write(&record, text).expect("planted");
        assert!(Record::read(&scratch.open()).is_none(), "{text}");
    }
    fs::remove_file(&record).expect("removed");
    symlink("/etc/passwd", &record).expect("planted");
    assert!(Record::read(&scratch.open()).is_none());
    assert_eq!(scratch.replace(&set).expect("written once more"), Outcome::Changed);
    scratch.assert_holds(&set);
}

#[test]
fn only_the_pods_own_volume_is_a_target() {
    let uid = "0b6e52a1-0000-4000-8000-000000000001";
    let good = format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~csi/secrets/mount");
    assert_eq!(TargetPath::parse(&good, uid).expect("a volume").volume(), "secrets");
    for bad in [
        good.replace(uid, "0b6e52a1-0000-4000-8000-000000000002"),
        good.replace("/mount", ""),
        good.replace("/mount", "/mount/x"),
        good.replace("kubernetes.io~csi", "kubernetes.io~empty-dir"),
        good.replace("secrets", ".."),
        good.replace("/var", "var"),
        good.replace("/pods", "/pods/.."),
        "/mnt/secrets-store".into(),
        String::new(),
    ] {
        let error = TargetPath::parse(&bad, uid).expect_err(&bad);
        assert_eq!(error.reason(), Reason::TargetUnexpected, "{bad}");
    }
}

#[test]
fn what_is_no_mounted_tmpfs_is_refused_and_left_alone() {
    let root = tempfile::tempdir().expect("directory");
    let uid = "0b6e52a1-0000-4000-8000-000000000001";
    let target = root.path().join("pods").join(uid).join("volumes/kubernetes.io~csi/secrets/mount");
    let path = TargetPath::parse(target.to_str().expect("UTF-8"), uid).expect("a volume");
    let error = PodTarget::find(path.clone(), Some(root.path())).expect_err("nothing there");
    assert_eq!(error.reason(), Reason::TargetUnexpected);
    fs::create_dir_all(&target).expect("made");
    let error = PodTarget::find(path.clone(), Some(root.path())).expect_err("not mounted");
    assert_eq!(error.reason(), Reason::TargetNotTmpfs);
    assert!(error.to_string().contains("HostToContainer"), "{error}");
    let error = PodTarget::find(path.clone(), None).expect_err("its pods directory is not mounted here");
    assert!(error.to_string().contains("--kubelet-dir"), "{error}");
    let error = PodTarget::find(path, Some(Path::new("/elsewhere"))).expect_err("another kubelet");
    assert_eq!(error.reason(), Reason::TargetUnexpected);
    assert_eq!(fs::read_dir(&target).expect("listed").count(), 0);
}

/// One step of what happens to a volume.
#[derive(Debug, Clone)]
enum Event {
    Write(Vec<(&'static str, u8)>, FileLayout),
    GiveUp(Vec<(&'static str, u8)>, FileLayout, usize),
    Plant(&'static str, u8),
}

fn event() -> impl Strategy<Value = Event> {
    // No name is the parent of another, as in every plan.
    let name = prop_oneof![Just("a"), Just("b"), Just("c/x"), Just("c/y"), Just("d/e/f")];
    let set = || proptest::collection::vec((name.clone(), 0..3_u8), 1..5);
    let planted = prop_oneof![
        Just("a"),
        Just("c"),
        Just("..data"),
        Just("..secretmount"),
        Just("..data_tmp"),
        Just("..generation-0123456789abcdef"),
    ];
    prop_oneof![
        4 => (set(), layout()).prop_map(|(set, layout)| Event::Write(set, layout)),
        2 => (set(), layout(), 0..6_usize).prop_map(|(set, layout, moment)| Event::GiveUp(set, layout, moment)),
        1 => (planted, 0..4_u8).prop_map(|(name, kind)| Event::Plant(name, kind)),
    ]
}

fn layout() -> impl Strategy<Value = FileLayout> {
    prop_oneof![Just(FileLayout::Atomic), Just(FileLayout::Files)]
}

fn set_of(entries: &[(&'static str, u8)]) -> Files {
    let texts: Vec<(&str, String)> = entries.iter().map(|(name, value)| (*name, value.to_string())).collect();
    files(&texts.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happened_before_a_write_leaves_exactly_its_set(events in proptest::collection::vec(event(), 1..8), last in proptest::collection::vec((prop_oneof![Just("a"), Just("c/x"), Just("z")], 0..3_u8), 1..4), layout in layout()) {
        let scratch = Scratch::new();
        let nothing_planted = !events.iter().any(|event| matches!(event, Event::Plant(..)));
        for event in events {
            match event {
                Event::Write(set, layout) => {
                    scratch.write(&set_of(&set), layout).expect("written");
                }
                Event::GiveUp(set, layout, moment) => {
                    let _ = scratch.write_until(&set_of(&set), layout, moment);
                }
                Event::Plant(name, kind) => {
                    let path = scratch.path().join(name);
                    let _ = fs::remove_file(&path);
                    let _ = fs::remove_dir_all(&path);
                    match kind {
                        0 => fs::write(&path, "planted").expect("planted"),
                        1 => fs::create_dir(&path).expect("planted"),
                        2 => symlink("/nonexistent", &path).expect("planted"),
                        _ => {}
                    }
                }
            }
        }
        let set = set_of(&last);
        scratch.write(&set, layout).expect("written");
        prop_assert_eq!(scratch.write(&set, layout).expect("looked at"), Outcome::Unchanged);
        if nothing_planted {
            scratch.assert_shows(&set);
        }
        // What nobody knows the maker of is left alone; everything of ours is as if nothing had been.
        let mut visible = scratch.visible_of_ours();
        visible.retain(|name, _| set.keys().any(|path| path.as_str() == name));
        prop_assert_eq!(visible.len(), set.len());
        for (path, file) in &set {
            prop_assert_eq!(visible[path.as_str()].as_bytes(), file.content.expose());
        }
        let generations = scratch.hidden().into_iter().filter(|name| name.starts_with("..generation-")).count();
        prop_assert_eq!(generations, usize::from(layout == FileLayout::Atomic));
    }
}

impl Scratch {
    /// Content of what can be read, dangling strangers left out.
    fn visible_of_ours(&self) -> BTreeMap<String, String> {
        fn walk(at: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
            for entry in fs::read_dir(at).expect("listed").map(|entry| entry.expect("entry")) {
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                match fs::metadata(entry.path()) {
                    Ok(meta) if meta.is_dir() && !name.starts_with("..") => {
                        walk(&entry.path(), &format!("{name}/"), found)
                    }
                    Ok(meta) if meta.is_file() => {
                        found.insert(name, fs::read_to_string(entry.path()).expect("text"));
                    }
                    _ => {}
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(self.path(), "", &mut found);
        found
    }
}
