//! The driver, and what it tells kubelet to send along.

use super::Check;
use super::facts::{Facts, driver_in, provider_in};
use super::provider::{few, nodes_in_words};
use super::started::version_of;
use crate::cluster::ClusterError;
use crate::cluster::objects::{CSI_DRIVER, CsiDriver, TokenRequest};

/// What has the driver ask kubelet anew, and the driver pass that on.
const ROTATION: &str = "enable-secret-rotation";
const IRSA: &str = "sts.amazonaws.com";
const POD_IDENTITY: &str = "pods.eks.amazonaws.com";
const INSTALL: &str = "https://secrets-store-csi-driver.sigs.k8s.io/getting-started/installation";

pub fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    match &facts.csi_driver {
        Ok(driver) => {
            checks.push(Check::success(format!("CSIDriver {CSI_DRIVER} exists{}", version(facts))));
            checks.push(pod_info(driver));
            checks.extend(tokens(driver, &irsa_audiences(facts)));
            checks.push(republish(driver, facts));
        }
        Err(ClusterError::NotFound { .. }) => {
            let missing = format!("there is no CSIDriver {CSI_DRIVER}: the driver is not installed");
            checks.push(Check::error(missing, INSTALL));
        }
        Err(error) => checks.push(Check::unanswered(&format!("whether there is a CSIDriver {CSI_DRIVER}"), error)),
    }
    checks.push(classes(facts));
    checks.push(nodes(facts));
    checks
}

/// As far as the tag of its image says it.
fn version(facts: &Facts) -> String {
    let started = facts.driver_set().and_then(driver_in);
    let version = started.and_then(|started| version_of(&started.container.image));
    version.map(|version| format!(" (driver {version})")).unwrap_or_default()
}

/// Those that this provider takes for STS.
fn irsa_audiences(facts: &Facts) -> Vec<String> {
    let ours = facts.ours().into_iter().filter_map(provider_in);
    let set: Vec<String> = ours
        .flat_map(|started| started.values("irsa-audience", "SECRETMOUNT_IRSA_AUDIENCE"))
        .map(str::to_owned)
        .collect();
    if set.is_empty() { vec![IRSA.into()] } else { set }
}

fn pod_info(driver: &CsiDriver) -> Check {
    match driver.spec.pod_info_on_mount {
        true => Check::success("podInfoOnMount is true"),
        false => Check::error(
            "podInfoOnMount is false: all mounts will fail with InvalidRequest",
            patch("{\"spec\":{\"podInfoOnMount\":true}}"),
        ),
    }
}

/// A cluster may have IRSA alone, or EKS Pod Identity alone; without either no mount can prove its pod.
fn tokens(driver: &CsiDriver, irsa: &[String]) -> Vec<Check> {
    let present: Vec<&str> = driver.spec.token_requests.iter().map(|request| request.audience.as_str()).collect();
    let has_irsa = irsa.iter().any(|audience| present.contains(&audience.as_str()));
    let has_pod_identity = present.contains(&POD_IDENTITY);
    let wanted: Vec<&str> = irsa.iter().map(String::as_str).chain([POD_IDENTITY]).collect();
    if has_irsa && has_pod_identity {
        return vec![Check::success(format!("tokenRequests has the audiences {}", present.join(", ")))];
    }
    let mut all = driver.spec.token_requests.clone();
    let missing = wanted.iter().filter(|audience| !present.contains(audience));
    all.extend(missing.map(|audience| TokenRequest { audience: audience.to_string(), ..TokenRequest::default() }));
    let requests = serde_json::to_string(&all).unwrap_or_default();
    let hint = match release_of(driver) {
        Some(release) => format!("tokenRequests: {requests}, {release}"),
        None => patch(&format!("{{\"spec\":{{\"tokenRequests\":{requests}}}}}")),
    };
    let mut checks = Vec::new();
    for (audience, is_there, what) in
        [(wanted[0], has_irsa, "IRSA"), (POD_IDENTITY, has_pod_identity, "EKS Pod Identity")]
    {
        let text = format!("tokenRequests lacks audience {audience}: {what} mounts will fail with TokenMissing");
        match (is_there, has_irsa || has_pod_identity) {
            (true, _) => checks.push(Check::success(format!("tokenRequests has the audience {audience}"))),
            (false, true) => checks.push(Check::warning(text, hint.clone())),
            (false, false) => checks.push(Check::error(text, hint.clone())),
        }
    }
    checks
}

/// Where Helm keeps the driver's values, if it does. The release may be that of the official provider, whose chart brings the
/// driver: a command that names the driver's own chart would put that in its place.
fn release_of(driver: &CsiDriver) -> Option<String> {
    let annotation = |name: &str| driver.metadata.annotations.get(&format!("meta.helm.sh/{name}"));
    let (release, namespace) = (annotation("release-name")?, annotation("release-namespace")?);
    Some(format!(
        "in the values of the Helm release {namespace}/{release}; below secrets-store-csi-driver, where that is the official AWS provider's"
    ))
}

fn patch(change: &str) -> String {
    // A text of the cluster's must not end the quotes.
    let change = change.replace('\'', "'\\''");
    format!("kubectl patch csidriver {CSI_DRIVER} --type merge --patch '{change}'")
}

/// Kubelet asks again only where the CSIDriver says so, and the driver passes that on only where it is told to.
fn republish(driver: &CsiDriver, facts: &Facts) -> Check {
    const NEVER: &str = "mounted secrets are never refreshed";
    let started = facts.driver_set().and_then(driver_in);
    let rotates = started.is_none_or(|started| started.is_on(ROTATION, ""));
    let hint = match release_of(driver) {
        Some(release) => format!("enableSecretRotation: true, {release}"),
        None => {
            let patch = patch("{\"spec\":{\"requiresRepublish\":true}}");
            format!("{patch}; and --{ROTATION}=true among the arguments of the driver")
        }
    };
    match (driver.spec.requires_republish, rotates) {
        (true, true) => Check::success("requiresRepublish is true"),
        (true, false) => Check::warning(format!("the driver is started without --{ROTATION}=true: {NEVER}"), hint),
        (false, _) => Check::warning(format!("requiresRepublish is false: {NEVER}"), hint),
    }
}

fn classes(facts: &Facts) -> Check {
    match &facts.classes {
        Ok(true) => Check::success("SecretProviderClass is served"),
        Ok(false) => Check::error(
            "SecretProviderClass is not served: the driver's CustomResourceDefinitions are missing",
            "kubectl get crd secretproviderclasses.secrets-store.csi.x-k8s.io; the driver's chart has it",
        ),
        Err(error) => Check::unanswered("whether SecretProviderClass is served", error),
    }
}

fn nodes(facts: &Facts) -> Check {
    let (all, with) = match (&facts.csi_nodes, facts.nodes_with_driver()) {
        (Ok(all), Ok(with)) => (all, with),
        (Err(error), _) | (_, Err(error)) => return Check::unanswered("which nodes have the driver", error),
    };
    let without: Vec<&str> =
        all.iter().map(|node| node.metadata.name.as_str()).filter(|name| !with.contains(name)).collect();
    let counted = format!("the driver is on {} of {}", with.len(), nodes_in_words(all.len()));
    match (with.len(), without.len()) {
        (0, _) => Check::error(
            format!("{counted}: no pod can mount secrets"),
            "kubectl get daemonsets --all-namespaces --selector app=secrets-store-csi-driver",
        ),
        (_, 0) => Check::success(counted),
        _ => Check::warning(
            format!("{counted}: pods on {} cannot mount secrets", few(&without)),
            "tolerations and nodeSelector of the driver's DaemonSet decide; nodes of Windows and Fargate cannot have it",
        ),
    }
}
