//! A42: frames of HTTP/2 (RFC 9113) that cost the sender nothing, from somebody who may connect to the socket, and from an
//! API server.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use devcloud::Options;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::support::{REGION, ROLE, World, class_of, cloud_with, is_final};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames of a flood. Whoever is not cut off by then sends no more.
const FRAMES: u32 = 200_000;
/// A flood takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
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
    let connection = UnixStream::connect(socket).expect("connected");
    let answers = connection.try_clone().expect("cloned");
    let reader = thread::spawn(move || read_all(answers));
    let first = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &flood.first].concat();
    let sent = send(&connection, &first, flood.next);
    let _ = connection.shutdown(Shutdown::Both);
    reader.join().expect("read");
    sent
}

fn read_all(mut answers: impl Read) {
    let mut part = [0; 65_536];
    while answers.read(&mut part).is_ok_and(|length| length > 0) {}
}

fn send(mut connection: impl Write, first: &[u8], next: fn(u32) -> Vec<u8>) -> u32 {
    let mut send = |bytes: &[u8]| match connection.write_all(bytes) {
        Ok(()) => true,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
            false
        }
    };
    let mut sent = 0;
    if send(first) {
        while sent < FRAMES {
            let some: Vec<u8> = (sent..sent + 100).flat_map(next).collect();
            if !send(&some) {
                break;
            }
            sent += 100;
        }
    }
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
        let more = memory(process).saturating_sub(before);
        assert!(more < MOST_KIB, "{name}: {more} KiB more");
        eprintln!("{name}: {sent} frames, {mounts} mounts meanwhile, {more} KiB, {} ticks", processor(process) - spent);
    }
}

/// What an API server floods the provider with that has asked it on stream 1.
fn floods_of_a_server() -> Vec<Flood> {
    const STATUS_200: &[u8] = &[0x88];
    const WINDOW_UPDATE: u8 = 8;
    const PUSH_PROMISE: u8 = 5;
    let answer = || frame(HEADERS, END_HEADERS, 1, STATUS_200);
    vec![
        Flood {
            name: "an answer's headers without an end",
            first: frame(HEADERS, 0, 1, STATUS_200),
            next: |_| frame(CONTINUATION, 0, 1, &[0x00, 1, b'x', 1, b'y']),
            is_cut_off: true,
        },
        Flood {
            name: "an answer's data that is empty",
            first: answer(),
            next: |_| frame(DATA, 0, 1, &[]),
            is_cut_off: true,
        },
        Flood {
            name: "promises",
            first: Vec::new(),
            next: |number| {
                let promised = (2 * number + 2).to_be_bytes();
                frame(PUSH_PROMISE, END_HEADERS, 1, &[&promised[..], STATUS_200].concat())
            },
            is_cut_off: true,
        },
        Flood {
            name: "an answer without an end",
            first: answer(),
            next: |_| frame(DATA, 0, 1, &[b' '; 1000]),
            is_cut_off: false,
        },
        Flood {
            name: "windows",
            first: Vec::new(),
            next: |_| frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            is_cut_off: false,
        },
        Flood { name: "settings", first: Vec::new(), next: |_| frame(SETTINGS, 0, 0, &[]), is_cut_off: false },
        Flood { name: "pings", first: Vec::new(), next: |_| frame(PING, 0, 0, &[7; 8]), is_cut_off: false },
    ]
}

/// Stands for the API server: whoever has asked something is flooded, with the flood that `chosen` numbers. Tells that number,
/// and how many frames were taken.
fn flood_all(
    listener: &TcpListener,
    tls: &Arc<ServerConfig>,
    chosen: &Arc<AtomicUsize>,
    taken: &UnboundedSender<(usize, u32)>,
) {
    for connection in listener.incoming() {
        let (connection, tls) = (connection.expect("accepted"), tls.clone());
        let (chosen, taken) = (chosen.clone(), taken.clone());
        thread::spawn(move || {
            if let Some(poured) = pour_back(connection, tls, &chosen) {
                let _ = taken.send(poured); // the test may have ended
            }
        });
    }
}

/// Gives nothing where nothing was asked.
fn pour_back(connection: TcpStream, tls: Arc<ServerConfig>, chosen: &AtomicUsize) -> Option<(usize, u32)> {
    let answers = connection.try_clone().expect("cloned");
    let mut tls = StreamOwned::new(ServerConnection::new(tls).expect("a connection"), connection);
    // Up to the frame with the headers of the question: the type of a frame is its fourth byte.
    let mut asked = Vec::new();
    while !frames_in(&asked).any(|kind| kind == HEADERS) {
        let mut part = [0; 4096];
        match tls.read(&mut part) {
            Ok(length) if length > 0 => asked.extend_from_slice(&part[..length]),
            _ => return None,
        }
    }
    let number = chosen.load(Ordering::SeqCst);
    let flood = floods_of_a_server().swap_remove(number);
    // What comes now, nobody needs to understand.
    let reader = thread::spawn(move || read_all(answers));
    let sent = send(&mut tls, &[frame(SETTINGS, 0, 0, &[]), flood.first].concat(), flood.next);
    let _ = tls.sock.shutdown(Shutdown::Both);
    reader.join().expect("read");
    Some((number, sent))
}

/// The types of the whole frames behind a client's preface.
fn frames_in(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = bytes.get(PREFACE.len()..).unwrap_or_default();
    std::iter::from_fn(move || {
        let [a, b, c, kind, ..] = rest else { return None };
        let length = 9 + u32::from_be_bytes([0, *a, *b, *c]) as usize;
        rest = rest.get(length..)?;
        Some(*kind)
    })
}

#[tokio::test]
async fn a42_floods_of_frames_by_an_api_server_fail_who_asks_it_and_cost_others_nothing() {
    let cloud = cloud_with(Options { kubernetes_tls: true, ..Options::default() }).await;
    cloud.put_secret(REGION, "shop/key", "k");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = format!("https://{}", listener.local_addr().expect("an address"));
    let tls = cloud.tls_config(&["h2"]).expect("TLS");
    let (chosen, (sender, mut taken)) = (Arc::new(AtomicUsize::new(0)), unbounded_channel());
    let choice = chosen.clone();
    thread::spawn(move || flood_all(&listener, &tls, &choice, &sender));

    let place = tempfile::tempdir().expect("a directory");
    let at = |name: &str| place.path().join(name).to_str().expect("UTF-8").to_owned();
    std::fs::write(at("kubeconfig"), cloud.kubeconfig().replace(&cloud.kubernetes_url(), &address)).expect("written");
    std::fs::write(at("keys.json"), cloud.jwks().to_string()).expect("written");
    let keys = format!("--token-keys={}", at("keys.json"));
    let issuer = format!("--token-issuer={}", cloud.issuer());
    let arguments =
        ["--driver-writes-secrets=true", "--token-verification=jwks", "--mount-deadline=10s", &keys, &issuer];
    let world = World::on(cloud, &arguments, &[("KUBECONFIG", &at("kubeconfig"))]).await;
    let process = world.provider.id().expect("it runs");
    // One has to know the role of the service account, the other does not.
    let (asks, others) = (class_of(&["shop/key"]), class_of(&["shop/key"]).with("roleArn", ROLE));

    for (number, flood) in floods_of_a_server().into_iter().enumerate() {
        let name = flood.name;
        chosen.store(number, Ordering::SeqCst);
        world.ask(&others).await.unwrap_or_else(|status| panic!("{name}: {status}"));
        let (before, spent) = (memory(process), processor(process));
        let is_over = AtomicBool::new(false);
        let flooded = async {
            let answer = world.ask(&asks).await;
            is_over.store(true, Ordering::SeqCst);
            answer
        };
        let meanwhile = async {
            let mut mounts = 0;
            while !is_over.load(Ordering::SeqCst) || mounts < 10 {
                world.ask(&others).await.unwrap_or_else(|status| panic!("{name}: {status}"));
                mounts += 1;
            }
            mounts
        };
        let (answer, mounts) = tokio::join!(flooded, meanwhile);
        let refusal = answer.expect_err("nobody has told the role");
        assert!(is_final(refusal.code()), "{name}: {refusal}");
        let sent = async {
            loop {
                match taken.recv().await.expect("the server goes on") {
                    (of, sent) if of == number => break sent,
                    _ => {} // another try at the flood before
                }
            }
        };
        let sent = tokio::time::timeout(PATIENCE, sent).await.unwrap_or_else(|_| panic!("{name}: nobody was flooded"));
        let more = memory(process).saturating_sub(before);
        assert!(!flood.is_cut_off || sent < FRAMES, "{name}: nothing stops it");
        assert!(more < MOST_KIB, "{name}: {more} KiB more");
        eprintln!("{name}: {sent} frames, {mounts} mounts meanwhile, {more} KiB, {} ticks", processor(process) - spent);
    }
}

/// The most that it has had, in KiB. The kernel counts what it has now from parts, so one look may say less than that before.
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
