//! Certificates and keys in PEM, and the files that are made of them.

use super::Decoding;

/// Which texts of a value are PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PemText {
    /// Keys at the top of a JSON secret, whose texts are taken together. Where this is empty it is the whole value.
    pub keys: Vec<String>,
    /// Of the value, or of each of those texts.
    pub decoding: Decoding,
}

/// What of a private key and its certificates goes into a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PemPart {
    /// The private key.
    Key,
    /// The certificate of the key.
    Certificate,
    /// Who issued that, and who issued him, and so on.
    Chain,
    /// The certificate, then the chain.
    FullChain,
    /// The private key, then the certificate, then the chain.
    Bundle,
}

impl PemPart {
    pub const ALL: [Self; 5] = [Self::Key, Self::Certificate, Self::Chain, Self::FullChain, Self::Bundle];

    /// As classes call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Certificate => "certificate",
            Self::Chain => "chain",
            Self::FullChain => "fullChain",
            Self::Bundle => "bundle",
        }
    }
}
