//! P2: readers beside a writer.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;

use crate::rows::{number_of, pair_class, put_pair};
use crate::support::{World, needs_mounts};

const ROTATIONS: usize = 2_000;
const READERS: usize = 4;

#[tokio::test]
async fn p2_no_reader_of_a_pair_meets_two_sets_or_a_gap_or_a_part() {
    needs_mounts!();
    let world = World::new().await;
    let volume = world.publish();
    put_pair(&world.cloud, 0);
    world.mount(&pair_class(), &volume).await.expect("mounted");

    let seen = Arc::new(Seen::default());
    let pinned: Vec<_> = (0..READERS).map(|_| reader(volume.path(), &seen, read_pinned)).collect();
    let by_name: Vec<_> = (0..READERS).map(|_| reader(volume.path(), &seen, read_by_name)).collect();
    for number in 1..=ROTATIONS {
        put_pair(&world.cloud, number);
        seen.written.store(number, Ordering::SeqCst);
        world.mount(&pair_class(), &volume).await.expect("mounted");
    }
    seen.done.store(true, Ordering::SeqCst);
    for reader in pinned.into_iter().chain(by_name) {
        reader.join().expect("it meets nothing that it must not");
    }
    let [pairs, gone, names, flips] =
        [&seen.pairs, &seen.gone, &seen.names, &seen.flips].map(|count| count.load(Ordering::SeqCst));
    eprintln!(
        "{ROTATIONS} rotations: {pairs} pairs read through ..data, {gone} times the set was gone; {names} read by name, {flips} of them across a change"
    );
    assert!(pairs > ROTATIONS && names > ROTATIONS, "they read all the while");
}

#[derive(Default)]
struct Seen {
    written: AtomicUsize,
    done: AtomicBool,
    pairs: AtomicUsize,
    /// The set that a reader had open was removed before it had read all of it.
    gone: AtomicUsize,
    names: AtomicUsize,
    flips: AtomicUsize,
}

fn reader(volume: &Path, seen: &Arc<Seen>, read: fn(&Path, &Seen)) -> JoinHandle<()> {
    let (volume, seen) = (PathBuf::from(volume), seen.clone());
    std::thread::spawn(move || {
        while !seen.done.load(Ordering::SeqCst) {
            read(&volume, &seen);
        }
    })
}

/// Both files of one set, whichever that is.
fn read_pinned(volume: &Path, seen: &Seen) {
    let directory =
        open(volume.join("..data"), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("never a gap");
    let read = |name: &str, kind: &str| match openat(&directory, name, OFlags::RDONLY, Mode::empty()) {
        Ok(file) => Some(whole(file, kind)),
        Err(Errno::NOENT) => None,
        Err(error) => panic!("{name}: {error}"),
    };
    match (read("user", "user"), read("tls_password", "password")) {
        (Some(user), Some(password)) => {
            assert_eq!(user, password, "two sets");
            seen.pairs.fetch_add(1, Ordering::SeqCst);
        }
        _ => drop(seen.gone.fetch_add(1, Ordering::SeqCst)),
    }
}

/// One name after the other: what is read second may be newer, never older, and no name is ever missing.
fn read_by_name(volume: &Path, seen: &Seen) {
    let read = |name: &str, kind: &str| whole(File::open(volume.join(name)).expect("never a gap").into(), kind);
    let (user, password) = (read("user", "user"), read("tls_password", "password"));
    assert!(user <= password && password <= seen.written.load(Ordering::SeqCst), "{user} {password}");
    seen.names.fetch_add(1, Ordering::SeqCst);
    seen.flips.fetch_add(usize::from(user != password), Ordering::SeqCst);
}

/// The number of a value that is all there.
fn whole(file: OwnedFd, kind: &str) -> usize {
    let mut value = String::new();
    File::from(file).read_to_string(&mut value).expect("read");
    number_of(kind, &value).unwrap_or_else(|| panic!("a part, or another file: {value:?}"))
}
