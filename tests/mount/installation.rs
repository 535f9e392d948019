//! `secretmount check --cluster`, as an operator and `helm test` meet it: the real program against the API server's double.
//!
//! `installation/` has what is said of each fault. `UPDATE=1 cargo test --test mount installation` writes it anew: read what
//! has changed before you commit it.

use std::path::Path;

use devcloud::{DevCloud, Fault, FaultKind};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::cloud;

const DRIVER: &str = "/apis/storage.k8s.io/v1/csidrivers/secrets-store.csi.k8s.io";
const CLASSES: &str = "/apis/secrets-store.csi.x-k8s.io/v1";
const DRIVER_SET: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets/csi-secrets-store";
const OUR_SET: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets/secretmount";
const ACCOUNT: &str = "system:serviceaccount:kube-system:secretmount";
const CONTAINER: &str = "/spec/template/spec/containers/0";

fn csi_node(name: &str) -> String {
    format!("/apis/storage.k8s.io/v1/csinodes/{name}")
}

fn node(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}

fn our_pod(node: &str) -> String {
    format!("/api/v1/namespaces/kube-system/pods/secretmount-{node}")
}

/// A cluster of two nodes in which everything is as it should be, with this provider from the manifest that users get.
struct Cluster {
    cloud: DevCloud,
}

impl Cluster {
    async fn good() -> Self {
        let cluster = Self { cloud: cloud().await };
        let put = |path: &str, object: Value| cluster.cloud.put_object(path, object);
        let audiences = json!([{"audience": "sts.amazonaws.com"}, {"audience": "pods.eks.amazonaws.com"}]);
        put(
            DRIVER,
            json!({"metadata": {}, "spec": {
                "podInfoOnMount": true, "requiresRepublish": true, "tokenRequests": audiences,
            }}),
        );
        put(CLASSES, json!({"kind": "APIResourceList", "resources": [{"name": "secretproviderclasses"}]}));
        put(DRIVER_SET, driver_set());
        let mut ours = of_manifest();
        ours["status"] = json!({"desiredNumberScheduled": 2, "numberReady": 2});
        put(OUR_SET, ours.clone());
        for name in ["node-a", "node-b"] {
            let registered = json!([{"name": "ebs.csi.aws.com"}, {"name": "secrets-store.csi.k8s.io"}]);
            put(&csi_node(name), json!({"metadata": {}, "spec": {"drivers": registered}}));
            let info = json!({"kubeletVersion": "v1.34.0"});
            put(&node(name), json!({"metadata": {}, "spec": {}, "status": {"nodeInfo": info}}));
            put(&our_pod(name), pod_of(&ours, name));
        }
        cluster
    }

    fn change(&self, path: &str, place: &str, value: Value) {
        let mut object = self.cloud.object(path).expect("an object");
        match object.pointer_mut(place) {
            Some(known) => *known = value,
            None => {
                let (parent, name) = place.rsplit_once('/').expect("a place");
                object.pointer_mut(parent).expect("a parent")[name] = value;
            }
        }
        self.cloud.put_object(path, object);
    }

    /// What is said, and the exit code.
    async fn check(&self, arguments: &[&str]) -> (String, i32) {
        let kubeconfig = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(kubeconfig.path(), self.cloud.kubeconfig()).expect("written");
        run(kubeconfig.path(), arguments).await
    }
}

async fn run(kubeconfig: &Path, arguments: &[&str]) -> (String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_secretmount"))
        .args([&["check", "--cluster"], arguments].concat())
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .output()
        .await
        .expect("it runs");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let code = output.status.code().expect("it ends by itself");
    if code == 2 {
        return (String::from_utf8(output.stderr).expect("UTF-8"), code);
    }
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (said, code)
}

/// As the chart of the driver makes it.
fn driver_set() -> Value {
    let mounts = json!([
        {"name": "mountpoint-dir", "mountPath": "/var/lib/kubelet/pods", "mountPropagation": "Bidirectional"},
        {"name": "providers-dir", "mountPath": "/var/run/secrets-store-csi-providers"},
        {"name": "providers-dir-0", "mountPath": "/etc/kubernetes/secrets-store-csi-providers"},
    ]);
    let containers = json!([
        {"name": "node-driver-registrar", "image": "registry.example/sig-storage/csi-node-driver-registrar:v2.13.0"},
        {
            "name": "secrets-store", "image": "registry.example/csi-secrets-store/driver:v1.6.0", "volumeMounts": mounts,
            "args": [
                "--endpoint=$(CSI_ENDPOINT)",
                "--provider-volume=/var/run/secrets-store-csi-providers",
                "--additional-provider-volume-paths=/etc/kubernetes/secrets-store-csi-providers",
                "--enable-secret-rotation=true",
            ],
        },
    ]);
    let volumes = json!([
        {"name": "mountpoint-dir", "hostPath": {"path": "/var/lib/kubelet/pods"}},
        {"name": "providers-dir", "hostPath": {"path": "/var/run/secrets-store-csi-providers"}},
        {"name": "providers-dir-0", "hostPath": {"path": "/etc/kubernetes/secrets-store-csi-providers"}},
    ]);
    daemon_set("secrets-store-csi-driver", json!({"containers": containers, "volumes": volumes}))
}

fn daemon_set(app: &str, pod: Value) -> Value {
    let labels = json!({"app": app});
    json!({
        "metadata": {"labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
        "status": {"desiredNumberScheduled": 2, "numberReady": 2},
    })
}

/// This provider's DaemonSet.
fn of_manifest() -> Value {
    let manifest = include_str!("../../deploy/manifests/secretmount.yaml");
    let documents = manifest.split("\n---\n");
    let mut documents = documents.map(|text| serde_yaml::from_str::<Value>(text).expect("YAML"));
    documents.find(|document| document["kind"] == "DaemonSet").expect("a DaemonSet")
}

/// A pod of a DaemonSet, which is ready.
fn pod_of(set: &Value, node: &str) -> Value {
    let template = &set["spec"]["template"];
    let mut pod = json!({"metadata": template["metadata"], "spec": template["spec"]});
    pod["spec"]["nodeName"] = node.into();
    pod["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    pod
}

/// Compares with what is expected, or writes it.
fn compare(name: &str, said: &str) {
    let golden =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mount/installation")).join(format!("{name}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        return std::fs::write(&golden, said).expect("written");
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_else(|error| panic!("{}: {error}", golden.display()));
    assert_eq!(said, expected, "{name}; UPDATE=1 writes it anew");
}

/// Of a good cluster with one fault, what is said that is not said of a good one.
async fn with_a_fault(name: &str, code: i32, fault: impl FnOnce(&Cluster)) {
    let cluster = Cluster::good().await;
    fault(&cluster);
    let (said, seen) = cluster.check(&["--quiet"]).await;
    compare(name, &said);
    assert_eq!(seen, code, "{name}: {said}");
}

#[tokio::test]
async fn an_installation_without_a_fault_is_fine() {
    let (said, code) = Cluster::good().await.check(&["--strict"]).await;
    compare("good", &said);
    assert_eq!(code, 0, "{said}");
    let page = include_str!("../../docs/check.md");
    assert!(page.contains(&format!("```console\n$ secretmount check --cluster\n{said}```")), "{said}");
}

#[tokio::test]
async fn the_page_shows_what_is_said_of_some_faults() {
    let cluster = Cluster::good().await;
    cluster.change(DRIVER, "/spec/requiresRepublish", json!(false));
    cluster.change(OUR_SET, &format!("{CONTAINER}/volumeMounts/1/mountPropagation"), json!("None"));
    official(&cluster, "node-b");
    cluster.cloud.inject(Fault::forbidden("list nodes"));
    let (said, code) = cluster.check(&["--quiet"]).await;
    assert_eq!(code, 1);
    let page = include_str!("../../docs/check.md");
    assert!(page.contains(&format!("```console\n$ secretmount check --cluster --quiet\n{said}```")), "{said}");
}

#[tokio::test]
async fn each_fault_of_the_driver_is_told_with_what_mends_it() {
    with_a_fault("no_driver", 1, |cluster| cluster.cloud.remove_object(DRIVER)).await;
    with_a_fault("no_pod_info", 1, |cluster| cluster.change(DRIVER, "/spec/podInfoOnMount", json!(false))).await;
    with_a_fault("no_audiences", 1, |cluster| cluster.change(DRIVER, "/spec/tokenRequests", json!([]))).await;
    with_a_fault("no_audience_for_irsa", 0, |cluster| {
        let release = json!({"meta.helm.sh/release-name": "csi", "meta.helm.sh/release-namespace": "kube-system"});
        cluster.change(DRIVER, "/metadata/annotations", release);
        let vault = json!({"audience": "vault", "expirationSeconds": 900});
        cluster.change(DRIVER, "/spec/tokenRequests", json!([vault, {"audience": "pods.eks.amazonaws.com"}]));
    })
    .await;
    with_a_fault("no_republish", 0, |cluster| cluster.change(DRIVER, "/spec/requiresRepublish", json!(false))).await;
    with_a_fault("no_rotation", 0, |cluster| {
        cluster.change(DRIVER_SET, "/spec/template/spec/containers/1/args/3", json!("--enable-secret-rotation=false"));
    })
    .await;
    with_a_fault("no_classes", 1, |cluster| cluster.cloud.remove_object(CLASSES)).await;
    with_a_fault("driver_not_on_a_node", 0, |cluster| {
        cluster.cloud.put_object(&csi_node("node-c"), json!({"metadata": {}, "spec": {"drivers": null}}));
    })
    .await;
    with_a_fault("driver_nowhere", 1, |cluster| {
        for name in ["node-a", "node-b"] {
            cluster.change(&csi_node(name), "/spec/drivers", Value::Null);
        }
    })
    .await;
}

#[tokio::test]
async fn each_fault_of_the_provider_is_told_with_what_mends_it() {
    with_a_fault("not_installed", 1, |cluster| cluster.cloud.remove_object(OUR_SET)).await;
    with_a_fault("installed_elsewhere", 1, |cluster| {
        let set = cluster.cloud.object(OUR_SET).expect("there");
        cluster.cloud.remove_object(OUR_SET);
        let mut moved = set;
        moved["metadata"]["namespace"] = json!("secrets");
        cluster.cloud.put_object(&OUR_SET.replace("kube-system", "secrets"), moved);
    })
    .await;
    with_a_fault("on_no_node", 1, |cluster| {
        cluster.change(OUR_SET, "/status", json!({"desiredNumberScheduled": 0, "numberReady": 0}));
        for name in ["node-a", "node-b"] {
            cluster.cloud.remove_object(&our_pod(name));
        }
    })
    .await;
    with_a_fault("not_ready", 1, |cluster| {
        cluster.change(OUR_SET, "/status/numberReady", json!(1));
        cluster.change(&our_pod("node-b"), "/status/conditions/0", json!({"type": "Ready", "status": "False"}));
    })
    .await;
    with_a_fault("two_versions", 0, |cluster| {
        cluster.change(
            &our_pod("node-b"),
            "/spec/containers/0",
            json!({"name": "secretmount", "image": "secretmount:0.2.0"}),
        );
    })
    .await;
    with_a_fault("not_on_a_node_of_the_driver", 1, |cluster| {
        cluster.cloud.put_object(&csi_node("node-c"), cluster.cloud.object(&csi_node("node-a")).expect("there"));
        cluster.change(&csi_node("node-c"), "/metadata", json!({"name": "node-c"}));
    })
    .await;
    with_a_fault("socket_elsewhere", 1, |cluster| {
        cluster.change(OUR_SET, "/spec/template/spec/volumes/0", hosted("providers", "/run/providers"));
    })
    .await;
    with_a_fault("socket_in_the_container", 1, |cluster| {
        cluster.change(OUR_SET, "/spec/template/spec/volumes/0", json!({"name": "providers", "emptyDir": {}}));
    })
    .await;
    with_a_fault("another_kubelet", 1, |cluster| {
        cluster.change(OUR_SET, "/spec/template/spec/volumes/1", hosted("pods", "/data/kubelet/pods"));
    })
    .await;
    with_a_fault("kubelet_of_the_driver", 1, |cluster| {
        cluster.change(OUR_SET, "/spec/template/spec/volumes/1", hosted("pods", "/data/kubelet/pods"));
        let place = format!("{CONTAINER}/volumeMounts/1/mountPath");
        cluster.change(OUR_SET, &place, json!("/data/kubelet/pods"));
    })
    .await;
    with_a_fault("no_propagation", 1, |cluster| {
        cluster.change(OUR_SET, &format!("{CONTAINER}/volumeMounts/1/mountPropagation"), json!("None"));
    })
    .await;
    with_a_fault("no_kubelet", 1, |cluster| {
        let mounts = json!([{"name": "providers", "mountPath": "/var/run/secrets-store-csi-providers"}]);
        cluster.change(OUR_SET, &format!("{CONTAINER}/volumeMounts"), mounts);
    })
    .await;
    with_a_fault("another_provider", 1, |cluster| official(cluster, "node-b")).await;
    with_a_fault("no_keys", 1, |cluster| cluster.cloud.put_object("/openid/v1/jwks", json!({"keys": []}))).await;
    with_a_fault("swap", 0, |cluster| {
        let info = json!({"kubeletVersion": "v1.34.0", "swap": {"capacity": 1_048_576}});
        cluster.change(&node("node-b"), "/status/nodeInfo", info);
    })
    .await;
    with_a_fault("old_kubelet", 0, |cluster| {
        cluster.change(&node("node-b"), "/status/nodeInfo", json!({"kubeletVersion": "v1.32.9-eks-1"}));
    })
    .await;
    with_a_fault("taint_stays", 1, |cluster| {
        let env = json!([{"name": "SECRETMOUNT_STARTUP_TAINT", "value": "secretmount.dev/agent-not-ready"}]);
        cluster.change(OUR_SET, &format!("{CONTAINER}/env"), env);
        let taints = json!([{"key": "secretmount.dev/agent-not-ready", "effect": "NoExecute"}]);
        cluster.change(&node("node-b"), "/spec/taints", taints);
    })
    .await;
}

fn hosted(name: &str, path: &str) -> Value {
    json!({"name": name, "hostPath": {"path": path}})
}

/// The official provider, from its chart, on one node.
fn official(cluster: &Cluster, node: &str) {
    let image = "registry.example/aws-secrets-manager/secrets-store-csi-driver-provider-aws:3.1.1";
    let pod = json!({"containers": [{"name": "provider-aws-installer", "image": image}]});
    let set = daemon_set("secrets-store-csi-driver-provider-aws", pod);
    cluster.cloud.put_object("/api/v1/namespaces/aws/pods/provider-aws-1", pod_of(&set, node));
    cluster.cloud.put_object("/apis/apps/v1/namespaces/aws/daemonsets/provider-aws", set);
}

#[tokio::test]
async fn who_has_other_nodes_or_leaves_the_writing_to_the_driver_is_no_fault() {
    let cluster = Cluster::good().await;
    official(&cluster, "node-c");
    // The driver is there too, and on a node of Windows, where pods get their secrets in another way.
    let registered = json!([{"name": "secrets-store.csi.k8s.io"}]);
    for (name, system) in [("node-c", "linux"), ("node-d", "windows")] {
        cluster.cloud.put_object(&csi_node(name), json!({"metadata": {}, "spec": {"drivers": registered}}));
        let info = json!({"kubeletVersion": "v1.34.0"});
        let labels = json!({"labels": {"kubernetes.io/os": system}});
        cluster.cloud.put_object(&node(name), json!({"metadata": labels, "spec": {}, "status": {"nodeInfo": info}}));
    }
    let switch = json!([{"name": "SECRETMOUNT_DRIVER_WRITES_SECRETS", "value": "true"}]);
    cluster.change(OUR_SET, &format!("{CONTAINER}/env"), switch);
    let (said, code) = cluster.check(&["--strict"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("√ no other provider owns aws.sock on these nodes (aws/provider-aws is on others)"),
        "{said}"
    );
    assert!(said.contains("√ the driver writes the files (--driver-writes-secrets)"), "{said}");
}

/// The official DaemonSet, in which nothing but the image was changed.
#[tokio::test]
async fn a_drop_in_is_known_by_its_image() {
    let cluster = Cluster::good().await;
    cluster.change(OUR_SET, "/metadata/labels", json!({}));
    cluster.change(OUR_SET, "/spec/template/metadata/labels", json!({"app": "csi-secrets-store-provider-aws"}));
    let (said, code) = cluster.check(&[]).await;
    assert!(code == 0 && said.contains("√ kube-system/secretmount is ready on 2 of 2 nodes"), "{said}");
}

#[tokio::test]
async fn each_right_that_is_missing_is_told_with_its_rule() {
    with_a_fault("may_not_read_accounts", 0, |cluster| cluster.cloud.deny(ACCOUNT, "get serviceaccounts")).await;
    with_a_fault("may_not_review", 0, |cluster| cluster.cloud.deny(ACCOUNT, "create tokenreviews")).await;
    with_a_fault("may_not_read_keys", 1, |cluster| cluster.cloud.deny(ACCOUNT, "get /openid/v1/jwks")).await;
    with_a_fault("may_not_remove_taints", 1, |cluster| {
        cluster.cloud.deny(ACCOUNT, "patch nodes");
        let env = json!([{"name": "SECRETMOUNT_STARTUP_TAINT", "value": "secretmount.dev/agent-not-ready"}]);
        cluster.change(OUR_SET, &format!("{CONTAINER}/env"), env);
    })
    .await;
    // Who has what it is for by another way needs no right to it.
    let cluster = Cluster::good().await;
    for what in ["create tokenreviews", "get /openid/v1/jwks", "get nodes"] {
        cluster.cloud.deny(ACCOUNT, what);
    }
    let args = json!(["serve", "--token-keys=/keys.json", "--token-verification", "jwks", "--aws-region=eu-west-1"]);
    cluster.change(OUR_SET, &format!("{CONTAINER}/args"), args);
    let (said, code) = cluster.check(&["--strict"]).await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn what_may_not_be_read_is_could_not_be_found_out_and_nothing_else_fails() {
    for api in [
        "get csidrivers",
        "list csinodes",
        "list nodes",
        "list daemonsets",
        "list pods",
        "get jwks",
        "create subjectaccessreviews",
    ] {
        let name = format!("forbidden_{}", api.replace([' ', '/'], "_"));
        with_a_fault(&name, 0, |cluster| cluster.cloud.inject(Fault::forbidden(api))).await;
    }
    let cluster = Cluster::good().await;
    cluster.cloud.inject(Fault::forbidden("list pods"));
    let (_, code) = cluster.check(&["--strict"]).await;
    assert_eq!(code, 1, "who wants to be sure is told");
    let cluster = Cluster::good().await;
    official(&cluster, "node-c");
    cluster.cloud.inject(Fault::forbidden("list pods").subject("kube-system"));
    let (said, _) = cluster.check(&[]).await;
    assert!(said.contains("‼ could not find out whether another provider owns aws.sock too"), "{said}");
    // Somebody who may look at the provider's namespace alone.
    let cluster = Cluster::good().await;
    cluster.cloud.inject(Fault::forbidden("list daemonsets").times(1));
    let (said, code) = cluster.check(&[]).await;
    assert!(code == 0 && said.contains("√ kube-system/secretmount is ready on 2 of 2 nodes"), "{said}");
    assert!(said.contains("‼ could not find out whether another provider owns aws.sock too"), "{said}");
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_is_another_exit_code() {
    let cluster = Cluster::good().await;
    cluster.cloud.inject(Fault::new(FaultKind::Reset).service("kubernetes"));
    let (said, code) = cluster.check(&[]).await;
    compare("unreachable", &said);
    assert_eq!(code, 3, "{said}");
    cluster.cloud.clear_faults();
    // Nothing is wrong with what could be read, and something could not.
    cluster.cloud.inject(Fault::error("list csinodes", 500, "InternalError", "no"));
    let (said, code) = cluster.check(&["-q"]).await;
    compare("trouble", &said);
    assert_eq!(code, 3, "{said}");
    cluster.cloud.remove_object(CLASSES);
    assert_eq!(cluster.check(&[]).await.1, 1, "what is wrong goes first");

    cluster.cloud.clear_faults();
    let (said, code) = run(Path::new("/nonexistent"), &[]).await;
    assert!(code == 3 && said.contains("run in a cluster, or set KUBECONFIG"), "{said}");
    let exec = tempfile::NamedTempFile::new().expect("a file");
    let user =
        r#"{"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws", "interactiveMode": "Never"}}"#;
    let config = cluster.cloud.kubeconfig().replace("user: {}", &format!("user: {user}"));
    std::fs::write(exec.path(), config).expect("written");
    let (said, code) = run(exec.path(), &[]).await;
    assert!(code == 3 && said.contains("has exec") && said.contains("kubectl proxy"), "{said}");
}

/// With `kubectl proxy`, for who has a kubeconfig that starts programs.
#[tokio::test]
async fn an_address_is_enough_where_nobody_asks_for_credentials() {
    let cluster = Cluster { cloud: crate::support::cloud_with(devcloud::Options::default()).await };
    let url = cluster.cloud.kubernetes_url();
    let (said, code) = run(Path::new("/nonexistent"), &["--server", &url]).await;
    assert!(code == 1 && said.contains("√ the API server answers (v1.34.0)"), "{said}");
    let (said, code) = run(Path::new("/nonexistent"), &["--server", "127.0.0.1:1"]).await;
    assert!(code == 3 && said.contains("write a URL"), "{said}");
}

#[tokio::test]
async fn long_lists_are_read_to_their_end() {
    let cluster = Cluster::good().await;
    for number in 0..250 {
        let name = format!("spot-{number}");
        cluster.cloud.put_object(&csi_node(&name), json!({"metadata": {}, "spec": {}}));
    }
    let (said, code) = cluster.check(&[]).await;
    let expected =
        "‼ the driver is on 2 of 252 nodes: pods on spot-0, spot-1, spot-10 and 247 more cannot mount secrets";
    assert!(code == 0 && said.contains(expected), "{said}");
}

#[tokio::test]
async fn programs_get_one_document() {
    let cluster = Cluster::good().await;
    cluster.change(DRIVER, "/spec/requiresRepublish", json!(false));
    let (said, code) = cluster.check(&["-o", "json"]).await;
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &said["apiVersion"], &said["success"]), (0, &json!("secretmount.dev/cli/v1"), &json!(true)));
    let categories = said["categories"].as_array().expect("a list");
    let names: Vec<_> = categories.iter().map(|category| category["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["kubernetes", "secrets store csi driver", "secretmount", "rights"]);
    let checks: Vec<&Value> = categories.iter().flat_map(|one| one["checks"].as_array().expect("a list")).collect();
    let warnings: Vec<_> = checks.iter().filter(|check| check["result"] != "success").collect();
    assert_eq!(
        warnings,
        [&&json!({
            "description": "requiresRepublish is false: mounted secrets are never refreshed",
            "result": "warning",
            "hint": "kubectl patch csidriver secrets-store.csi.k8s.io --type merge --patch '{\"spec\":{\"requiresRepublish\":true}}'; and --enable-secret-rotation=true among the arguments of the driver",
        })]
    );
    cluster.cloud.remove_object(CLASSES);
    let (said, code) = cluster.check(&["--output=json"]).await;
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &said["success"]), (1, &json!(false)));
}

#[tokio::test]
async fn files_and_a_cluster_are_two_questions() {
    for arguments in [&["class.yaml"][..], &["-o", "github"]] {
        let (said, code) = run(Path::new("/nonexistent"), arguments).await;
        assert!(code == 2 && said.contains("--cluster"), "{said}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_secretmount")).args(["check", "-n", "x", "a.yaml"]).output().await;
    assert_eq!(output.expect("it runs").status.code(), Some(2), "a namespace is for --cluster");
}
