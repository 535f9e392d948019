//! What operators ask the provider of a node: `secretmount status`, `refresh` and `log-level`, through its socket.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use devcloud::node::{Node, Provider};
use devcloud::{Fault, FaultKind};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::support::{READY, REGION, World, admin_socket, class_of, cloud, may_chown, needs_mounts, start};

/// How a subcommand ended, and what it has written to standard output and standard error.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {} {}", self.out, self.err))
    }
}

async fn run(program: &[&str], node: &Node, arguments: &[&str]) -> Said {
    let socket = format!("--admin-socket={}", admin_socket(node).display());
    let (program, more) = program.split_first().expect("a program");
    let output = tokio::process::Command::new(program)
        .args(more)
        .args(arguments)
        .arg(socket)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .await
        .expect("run");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

async fn operate(node: &Node, arguments: &[&str]) -> Said {
    run(&[env!("CARGO_BIN_EXE_secretmount")], node, arguments).await
}

/// Once the socket is there.
async fn world(arguments: &[&str]) -> World {
    let world = World::with(arguments).await;
    is_open(&world.provider).await;
    world
}

async fn is_open(provider: &Provider) {
    assert!(provider.logged("\"name\":\"operations\"").await, "{}", provider.log());
}

/// Without what differs from run to run and from node to node: ages, numbers of caches, blanks, names of directories, the kernel.
fn normalised(text: &str, world: &World) -> String {
    let text = text.replace(&world.node.scratch().display().to_string(), "NODE");
    let mut lines = String::new();
    for line in text.lines().filter(|line| !line.starts_with("kernel ") && !line.starts_with("warning ")) {
        let words = line.split_whitespace().map(|word| {
            let (bare, end) = word.split_once(')').map_or((word, ""), |(bare, _)| (bare, ")"));
            let is_age = bare.starts_with(|first: char| first.is_ascii_digit()) && bare.ends_with(['s', 'm', 'h', 'd']);
            if is_age { format!("AGE{end}") } else { word.to_owned() }
        });
        let words = words.collect::<Vec<_>>().join(" ");
        lines += &if line.starts_with("caches ") { words.replace(|c: char| c.is_ascii_digit(), "0") } else { words };
        lines.push('\n');
    }
    lines
}

#[tokio::test]
async fn an_outage_is_seen_with_volume_and_cause_until_it_is_over() {
    needs_mounts!();
    let world = world(&["--node-name=node-a"]).await;
    world.cloud.put_secret(REGION, "shop/key", "planted-value");
    let volume = world.publish();
    let class = class_of(&["shop/key"]);
    world.mount(&class, &volume).await.expect("mounted");
    let said = operate(&world.node, &["status"]).await;
    assert_eq!(said.code, Some(0), "{} {}", said.out, said.err);
    assert_eq!(
        normalised(&said.out, &world),
        "secretmount 0.1.0 · node node-a · up AGE · serving NODE/providers/aws.sock · 1 volume\n\
         NAMESPACE POD CLASS FILES LAST OK NEXT STATE\n\
         shop web-0 shop-db 1 AGE ago - current\n\
         socket NODE/providers/aws.sock serving\n\
         caches secrets 0 (000 B, 0 % hits) · credentials 0 · tokens 0 · keys 0 (age AGE)\n\
         writing by the provider\n"
    );

    world.cloud.inject(Fault::on("GetSecretValue", FaultKind::Reset));
    for _ in 0..3 {
        world.mount(&class, &volume).await.expect_err("AWS is down");
    }
    let said = operate(&world.node, &["status"]).await;
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.out.contains(" · 1 volume, 1 failing\n"), "{}", said.out);
    assert!(said.out.contains("failing AwsUnavailable (3 times)\n"), "{}", said.out);
    let named = operate(&world.node, &["status", "--names", "--output=json"]).await;
    let document = named.json();
    let failing = &document["volumes"][0];
    let seen = [&document["apiVersion"], &document["healthy"], &failing["state"], &failing["failure"]["reason"]];
    assert_eq!(
        seen,
        [&Value::from("secretmount.dev/cli/v1"), &false.into(), &"failing".into(), &"AwsUnavailable".into()]
    );
    assert!(failing["failure"]["message"].as_str().is_some_and(|text| text.contains("shop/key")), "{document}");
    assert!(failing["lastSuccessAgeSeconds"].is_u64() && failing["versions"]["shop_key"].is_string(), "{document}");

    world.cloud.clear_faults();
    world.mount(&class, &volume).await.expect("recovered");
    let said = operate(&world.node, &["status", "--output=json"]).await;
    let document = said.json();
    assert_eq!((said.code, &document["volumes"][0]["failure"]), (Some(0), &Value::Null));

    drop(volume);
    let document = operate(&world.node, &["status", "--output=json"]).await.json();
    assert_eq!(document["volumes"], Value::Array(Vec::new()), "its pod has gone");
}

#[tokio::test]
async fn what_has_never_worked_is_seen_too_and_names_of_secrets_only_where_they_are_asked_for() {
    let world = world(&["--driver-writes-secrets=true"]).await;
    world.cloud.put_secret(REGION, "shop/key", "planted-value");
    world.ask(&class_of(&["shop/key"])).await.expect("answered");
    world.ask_as(&world.newcomer(), &class_of(&["shop/planted-name"])).await.expect_err("missing");
    let plain = [operate(&world.node, &["status"]).await, operate(&world.node, &["status", "--output=json"]).await];
    for said in plain {
        assert!(said.code == Some(1) && said.out.contains("SecretNotFound"), "{}", said.out);
        for planted in ["planted", "shop/key", "shop_key", "arn:aws"] {
            assert!(!said.out.contains(planted), "{planted} is in {}", said.out);
        }
    }
    let named = operate(&world.node, &["status", "--names"]).await.out;
    assert!(named.contains("shop/planted-name") && named.contains("\n  shop_key "), "{named}");
    assert!(!named.contains("planted-value"), "{named}");
    assert_eq!(operate(&world.node, &["status", "--namespace=others"]).await.code, Some(0), "nothing fails there");
}

#[tokio::test]
async fn nobody_who_answers_is_told_with_what_to_do() {
    let node = Node::new().expect("a node");
    for arguments in [&["status"][..], &["refresh"], &["log-level", "debug"]] {
        let said = operate(&node, arguments).await;
        assert_eq!((said.code, said.out.as_str()), (Some(3), ""), "{}", said.err);
        assert!(said.err.contains("kubectl exec") && said.err.contains("No such file"), "{}", said.err);
        let said = operate(&node, &[arguments, &["--output=json"]].concat()).await;
        assert_eq!((said.code, &said.json()["reason"]), (Some(3), &Value::from("NotReached")));
    }
}

#[tokio::test]
async fn f1_what_a_provider_waits_for_is_told_before_it_serves() {
    let (cloud, node) = (cloud().await, Node::new().expect("a node"));
    cloud.inject(Fault::new(FaultKind::Reset).service("kubernetes"));
    let provider = start(&cloud, &node, &[], &[]);
    is_open(&provider).await;
    assert!(provider.logged("not ready").await);
    let said = operate(&node, &["status"]).await;
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains(" · NOT SERVING · 0 volumes\n"), "{}", said.out);
    assert!(said.out.contains("\nwaiting  the cluster's signing keys cannot be read: "), "{}", said.out);
    let said = operate(&node, &["refresh"]).await;
    assert!(said.code == Some(1) && said.err.contains("does not serve yet"), "{}", said.err);
    cloud.clear_faults();
    provider.driver(READY).await.expect("it serves in the end");
    assert!(operate(&node, &["status"]).await.out.contains(" · serving "));
}

#[tokio::test]
async fn what_is_kept_is_forgotten_when_an_operator_wants_that() {
    let world = world(&["--driver-writes-secrets=true", "--max-age=1h", "--failed-refresh-pause=1h"]).await;
    let class = class_of(&["shop/key", "shop/other"]);
    let content = async || {
        let answer = world.ask(&class).await.expect("answered");
        String::from_utf8(answer.files[0].contents.clone()).expect("UTF-8")
    };
    for name in ["shop/key", "shop/other"] {
        world.cloud.put_secret(REGION, name, "one");
    }
    assert_eq!(content().await, "one");
    world.cloud.put_secret(REGION, "shop/key", "two");
    assert_eq!(content().await, "one", "it is kept for an hour");
    for wrong in [["--namespace=others"], ["--pod=others"]] {
        assert_eq!(operate(&world.node, &[&["refresh"], &wrong[..]].concat()).await.code, Some(1));
    }
    operate(&world.node, &["refresh", "--object=shop/other"]).await;
    assert_eq!(content().await, "one", "another object was meant");
    let said = operate(&world.node, &["refresh", "-n", "shop", "--pod=web-0", "--object=shop/key"]).await;
    assert!(said.code == Some(0) && said.out.contains("forgotten: 1\n"), "{}", said.out);
    assert_eq!(content().await, "two");

    world.cloud.inject(Fault::on("GetSecretValue", FaultKind::Reset));
    operate(&world.node, &["refresh"]).await;
    world.ask(&class).await.expect_err("AWS is down");
    world.cloud.clear_faults();
    world.ask(&class).await.expect_err("it is left alone for an hour");
    let document = operate(&world.node, &["status", "--output=json"]).await.json();
    assert!(document["volumes"][0]["failure"]["nextTryInSeconds"].as_u64().is_some_and(|left| left > 60), "{document}");
    let done = operate(&world.node, &["refresh", "--output=json"]).await.json();
    assert_eq!((&done["volumes"], &done["leftAlone"]), (&1.into(), &1.into()), "{done}");
    assert_eq!(content().await, "two");
}

#[tokio::test]
async fn the_log_level_changes_while_it_runs() {
    let world = world(&["--driver-writes-secrets=true"]).await;
    let said = operate(&world.node, &["log-level", "loud"]).await;
    assert!(said.code == Some(1) && said.err.contains("write error, warn, info"), "{}", said.err);
    assert_eq!(operate(&world.node, &["log-level", "error"]).await.code, Some(0));
    world.ask(&class_of(&["shop/none"])).await.expect_err("missing");
    let said = operate(&world.node, &["log-level", "secretmount=debug"]).await;
    assert_eq!((said.code, said.out.contains("until the provider starts anew")), (Some(0), true), "{}", said.err);
    assert!(world.provider.logged("an operator has changed what is logged").await);
    assert!(!world.provider.log().contains("mount failed"), "{}", world.provider.log());
    world.ask(&class_of(&["shop/none"])).await.expect_err("missing");
    assert!(world.provider.logged("mount failed").await);
}

#[tokio::test]
async fn a24_the_socket_is_private_and_goes_with_its_process_unless_it_is_another_ones() {
    for is_replaced in [false, true] {
        let mut world = world(&["--driver-writes-secrets=true"]).await;
        let socket = admin_socket(&world.node);
        let mode = std::fs::metadata(&socket).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let _others = is_replaced.then(|| {
            std::fs::remove_file(&socket).expect("removed");
            std::os::unix::net::UnixListener::bind(&socket).expect("bound")
        });
        world.provider.terminate().await.expect("ended");
        assert_eq!(socket.exists(), is_replaced);
    }
}

/// The program as another user runs it, who finds it and the socket: somebody has been careless with modes.
fn as_a_stranger(node: &Node) -> [String; 4] {
    let program = node.scratch().join("secretmount");
    std::fs::copy(env!("CARGO_BIN_EXE_secretmount"), &program).expect("copied");
    let directory = admin_socket(node).parent().expect("in a directory").to_owned();
    std::fs::create_dir_all(&directory).expect("made");
    for path in [node.scratch(), &directory, &program] {
        std::fs::set_permissions(path, Permissions::from_mode(0o777)).expect("set");
    }
    let program = program.to_str().expect("UTF-8");
    ["setpriv", "--reuid=1001", "--clear-groups", program].map(str::to_owned)
}

#[tokio::test]
async fn a24_another_user_is_not_answered() {
    if !may_chown() {
        return;
    }
    let world = world(&["--driver-writes-secrets=true"]).await;
    let stranger = as_a_stranger(&world.node);
    std::fs::set_permissions(admin_socket(&world.node), Permissions::from_mode(0o666)).expect("set");
    let said = run(&stranger.each_ref().map(String::as_str), &world.node, &["status"]).await;
    assert_eq!((said.code, said.out.as_str()), (Some(3), ""), "{}", said.err);
    assert!(world.provider.logged("closed a connection of another user than root").await);
    assert_eq!(operate(&world.node, &["status"]).await.code, Some(0));
}

#[tokio::test]
async fn a24_a_socket_of_another_user_is_not_believed() {
    if !may_chown() {
        return;
    }
    let (cloud, node) = (cloud().await, Node::new().expect("a node"));
    // It goes no further than to its socket for operators.
    cloud.inject(Fault::new(FaultKind::Reset).service("kubernetes"));
    let impostor = as_a_stranger(&node);
    let socket = format!("--admin-socket={}", admin_socket(&node).display());
    let arguments = [&impostor[1..], &["serve".to_owned(), socket]].concat();
    let impostor = Provider::start(Path::new(&impostor[0]), &arguments, &cloud, &node, "aws.sock", &[]);
    let impostor = impostor.expect("started");
    is_open(&impostor).await;
    let said = operate(&node, &["status"]).await;
    assert!(said.code == Some(3) && said.err.contains("another user's"), "{}", said.err);
}

#[tokio::test]
async fn f82_a_flood_of_the_socket_stops_neither_mounts_nor_operators() {
    let world = world(&["--driver-writes-secrets=true"]).await;
    world.cloud.put_secret(REGION, "shop/key", "one");
    let mut slow = Vec::new();
    for _ in 0..500 {
        let mut stream = UnixStream::connect(admin_socket(&world.node)).await.expect("connected");
        // Half a question, and then nothing. Who is cut off may see it here already.
        let _ = stream.write_all(b"GET /status HTTP/1.1\r\nHost:").await;
        slow.push(stream);
    }
    world.ask(&class_of(&["shop/key"])).await.expect("mounted");
    assert_eq!(operate(&world.node, &["status"]).await.code, Some(0));
    let raw = async |question: String| {
        let mut stream = UnixStream::connect(admin_socket(&world.node)).await.expect("connected");
        let _ = stream.write_all(question.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let post = |path: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    // Many operators at once, each of whom wishes something else.
    let wishes = (0..300).map(|number| match number % 3 {
        0 => post("/refresh", "{\"namespace\":\"shop\"}"),
        1 => "GET /status HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        _ => post("/log-level", if number % 2 == 0 { "{\"level\":\"debug\"}" } else { "{\"level\":\"info\"}" })
            .replacen("POST", "PUT", 1),
    });
    let class = class_of(&["shop/key"]);
    let mounted = world.ask(&class);
    let (answers, mounted) = tokio::join!(join_all(wishes.map(&raw)), mounted);
    mounted.expect("mounted");
    let done = answers.iter().filter(|status| *status == "200").count();
    assert!(done > 0 && answers.iter().all(|status| matches!(&**status, "200" | "")), "{answers:?}");
    assert_eq!(operate(&world.node, &["status"]).await.code, Some(0));
    assert_eq!(raw(post("/refresh", &format!("{{\"pod\":\"{}\"}}", "x".repeat(64 * 1024)))).await, "400");
    assert_eq!(raw(post("/refresh", "{\"pods\":\"web\"}")).await, "400", "a wish that is misspelt is not one for all");
    assert_eq!(raw(post("/status", "")).await, "405");
    assert_eq!(raw("GET /refresh HTTP/1.1\r\nHost: x\r\n\r\n".into()).await, "404");
}

/// As in a pod of the official DaemonSet.
#[tokio::test]
async fn without_a_directory_for_the_socket_there_is_a_warning_and_all_else() {
    let world = World::with(&["--driver-writes-secrets=true", "--admin-socket=/nonexistent/admin.sock"]).await;
    assert!(world.provider.logged("there is no socket for operators").await);
    world.cloud.put_secret(REGION, "shop/key", "one");
    world.ask(&class_of(&["shop/key"])).await.expect("answered");
    let world = World::with(&["--driver-writes-secrets=true", "--admin-socket="]).await;
    world.ask(&class_of(&["shop/none"])).await.expect_err("missing");
    assert!(!world.provider.log().contains("operators"), "{}", world.provider.log());
    let said = operate(&world.node, &["status", "--namespace=shop"]).await;
    assert_eq!(said.code, Some(3));
}
