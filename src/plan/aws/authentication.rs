//! How a pod gets its AWS credentials.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::RoleArn;

/// As whom a class reads: with the first credentials, or as the last of the roles that are assumed from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    pub origin: Origin,
    /// Assumed one after another, each with the credentials of the one before.
    pub hops: Vec<Hop>,
}

/// Where the first credentials come from: whose word AWS takes for the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A role, through STS (IRSA): the one that the class names, or the service account's annotation.
    Irsa { role: Option<RoleArn> },
    /// The role that EKS has associated with the service account, through the agent on the node.
    PodIdentity(AddressFamily),
    /// Keys in the Secret that the pod's volume names in `nodePublishSecretRef`.
    NodePublishSecret,
}

/// Which of the agent's addresses may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFamily {
    Any,
    Ipv4,
    Ipv6,
}

/// A role that is assumed with the credentials of another, and all that AWS is told along: two hops that differ in any of it
/// make sessions with different rights.
///
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hop {
    pub role: RoleArn,
    pub external_id: Option<String>,
    pub session_tags: BTreeMap<String, String>,
    /// Those of the tags that the sessions after this one have too.
    pub transitive_tag_keys: BTreeSet<String>,
    /// Length of the session, if not AWS's hour.
    pub duration: Option<Duration>,
}
