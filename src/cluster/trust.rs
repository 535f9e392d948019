//! Whom this process takes for the API server, and with what certificate it shows itself where it has one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Config;
use kube::config::AuthInfo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use secrecy::ExposeSecret as _;
use tracing::warn;

use crate::clock::Instant;

/// An authority's certificate changes in the file that a pod has of it, long before the old one ends.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// TLS as a configuration says: the authorities of a file are read again and again, those of a kubeconfig stay.
///
/// # Errors
/// Certificates and keys that cannot be read, and a server that is not to be checked.
pub fn tls(config: &Config) -> anyhow::Result<ClientConfig> {
    anyhow::ensure!(
        !config.accept_invalid_certs,
        "the kubeconfig has insecure-skip-tls-verify: anybody could be its API server; give certificate-authority instead"
    );
    let authorities = match (&config.root_cert_file, &config.root_cert) {
        (Some(path), _) => Authorities::of_file(path)?,
        (None, Some(certificates)) => {
            let certificates = certificates.iter().cloned().map(CertificateDer::from);
            Authorities::Fixed(verifier(certificates).context("the kubeconfig's certificate-authority")?)
        }
        (None, None) => {
            let found = rustls_native_certs::load_native_certs().certs;
            Authorities::Fixed(verifier(found.into_iter()).context("the authorities of this machine")?)
        }
    };
    let builder = ClientConfig::builder_with_provider(cryptography()).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(authorities));
    match identity(&config.auth_info)? {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => {
            builder.with_client_auth_cert(chain, key).context("the kubeconfig's client certificate and key")
        }
    }
}

/// Whoever has a certificate of one of them is the server, if its name is right: rustls decides that.
#[derive(Debug)]
enum Authorities {
    Fixed(Arc<WebPkiServerVerifier>),
    File { path: PathBuf, last: RwLock<(Arc<WebPkiServerVerifier>, Instant)> },
}

impl Authorities {
    fn of_file(path: &Path) -> anyhow::Result<Self> {
        let last = RwLock::new((read(path)?, Instant::now()));
        Ok(Self::File { path: path.to_owned(), last })
    }

    /// Those of now. Where a file cannot be read for a moment, those before.
    fn current(&self) -> Arc<WebPkiServerVerifier> {
        let (path, last) = match self {
            Self::Fixed(verifier) => return verifier.clone(),
            Self::File { path, last } => (path, last),
        };
        let (verifier, at) = last.read().unwrap_or_else(PoisonError::into_inner).clone();
        if at.elapsed() < READ_AGAIN_AFTER {
            return verifier;
        }
        let now = read(path).unwrap_or_else(|error| {
            warn!(%error, "the authorities of the API server cannot be read again");
            verifier
        });
        *last.write().unwrap_or_else(PoisonError::into_inner) = (now.clone(), Instant::now());
        now
    }
}

fn read(path: &Path) -> anyhow::Result<Arc<WebPkiServerVerifier>> {
    let read = || {
        let found = CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?;
        verifier(found.into_iter())
    };
    read().with_context(|| format!("the authorities in {} cannot be used", path.display()))
}

fn verifier(certificates: impl Iterator<Item = CertificateDer<'static>>) -> anyhow::Result<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    // One that is none among many, as systems have them, says nothing about the others.
    roots.add_parsable_certificates(certificates);
    anyhow::ensure!(!roots.is_empty(), "there is no certificate in it");
    Ok(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), cryptography()).build()?)
}

fn cryptography() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(user: &AuthInfo) -> anyhow::Result<Option<Identity>> {
    let key = user.client_key_data.as_ref().map(|key| key.expose_secret());
    let certificate = pem(user.client_certificate_data.as_deref(), user.client_certificate.as_deref());
    let certificate = certificate.context("the kubeconfig's client-certificate")?;
    let key = pem(key, user.client_key.as_deref()).context("the kubeconfig's client-key")?;
    let (certificate, key) = match (certificate, key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        _ => anyhow::bail!("the kubeconfig's user has a client certificate or a key, and needs both"),
    };
    let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>();
    let chain = chain.context("the kubeconfig's client-certificate")?;
    let key = PrivateKeyDer::from_pem_slice(&key).context("the kubeconfig's client-key")?;
    Ok(Some((chain, key)))
}

/// In base64, or in a file.
fn pem(data: Option<&str>, file: Option<&str>) -> anyhow::Result<Option<zeroize::Zeroizing<Vec<u8>>>> {
    let bytes = match (data, file) {
        (Some(data), _) => Some(STANDARD.decode(data).map_err(|_| anyhow::anyhow!("it is no base64"))?),
        (None, Some(file)) => Some(std::fs::read(file).with_context(|| format!("{file} cannot be read"))?),
        (None, None) => None,
    };
    Ok(bytes.map(Into::into))
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.current().verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current().supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use devcloud::{DevCloud, Options};
    use rustls::crypto::SupportedKxGroup;
    use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
    use rustls::{ClientConnection, HandshakeKind, NamedGroup, ServerConfig, ServerConnection};

    use super::*;

    fn config() -> Config {
        Config::new("https://127.0.0.1:1".parse().expect("a URL"))
    }

    #[tokio::test(start_paused = true)]
    async fn authorities_in_a_file_are_read_again_and_again_and_old_ones_are_better_than_none() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let cloud = DevCloud::start(Options::default()).await.expect("starts");
        std::fs::write(file.path(), cloud.ca_pem()).expect("written");
        let authorities = Authorities::of_file(file.path()).expect("taken");
        let first = authorities.current();
        assert!(Arc::ptr_eq(&first, &authorities.current()));
        tokio::time::advance(READ_AGAIN_AFTER).await;
        let second = authorities.current();
        assert!(!Arc::ptr_eq(&first, &second), "read again");
        std::fs::write(file.path(), "no certificate").expect("written");
        tokio::time::advance(READ_AGAIN_AFTER).await;
        assert!(Arc::ptr_eq(&second, &authorities.current()), "the ones before");
    }

    /// A handshake with a server that knows these groups and no other.
    fn handshake(groups: Vec<&'static dyn SupportedKxGroup>) -> (Option<NamedGroup>, Option<HandshakeKind>) {
        let made = rcgen::generate_simple_self_signed(["api.invalid".into()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = CryptoProvider { kx_groups: groups, ..rustls::crypto::aws_lc_rs::default_provider() };
        let server = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("its key");
        let mut config = config();
        config.root_cert = Some(vec![made.cert.der().to_vec()]);
        let name = ServerName::try_from("api.invalid").expect("a name");
        let mut client = ClientConnection::new(Arc::new(tls(&config).expect("a client")), name).expect("a client");
        let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).expect("written");
            server.read_tls(&mut wire.as_slice()).expect("read");
            server.process_new_packets().expect("understood");
            wire.clear();
            server.write_tls(&mut wire).expect("written");
            client.read_tls(&mut wire.as_slice()).expect("read");
            client.process_new_packets().expect("understood");
        }
        (client.negotiated_key_exchange_group().map(|group| group.name()), client.handshake_kind())
    }

    #[test]
    fn keys_are_agreed_on_post_quantum_first_and_an_older_server_costs_no_more_round_trips() {
        let of_today = handshake(vec![X25519MLKEM768]);
        let of_yesterday = handshake(vec![X25519]);
        assert_eq!(of_yesterday, (Some(NamedGroup::X25519), Some(HandshakeKind::Full)));
        assert_eq!(of_today, (Some(NamedGroup::X25519MLKEM768), Some(HandshakeKind::Full)));
    }

    #[test]
    fn a_server_that_is_not_to_be_checked_is_refused_and_so_is_half_an_identity() {
        let mut unchecked = config();
        unchecked.accept_invalid_certs = true;
        let mut half = config();
        half.root_cert = None;
        half.auth_info.client_certificate_data = Some(STANDARD.encode("x"));
        let mut empty = config();
        empty.root_cert = Some(Vec::new());
        for (config, what) in [
            (unchecked, "certificate-authority instead"),
            (half, "needs both"),
            (empty, "there is no certificate in it"),
        ] {
            let error = format!("{:#}", tls(&config).expect_err(what));
            assert!(error.contains(what), "{error}");
        }
    }
}
