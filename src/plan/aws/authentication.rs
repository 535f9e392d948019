//! How a pod gets its AWS credentials.

/// Whose word AWS takes for the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// The role that the service account is annotated with, through STS (IRSA).
    Irsa,
    /// The role that EKS has associated with the service account, through the agent on the node.
    PodIdentity(AddressFamily),
}

/// Which of the agent's addresses may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFamily {
    Any,
    Ipv4,
    Ipv6,
}
