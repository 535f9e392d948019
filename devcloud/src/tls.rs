//! A certificate authority of the cloud's own, and certificates made for whatever host is asked for.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::lock::lock;

/// Hosts that get a certificate; a name that starts with a dot stands for all below it.
const HOSTS: [&str; 7] = [
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".api.aws",
    ".api.amazonwebservices.com.cn",
    ".devcloud.invalid",
    "devcloud.invalid",
    "localhost",
];

/// Signs certificates, once for each host.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Of all hosts, so that no handshake waits while one is made.
    key: KeyPair,
    /// Given to clients that name no host.
    address: IpAddr,
    made: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Authority {
    pub fn new(address: IpAddr, rsa: bool) -> Result<Self, rcgen::Error> {
        let algorithm = if rsa { &PKCS_RSA_SHA256 } else { &PKCS_ECDSA_P256_SHA256 };
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "devcloud test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate_for(algorithm)?)?,
            key: KeyPair::generate_for(algorithm)?,
            address,
            made: Mutex::default(),
        })
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// `protocols` are offered in this order (RFC 7301).
    pub fn server_config(self: &Arc<Self>, protocols: &[&str]) -> Result<Arc<ServerConfig>, rustls::Error> {
        let resolver = Arc::clone(self) as Arc<dyn ResolvesServerCert>;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }

    fn make(&self, names: Vec<String>) -> Option<CertifiedKey> {
        let mut params = CertificateParams::new(names).ok()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&self.key, &self.issuer).ok()?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        Some(CertifiedKey::new(vec![certificate.der().clone()], any_supported_type(&key).ok()?))
    }
}

impl ResolvesServerCert for Authority {
    /// `None`, which ends the handshake, for hosts the cloud does not stand for.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name().unwrap_or_default().to_owned();
        if !host.is_empty() && !is_ours(&host) {
            return None;
        }
        let mut made = lock(&self.made);
        if let Some(key) = made.get(&host) {
            return Some(Arc::clone(key));
        }
        let names = match host.is_empty() {
            true => vec!["localhost".into(), "127.0.0.1".into(), self.address.to_string()],
            false => vec![host.clone()],
        };
        let key = Arc::new(self.make(names)?);
        made.insert(host, Arc::clone(&key));
        Some(key)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

fn is_ours(host: &str) -> bool {
    HOSTS.iter().any(|known| match known.strip_prefix('.') {
        Some(_) => host.len() > known.len() && host.ends_with(known),
        None => host == *known,
    })
}

#[cfg(test)]
mod tests {
    use rustls::SignatureScheme;

    use super::*;

    #[test]
    fn certificates_are_made_for_aws_hosts_only() {
        assert!(is_ours("secretsmanager.eu-west-1.amazonaws.com"));
        assert!(is_ours("ssm.cn-north-1.amazonaws.com.cn"));
        assert!(is_ours("localhost"));
        assert!(!is_ours("amazonaws.com.example.org"));
        assert!(!is_ours(".amazonaws.com"));
        assert!(!is_ours("example.org"));
    }

    #[test]
    fn the_authority_and_a_certificate_can_be_made() {
        for (rsa, scheme) in [(false, SignatureScheme::ECDSA_NISTP256_SHA256), (true, SignatureScheme::RSA_PSS_SHA256)]
        {
            let authority = Authority::new(IpAddr::from([127, 0, 0, 1]), rsa).expect("an authority");
            assert!(authority.pem().starts_with("-----BEGIN CERTIFICATE-----"));
            let made = authority.make(vec!["sts.eu-west-1.amazonaws.com".into()]).expect("a certificate");
            assert!(made.key.choose_scheme(&[scheme]).is_some());
        }
    }
}
