//! This provider: its pods, and where they meet the driver and kubelet.

use std::collections::BTreeSet;

use super::Check;
use super::facts::{Facts, OUR_LABEL, driver_in, is_ours, provider_in};
use super::started::{Started, version_of};
use crate::cluster::ClusterError;
use crate::cluster::objects::{DaemonSet, Node, Pod};

/// Where the driver looks for sockets, and this provider makes one, unless somebody says otherwise.
const PROVIDERS: &str = "/var/run/secrets-store-csi-providers";
/// Most nodes that are named.
const FEW: usize = 3;
/// The first version whose kubelets say whether their nodes swap.
const SAYS_SWAP: (u32, u32) = (1, 33);

pub fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    let ours = facts.ours();
    match &facts.daemon_sets {
        Err(error) => checks.push(Check::unanswered("whether this provider is installed", error)),
        Ok(_) if ours.is_empty() => checks.push(not_there(facts)),
        Ok(_) => {}
    }
    for set in &ours {
        checks.push(ready(set, facts));
        let Some(started) = provider_in(set) else { continue };
        checks.push(socket(started, facts));
        checks.push(kubelet(started, facts));
        checks.extend(taint(started, set, facts));
    }
    if !ours.is_empty() {
        checks.push(on_nodes_of_driver(&ours, facts));
        checks.push(others(&ours, facts));
    }
    checks.push(keys(facts));
    checks.push(swap(&facts.nodes));
    checks
}

fn not_there(facts: &Facts) -> Check {
    let hint = match facts.elsewhere() {
        Some(namespace) => format!("secretmount check --cluster --namespace {namespace}"),
        None => "kubectl apply --filename deploy/manifests/secretmount.yaml".into(),
    };
    let (label, name) = OUR_LABEL;
    Check::error(format!("namespace {} has no DaemonSet with the label {label}={name}", facts.namespace), hint)
}

fn ready(set: &DaemonSet, facts: &Facts) -> Check {
    let (ready, wanted) = (set.status.number_ready, set.status.desired_number_scheduled);
    let name = format!("{}/{}", set.metadata.namespace, set.metadata.name);
    let versions = versions(set, facts);
    let count = format!("{name} is ready on {ready} of {}", nodes_in_words(wanted as usize));
    let look = format!("kubectl rollout status daemonset {} --namespace {}", set.metadata.name, set.metadata.namespace);
    match (wanted, versions.as_slice()) {
        (0, _) => Check::error(
            format!("{name} is on no node"),
            format!("kubectl describe daemonset {} --namespace {}", set.metadata.name, set.metadata.namespace),
        ),
        _ if ready < wanted => Check::error(count, look),
        (_, []) => Check::success(count),
        (_, [version]) => Check::success(format!("{count}, version {version}")),
        (_, several) => Check::warning(format!("{count}, versions {}", several.join(", ")), look),
    }
}

/// Of its pods, or where they may not be read, of their template.
fn versions(set: &DaemonSet, facts: &Facts) -> Vec<String> {
    let of_template = provider_in(set).and_then(|started| version_of(&started.container.image)).into_iter();
    let versions: BTreeSet<&str> = match facts.pods(set) {
        Some(Ok(pods)) if !pods.is_empty() => {
            let name = provider_in(set).map(|started| started.container.name.as_str());
            let containers = pods.iter().flat_map(|pod| &pod.spec.containers);
            containers
                .filter(|container| Some(container.name.as_str()) == name)
                .filter_map(|container| version_of(&container.image))
                .collect()
        }
        _ => of_template.collect(),
    };
    versions.into_iter().map(str::to_owned).collect()
}

/// Whether the driver finds the socket.
fn socket(started: Started<'_>, facts: &Facts) -> Check {
    let looked_in: Vec<&str> = match (facts.provider_volumes.is_empty(), facts.driver_set().and_then(driver_in)) {
        (false, _) => facts.provider_volumes.iter().map(|path| path.trim_end_matches('/')).collect(),
        (true, Some(driver)) => {
            let flags = ["provider-volume", "additional-provider-volume-paths"];
            let paths = flags.into_iter().flat_map(|flag| driver.values(flag, ""));
            paths.filter_map(|path| driver.on_node(path)).collect()
        }
        (true, None) => Vec::new(),
    };
    let mut paths = started.values("provider-volume", "SECRETMOUNT_PROVIDER_VOLUME");
    if paths.is_empty() {
        paths.push(PROVIDERS);
    }
    let made_in: Vec<&str> = paths.iter().filter_map(|path| started.on_node(path)).collect();
    let common: Vec<&str> = made_in.iter().filter(|path| looked_in.contains(path)).copied().collect();
    match (made_in.is_empty(), looked_in.is_empty(), common.first()) {
        (true, ..) => Check::error(
            format!("no directory of the node is mounted at {}: the driver cannot reach aws.sock", paths.join(", ")),
            format!("mount the hostPath {} there", looked_in.first().unwrap_or(&PROVIDERS)),
        ),
        (_, true, _) => Check::unknown(
            "where the driver looks for aws.sock",
            "its DaemonSet was not found, or does not say it",
            format!("secretmount check --cluster --provider-volume {}", made_in.join(" --provider-volume ")),
        ),
        (_, _, Some(_)) => Check::success(format!("aws.sock is where the driver looks for it ({})", common.join(", "))),
        (_, _, None) => Check::error(
            format!(
                "aws.sock is in {}, and the driver looks into {}: mounts will fail with \"provider not found\"",
                made_in.join(", "),
                looked_in.join(", ")
            ),
            format!("set the hostPath of the volume that is mounted at {} to {}", paths.join(", "), looked_in[0]),
        ),
    }
}

/// Whether volumes can be reached where they are written.
fn kubelet(started: Started<'_>, facts: &Facts) -> Check {
    if started.is_on("driver-writes-secrets", "SECRETMOUNT_DRIVER_WRITES_SECRETS") {
        return Check::success("the driver writes the files (--driver-writes-secrets)");
    }
    let of_driver = facts.driver_set().and_then(driver_in).and_then(|driver| {
        let mut mounts = driver.mounts();
        mounts.find(|(mount, host)| mount.mount_propagation == "Bidirectional" && host.ends_with("/pods"))
    });
    let expected = of_driver.map_or("/var/lib/kubelet/pods", |(_, host)| host);
    let Some((mount, host)) =
        started.mounts().find(|(mount, _)| mount.mount_path.trim_end_matches('/').ends_with("/pods"))
    else {
        return Check::error(
            "kubelet's pods directory is not mounted: mounts will fail with TargetUnexpected",
            format!("mount the hostPath {expected} at the same path, with mountPropagation: HostToContainer"),
        );
    };
    let path = mount.mount_path.trim_end_matches('/');
    let flag = started.values("kubelet-dir", "SECRETMOUNT_KUBELET_DIR");
    let named = flag.first().map(|directory| format!("{}/pods", directory.trim_end_matches('/')));
    if path != host {
        return Check::error(
            format!("kubelet's {host} is mounted at {path}: mounts will fail with TargetUnexpected"),
            format!("mountPath: {host}"),
        );
    }
    if of_driver.is_some_and(|(_, of_driver)| of_driver != host) {
        return Check::error(
            format!("{host} is mounted, and the driver mounts volumes below {expected}"),
            format!("set hostPath and mountPath to {expected}"),
        );
    }
    if named.as_ref().is_some_and(|named| named != path) {
        return Check::error(
            format!("--kubelet-dir names {}, and {path} is mounted", flag[0]),
            format!("--kubelet-dir={}", path.trim_end_matches("/pods")),
        );
    }
    match mount.mount_propagation.as_str() {
        "HostToContainer" | "Bidirectional" => Check::success(format!("{path} is mounted as kubelet has it")),
        _ => Check::error(
            format!("{path} is mounted without propagation: mounts will fail with TargetNotTmpfs"),
            "mountPropagation: HostToContainer",
        ),
    }
}

/// A node that keeps the taint keeps its pods waiting.
fn taint(started: Started<'_>, set: &DaemonSet, facts: &Facts) -> Option<Check> {
    let key = started.values("startup-taint", "SECRETMOUNT_STARTUP_TAINT").first().copied()?;
    let about = format!("whether nodes keep the taint {key}");
    let (nodes, pods) = match (&facts.nodes, facts.pods(set)?) {
        (Ok(nodes), Ok(pods)) => (nodes, pods),
        (Err(error), _) | (_, Err(error)) => return Some(Check::unanswered(&about, error)),
    };
    let serving = nodes_of(pods.iter().filter(|pod| pod.is_ready()));
    let has_taint = |node: &&Node| node.spec.taints.iter().any(|taint| taint["key"] == key);
    let tainted: Vec<&str> = nodes
        .iter()
        .filter(|node| serving.contains(node.metadata.name.as_str()))
        .filter(has_taint)
        .map(|node| node.metadata.name.as_str())
        .collect();
    Some(match tainted.as_slice() {
        [] => Check::success(format!("no node that is served keeps the taint {key}")),
        some => Check::error(
            format!("{} the taint {key} though {} served", verb(some, "keeps", "keep"), verb_alone(some)),
            format!(
                "kubectl logs --namespace {} --selector app.kubernetes.io/name=secretmount | grep startup",
                facts.namespace
            ),
        ),
    })
}

fn verb(nodes: &[&str], one: &str, many: &str) -> String {
    format!("{} {}", few(nodes), if nodes.len() == 1 { one } else { many })
}

fn verb_alone(nodes: &[&str]) -> &'static str {
    if nodes.len() == 1 { "it is" } else { "they are" }
}

/// Where the driver is and nobody answers it, no pod starts that needs a secret.
fn on_nodes_of_driver(ours: &[&DaemonSet], facts: &Facts) -> Check {
    let about = "whether every node with the driver has this provider";
    let with_driver = match facts.nodes_with_driver() {
        Ok(nodes) => nodes,
        Err(error) => return Check::unanswered(about, error),
    };
    // While nodes move over, some are served by the official provider. Those of Windows have a driver of another name.
    let (mut served, officials) = (other_systems(facts), facts.officials());
    for set in ours.iter().chain(&officials) {
        match facts.pods(set) {
            Some(Ok(pods)) => served.extend(nodes_of(pods.iter().filter(|pod| pod.is_ready()))),
            Some(Err(error)) => return Check::unanswered(about, error),
            None => {}
        }
    }
    let without: Vec<&str> = with_driver.difference(&served).copied().collect();
    match without.as_slice() {
        [] if officials.is_empty() => Check::success("every node with the driver has this provider"),
        [] => Check::success("every node with the driver has this provider, or the official one"),
        some => Check::error(
            format!(
                "{} the driver and no provider that is ready: mounts there fail with \"provider not found\"",
                verb(some, "has", "have")
            ),
            format!(
                "kubectl get pods --namespace {} --selector {}={} --output wide",
                facts.namespace, OUR_LABEL.0, OUR_LABEL.1
            ),
        ),
    }
}

/// Nodes that do not run Linux, as far as that is known.
fn other_systems(facts: &Facts) -> BTreeSet<&str> {
    let system = |node: &Node| node.metadata.labels.get("kubernetes.io/os").is_some_and(|system| system != "linux");
    facts.nodes.iter().flatten().filter(|node| system(node)).map(|node| node.metadata.name.as_str()).collect()
}

/// Whether somebody else makes a socket of the same name. The official provider removes it when it starts and ends.
fn others(ours: &[&DaemonSet], facts: &Facts) -> Check {
    let about = "whether another provider owns aws.sock too";
    let officials = facts.officials();
    let (mut nodes, mut unanswered) = (BTreeSet::new(), None);
    for set in ours.iter().chain(&officials) {
        match facts.pods(set) {
            Some(Ok(pods)) if is_ours(set) => nodes.extend(nodes_of(pods.iter())),
            Some(Err(error)) => unanswered = Some(error),
            _ => {}
        }
    }
    if let (Some(error), false) = (unanswered, officials.is_empty()) {
        return Check::unanswered(about, error);
    }
    for set in &officials {
        let (name, namespace) = (&set.metadata.name, &set.metadata.namespace);
        let Some(Ok(pods)) = facts.pods(set) else { continue };
        let theirs = nodes_of(pods.iter());
        let both: Vec<&str> = theirs.intersection(&nodes).copied().collect();
        if !both.is_empty() {
            return Check::error(
                format!(
                    "{namespace}/{name} serves aws.sock too, on {}: pods get their secrets from either",
                    few(&both)
                ),
                format!("kubectl delete daemonset {name} --namespace {namespace}; see docs/migrate-from-ascp.md"),
            );
        }
    }
    match (&facts.other_namespaces, officials.first()) {
        (Some(error), _) => Check::unanswered(about, error),
        (None, None) => Check::success("no other provider owns aws.sock"),
        (None, Some(set)) => Check::success(format!(
            "no other provider owns aws.sock on these nodes ({}/{} is on others)",
            set.metadata.namespace, set.metadata.name
        )),
    }
}

/// What tokens of pods are proved with.
fn keys(facts: &Facts) -> Check {
    let keys: Option<usize> = match &facts.key_set {
        Ok(text) => {
            let set: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
            set["keys"].as_array().map(Vec::len)
        }
        Err(error) => return Check::unanswered("whether the key set is readable", error),
    };
    let keys = match keys {
        Some(1) => "1 key".to_owned(),
        Some(keys @ 2..) => format!("{keys} keys"),
        Some(0) | None => {
            return Check::error(
                "the cluster's key set has no keys: tokens of pods cannot be proved",
                "kubectl get --raw /openid/v1/jwks",
            );
        }
    };
    match &facts.issuer {
        Ok(issuer) => Check::success(format!("key set readable ({keys}, issuer {issuer})")),
        Err(_) => Check::success(format!("key set readable ({keys})")),
    }
}

/// What a node swaps out is on its disk.
fn swap(nodes: &Result<Vec<Node>, ClusterError>) -> Check {
    let about = "whether nodes swap";
    let nodes = match nodes {
        Ok(nodes) => nodes,
        Err(error) => return Check::unanswered(about, error),
    };
    let swapping: Vec<&str> = nodes
        .iter()
        .filter(|node| node.status.node_info.swap.capacity > 0)
        .map(|node| node.metadata.name.as_str())
        .collect();
    match swapping.as_slice() {
        [] if nodes.iter().all(says_swap) => Check::success("no node has swap space"),
        [] => Check::unknown(
            about,
            "kubelets before 1.33 do not say it",
            "kubectl logs --namespace kube-system ds/secretmount | grep 'this node swaps'",
        ),
        some => Check::warning(
            format!("{} swap space: secrets may be written to its disk", verb(some, "has", "have")),
            "swapoff --all on the node, and an image without swap",
        ),
    }
}

fn says_swap(node: &Node) -> bool {
    let version = node.status.node_info.kubelet_version.trim_start_matches('v');
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    version >= SAYS_SWAP
}

fn nodes_of<'a>(pods: impl Iterator<Item = &'a Pod>) -> BTreeSet<&'a str> {
    pods.map(|pod| pod.spec.node_name.as_str()).filter(|name| !name.is_empty()).collect()
}

pub fn nodes_in_words(count: usize) -> String {
    format!("{count} node{}", if count == 1 { "" } else { "s" })
}

/// Names, and how many more there are.
pub fn few(names: &[&str]) -> String {
    match names.len().checked_sub(FEW) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..FEW].join(", ")),
    }
}
