//! How a cloud is started.

use std::net::{IpAddr, Ipv4Addr};

/// Where the cloud listens and what it calls itself. Port 0 takes a free one.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address of all listeners.
    pub address: IpAddr,
    /// Address of the EKS Pod Identity agent's listener, where it is another one.
    pub agent_address: Option<IpAddr>,
    /// AWS services over plain HTTP, and the control paths.
    pub aws_port: u16,
    /// Kubernetes API.
    pub kubernetes_port: u16,
    /// EKS Pod Identity agent.
    pub agent_port: u16,
    /// AWS services over TLS, for clients that insist on the real host names.
    pub tls_port: u16,
    /// Whether the Kubernetes API is served over TLS too.
    pub kubernetes_tls: bool,
    /// Whether certificates have RSA keys of 2,048 bits, as AWS's have, instead of P-256, which are made faster.
    pub rsa_certificates: bool,
    /// Issuer of the cluster's tokens; `None` takes [`DEFAULT_ISSUER`].
    pub issuer: Option<String>,
    /// The account of secrets, parameters and the admin identity.
    pub account: String,
}

/// Issuer of the cluster's tokens unless the options name another.
pub const DEFAULT_ISSUER: &str = "https://devcloud.invalid/issuer";

impl Default for Options {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            agent_address: None,
            aws_port: 0,
            kubernetes_port: 0,
            agent_port: 0,
            tls_port: 0,
            kubernetes_tls: false,
            rsa_certificates: false,
            issuer: None,
            account: "111122223333".into(),
        }
    }
}
