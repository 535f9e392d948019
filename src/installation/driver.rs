//! The driver, and what it tells kubelet to send along.

use super::Check;
use super::facts::{Facts, driver_in, provider_in};
use super::provider::{few, nodes_in_words};
use super::started::version_of;
use crate::cluster::ClusterError;
use crate::cluster::objects::{CSI_DRIVER, CsiDriver};

const CHART: &str = "secrets-store-csi-driver/secrets-store-csi-driver";
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
            checks.push(republish(driver));
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
            format!(
                "kubectl patch csidriver {CSI_DRIVER} --type merge --patch '{{\"spec\":{{\"podInfoOnMount\":true}}}}'"
            ),
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
    let mut all = present.clone();
    all.extend(wanted.iter().filter(|audience| !present.contains(audience)));
    let hint = add_audiences(driver, &all);
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

/// By the chart that the driver was installed with, if it was.
fn add_audiences(driver: &CsiDriver, audiences: &[&str]) -> String {
    let annotation = |name: &str| driver.metadata.annotations.get(&format!("meta.helm.sh/{name}"));
    match (annotation("release-name"), annotation("release-namespace")) {
        (Some(release), Some(namespace)) => {
            let values = audiences.iter().enumerate();
            let values = values.map(|(index, audience)| format!("--set 'tokenRequests[{index}].audience={audience}'"));
            format!(
                "helm upgrade {release} {CHART} --namespace {namespace} --reuse-values {}",
                values.collect::<Vec<_>>().join(" ")
            )
        }
        _ => {
            let requests = audiences.iter().map(|audience| format!("{{\"audience\":\"{audience}\"}}"));
            let requests = requests.collect::<Vec<_>>().join(",");
            format!(
                "kubectl patch csidriver {CSI_DRIVER} --type merge --patch '{{\"spec\":{{\"tokenRequests\":[{requests}]}}}}'"
            )
        }
    }
}

fn republish(driver: &CsiDriver) -> Check {
    match driver.spec.requires_republish {
        true => Check::success("requiresRepublish is true"),
        false => Check::warning(
            "requiresRepublish is false: mounted secrets are never refreshed",
            format!(
                "kubectl patch csidriver {CSI_DRIVER} --type merge --patch '{{\"spec\":{{\"requiresRepublish\":true}}}}'"
            ),
        ),
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
