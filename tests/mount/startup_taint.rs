//! The taint that keeps pods off a node until they can have secrets.

use std::time::Duration;

use devcloud::node::{Node, Provider};
use devcloud::{DevCloud, Fault, FaultKind};
use serde_json::{Value, json};

use crate::support::{READY, REGION, cloud, start};

const KEY: &str = "secretmount.dev/agent-not-ready";
const NODE: &str = "/api/v1/nodes/node-a";
const CSI_NODE: &str = "/apis/storage.k8s.io/v1/csinodes/node-a";
const STAYS: &str = "\"message\":\"the startup taint stays\"";
const REMOVED: &str = "\"message\":\"the startup taint is removed\"";

fn taint(key: &str, effect: &str) -> Value {
    json!({"key": key, "effect": effect, "timeAdded": "2026-11-20T10:00:00Z"})
}

/// A node with labels and these taints.
fn put_node(cloud: &DevCloud, taints: &[Value]) {
    let labels = json!({"topology.kubernetes.io/region": REGION});
    let spec = json!({"taints": taints, "podCIDR": "10.0.3.0/24"});
    cloud.put_object(NODE, json!({"metadata": {"labels": labels}, "spec": spec}));
}

fn put_drivers(cloud: &DevCloud, names: &[&str]) {
    let drivers: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    cloud.put_object(CSI_NODE, json!({"metadata": {}, "spec": {"drivers": drivers}}));
}

fn taints(cloud: &DevCloud) -> Value {
    cloud.object(NODE).expect("a node")["spec"]["taints"].clone()
}

fn start_with_taint(cloud: &DevCloud, node: &Node) -> Provider {
    let flag = format!("--startup-taint={KEY}");
    start(cloud, node, &["--driver-writes-secrets=true", &flag], &[("NODE_NAME", "node-a")])
}

/// Until so many more calls of an api have come.
async fn more_calls(cloud: &DevCloud, api: &str, more: usize) {
    let enough = cloud.count(api) + more;
    let come = async {
        while cloud.count(api) < enough {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), come).await.expect("they come");
}

#[tokio::test]
async fn it_goes_once_the_sockets_answer_and_kubelet_knows_the_driver_and_no_other_does() {
    let (cloud, node) = (cloud().await, Node::new().expect("a node"));
    let other = taint("node.kubernetes.io/unreachable", "NoExecute");
    put_node(&cloud, &[taint(KEY, "NoExecute"), other.clone(), taint(KEY, "NoSchedule")]);
    put_drivers(&cloud, &["secrets-store.csi.k8s.io"]);
    cloud.inject(Fault::error("get jwks", 500, "InternalError", "starting"));
    let provider = start_with_taint(&cloud, &node);
    assert!(provider.logged(STAYS).await, "{}", provider.log());
    more_calls(&cloud, "get nodes", 2).await;
    assert!(provider.log().contains("\"until\":\"every socket answers\""), "{}", provider.log());
    assert_eq!(cloud.count("patch nodes"), 0);

    // From here on the sockets answer, and kubelet has lost the driver.
    put_drivers(&cloud, &["ebs.csi.aws.com"]);
    cloud.clear_faults();
    assert!(provider.logged("\"until\":\"kubelet knows the driver\"").await, "{}", provider.log());
    cloud.remove_object(CSI_NODE);
    more_calls(&cloud, "get csinodes", 2).await;
    assert_eq!(cloud.count("patch nodes"), 0);

    put_drivers(&cloud, &["ebs.csi.aws.com", "secrets-store.csi.k8s.io"]);
    assert!(provider.logged(REMOVED).await, "{}", provider.log());
    assert_eq!(taints(&cloud), json!([other]));
    assert_eq!(cloud.object(NODE).expect("a node")["spec"]["podCIDR"], "10.0.3.0/24");
    assert_eq!(provider.log().matches("startup taint").count(), 3, "{}", provider.log());
}

#[tokio::test]
async fn it_goes_again_when_it_comes_back() {
    let (cloud, node) = (cloud().await, Node::new().expect("a node"));
    put_node(&cloud, &[taint(KEY, "NoSchedule")]);
    put_drivers(&cloud, &["secrets-store.csi.k8s.io"]);
    let provider = start_with_taint(&cloud, &node);
    assert!(provider.logged(REMOVED).await, "{}", provider.log());
    assert_eq!(taints(&cloud), json!([]));
    more_calls(&cloud, "get nodes", 1).await;
    let other = taint("other", "NoSchedule");
    put_node(&cloud, &[other.clone(), taint(KEY, "NoSchedule")]);
    assert!(provider.logged_times(REMOVED, 2).await, "{}", provider.log());
    assert_eq!(taints(&cloud), json!([other]));
}

#[tokio::test]
async fn what_others_change_at_the_same_time_is_kept() {
    let (cloud, node) = (cloud().await, Node::new().expect("a node"));
    let other = taint("other", "NoSchedule");
    put_node(&cloud, &[taint(KEY, "NoSchedule"), other.clone()]);
    put_drivers(&cloud, &["secrets-store.csi.k8s.io"]);
    // The node as it was before it got the other taint.
    let before = json!({"metadata": {}, "spec": {"taints": [taint(KEY, "NoSchedule")]}});
    let before =
        FaultKind::RawResponse { status: 200, body: before.to_string(), content_type: "application/json".into() };
    let provider = start_with_taint(&cloud, &node);
    assert!(provider.logged(REMOVED).await, "{}", provider.log());
    put_node(&cloud, &[taint(KEY, "NoSchedule"), other.clone()]);
    cloud.clear_calls();
    cloud.inject(Fault::on("get nodes", before).times(1));
    cloud.inject(Fault::error("patch nodes", 409, "Conflict", "the object has been modified").times(1));
    assert!(provider.logged_times(REMOVED, 2).await, "{}", provider.log());
    let answers: Vec<_> =
        cloud.calls().into_iter().filter(|call| call.api == "patch nodes").filter_map(|call| call.status).collect();
    assert_eq!(answers.last(), Some(&200), "{answers:?}");
    assert!(answers.len() >= 2 && answers[..answers.len() - 1].iter().all(|status| [409, 422].contains(status)));
    assert_eq!(taints(&cloud), json!([other]));
    assert!(!provider.log().contains("cannot be looked after"), "{}", provider.log());
}

#[tokio::test]
async fn a_right_that_is_missing_is_one_warning_and_mounts_go_on() {
    let (cloud, node) = (cloud().await, Node::new().expect("a node"));
    put_node(&cloud, &[taint(KEY, "NoSchedule")]);
    put_drivers(&cloud, &["secrets-store.csi.k8s.io"]);
    cloud.inject(Fault::forbidden("patch nodes"));
    let provider = start_with_taint(&cloud, &node);
    let driver = provider.driver(READY).await.expect("serves");
    more_calls(&cloud, "patch nodes", 3).await;
    let log = provider.log();
    assert_eq!(log.matches("the startup taint cannot be looked after").count(), 1, "{log}");
    assert!(log.contains("Kubernetes forbids this provider to patch nodes"), "{log}");
    driver.version().await.expect("answered");
    assert_eq!(taints(&cloud), json!([taint(KEY, "NoSchedule")]));
    // The right is given later.
    cloud.clear_faults();
    assert!(provider.logged(REMOVED).await, "{}", provider.log());
}

#[tokio::test]
async fn without_the_setting_no_node_is_touched_and_without_a_name_it_does_not_start() {
    let (cloud, node) = (cloud().await, Node::new().expect("a node"));
    put_node(&cloud, &[taint(KEY, "NoSchedule")]);
    put_drivers(&cloud, &["secrets-store.csi.k8s.io"]);
    let flag = format!("--startup-taint={KEY}");
    let mut provider = start(&cloud, &node, &["--driver-writes-secrets=true", &flag], &[]);
    assert_eq!(provider.wait().await.expect("ended").code(), Some(1));
    assert!(provider.logged("--startup-taint needs --node-name").await, "{}", provider.log());

    let mut provider = start(&cloud, &node, &["--driver-writes-secrets=true"], &[("NODE_NAME", "node-a")]);
    provider.driver(READY).await.expect("serves");
    assert!(provider.terminate().await.expect("ended").success());
    assert_eq!(cloud.count("get csinodes") + cloud.count("patch nodes") + cloud.count("get nodes"), 0);
}
