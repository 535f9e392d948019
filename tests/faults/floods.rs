//! A42: somebody who may connect to the socket sends frames of HTTP/2 (RFC 9113) that cost the sender nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use crate::support::{REGION, World, class_of};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames of a flood. Whoever is not cut off by then sends no more.
const FRAMES: u32 = 200_000;
/// What a flood may cost besides what the process has at most had before.
const MOST_KIB: u64 = 16 * 1024;

/// Types of section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

const END_HEADERS: u8 = 4;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A mount's headers, as RFC 7541 writes them without compressing anything.
fn headers() -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    [
        vec![0x83, 0x86], // :method POST, :scheme http
        [vec![0x04], text("/v1alpha1.CSIDriverProvider/Mount")].concat(),
        [vec![0x01], text("localhost")].concat(),
        [vec![0x0f, 0x10], text("application/grpc")].concat(),
        [vec![0x00], text("te"), text("trailers")].concat(),
    ]
    .concat()
}

/// The `number`th stream of a client.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

struct Flood {
    name: &'static str,
    /// What is sent once, and then again and again.
    first: Vec<u8>,
    next: fn(u32) -> Vec<u8>,
    /// Whether the connection must have been ended before all is sent.
    is_cut_off: bool,
}

fn floods() -> Vec<Flood> {
    let open = frame(HEADERS, END_HEADERS, 1, &headers());
    vec![
        Flood {
            name: "streams that are opened and reset",
            first: Vec::new(),
            next: |number| {
                let open = frame(HEADERS, END_HEADERS, stream(number), &headers());
                [open, frame(RST_STREAM, 0, stream(number), &CANCEL)].concat()
            },
            is_cut_off: true,
        },
        Flood {
            name: "more streams than may be open",
            first: Vec::new(),
            next: |number| frame(HEADERS, END_HEADERS, stream(number), &headers()),
            is_cut_off: true,
        },
        Flood {
            name: "headers without an end",
            first: frame(HEADERS, 0, 1, &headers()),
            next: |_| frame(CONTINUATION, 0, 1, &[0x00, 1, b'x', 1, b'y']),
            is_cut_off: true,
        },
        Flood { name: "data that is empty", first: open, next: |_| frame(DATA, 0, 1, &[]), is_cut_off: true },
        Flood { name: "settings", first: Vec::new(), next: |_| frame(SETTINGS, 0, 0, &[]), is_cut_off: false },
        Flood { name: "pings", first: Vec::new(), next: |_| frame(PING, 0, 0, &[7; 8]), is_cut_off: false },
    ]
}

/// How many frames were sent until the other side had enough. What it answers is read, or else it would wait for that.
fn pour(socket: &Path, flood: &Flood) -> u32 {
    let mut connection = UnixStream::connect(socket).expect("connected");
    let mut answers = connection.try_clone().expect("cloned");
    let reader = thread::spawn(move || {
        let mut part = [0; 65_536];
        while answers.read(&mut part).is_ok_and(|length| length > 0) {}
    });
    let mut sent = 0;
    let mut send = |bytes: &[u8]| match connection.write_all(bytes) {
        Ok(()) => true,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
            false
        }
    };
    if send(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &flood.first].concat()) {
        while sent < FRAMES {
            let some: Vec<u8> = (sent..sent + 100).flat_map(flood.next).collect();
            if !send(&some) {
                break;
            }
            sent += 100;
        }
    }
    let _ = connection.shutdown(std::net::Shutdown::Both);
    reader.join().expect("read");
    sent
}

#[tokio::test]
async fn a42_floods_of_frames_cost_other_mounts_nothing_and_the_process_little() {
    let world = World::driver_writes().await;
    world.cloud.put_secret(REGION, "shop/key", "k");
    let class = class_of(&["shop/key"]);
    let process = world.provider.id().expect("it runs");
    for flood in floods() {
        world.ask(&class).await.expect("mounted");
        let (before, spent) = (memory(process), processor(process));
        let socket: PathBuf = world.provider.socket().to_owned();
        let (name, is_cut_off) = (flood.name, flood.is_cut_off);
        let pouring = tokio::task::spawn_blocking(move || pour(&socket, &flood));
        let mut mounts = 0;
        while !pouring.is_finished() || mounts < 10 {
            world.ask(&class).await.unwrap_or_else(|status| panic!("{name}: {status}"));
            mounts += 1;
        }
        let sent = pouring.await.expect("it has poured");
        assert!(!is_cut_off || sent < FRAMES, "{name}: nothing stops it");
        let more = memory(process) - before;
        assert!(more < MOST_KIB, "{name}: {more} KiB more");
        eprintln!("{name}: {sent} frames, {mounts} mounts meanwhile, {more} KiB, {} ticks", processor(process) - spent);
    }
}

/// The most that it has had, in KiB.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// User and system time, in ticks of `proc_pid_stat(5)`.
fn processor(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let fields = stat.rsplit(')').next().expect("fields").split_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<u64>().expect("a number")).sum()
}
