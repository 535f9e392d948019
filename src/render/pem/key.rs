//! Private keys, as far as it needs to be known whose they are.

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};

use super::der::{BIT_STRING, Elements, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, sequence};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFormat {
    Pkcs8,
    EncryptedPkcs8,
    Pkcs1 { is_encrypted: bool },
    Sec1 { is_encrypted: bool },
}

impl KeyFormat {
    /// What stands in its BEGIN line.
    pub fn label(self) -> &'static str {
        match self {
            Self::Pkcs8 => "PRIVATE KEY",
            Self::EncryptedPkcs8 => "ENCRYPTED PRIVATE KEY",
            Self::Pkcs1 { .. } => "RSA PRIVATE KEY",
            Self::Sec1 { .. } => "EC PRIVATE KEY",
        }
    }

    /// As it is where lines before the base64 say so.
    pub fn encrypted(self) -> Self {
        match self {
            Self::Pkcs8 | Self::EncryptedPkcs8 => self,
            Self::Pkcs1 { .. } => Self::Pkcs1 { is_encrypted: true },
            Self::Sec1 { .. } => Self::Sec1 { is_encrypted: true },
        }
    }
}

/// The bits of the public key that a private one has, as they stand in its certificate. `None` where it is no private key, and
/// `Some(None)` where they cannot be told: of encrypted keys, and of kinds that TLS does not use.
pub fn public_key(format: KeyFormat, der: &[u8]) -> Option<Option<Vec<u8>>> {
    let key: PrivateKeyDer<'_> = match format {
        KeyFormat::Pkcs8 => PrivatePkcs8KeyDer::from(der).into(),
        KeyFormat::Pkcs1 { is_encrypted: false } => PrivatePkcs1KeyDer::from(der).into(),
        KeyFormat::Sec1 { is_encrypted: false } => PrivateSec1KeyDer::from(der).into(),
        KeyFormat::Pkcs1 { .. } | KeyFormat::Sec1 { .. } => return Some(None),
        KeyFormat::EncryptedPkcs8 => return has_shape_of(format, der).map(|()| None),
    };
    let known = any_supported_type(&key).ok();
    match known.as_ref().and_then(|key| key.public_key()) {
        Some(info) => Some(Some(bits(&info)?.to_vec())),
        None => has_shape_of(format, der).map(|()| None),
    }
}

/// The key of a `SubjectPublicKeyInfo`, <https://www.rfc-editor.org/rfc/rfc5280#section-4.1>.
pub fn bits(info: &[u8]) -> Option<&[u8]> {
    let mut info = sequence(info)?;
    info.expect(SEQUENCE)?;
    let bits = info.expect(BIT_STRING)?;
    info.end()?;
    bits.content.strip_prefix(&[0]) // all bits of the last byte count
}

fn has_shape_of(format: KeyFormat, der: &[u8]) -> Option<()> {
    let mut parts = sequence(der)?;
    match format {
        // <https://www.rfc-editor.org/rfc/rfc5208#section-5>
        KeyFormat::Pkcs8 => {
            parts.expect(INTEGER)?;
            Elements::of(parts.expect(SEQUENCE)?.content).expect(OBJECT_IDENTIFIER)?;
            parts.expect(OCTET_STRING)?;
        }
        // The same, section 6
        KeyFormat::EncryptedPkcs8 => {
            Elements::of(parts.expect(SEQUENCE)?.content).expect(OBJECT_IDENTIFIER)?;
            parts.expect(OCTET_STRING)?;
            parts.end()?;
        }
        // <https://www.rfc-editor.org/rfc/rfc8017#appendix-A.1.2>: a version and eight numbers
        KeyFormat::Pkcs1 { .. } => {
            for _ in 0..9 {
                parts.expect(INTEGER)?;
            }
        }
        // <https://www.rfc-editor.org/rfc/rfc5915#section-3>
        KeyFormat::Sec1 { .. } => {
            parts.expect(INTEGER)?;
            parts.expect(OCTET_STRING)?;
        }
    }
    Some(())
}
