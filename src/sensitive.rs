//! What must never be printed: the types keep the secret, not the care of whoever logs.
//!
//! Both are wiped when dropped. The copies that gRPC, HTTP and TLS libraries keep in their buffers are not.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes that belong in one pod's volume and nowhere else. No `Display`, no `Serialize`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// The only way in, so that every use is one search away.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<String> for SecretBytes {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(redacted)")
    }
}

/// The data of the Secret that a pod's volume names in `nodePublishSecretRef`, which comes with each mount of it.
pub type MountSecrets = BTreeMap<String, SecretBytes>;

/// A pod's service-account token: whoever has it is the pod, as far as AWS can tell.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ServiceAccountToken(String);

impl ServiceAccountToken {
    /// The compact JWT. The only way in, so that every use is one search away.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for ServiceAccountToken {
    fn from(jwt: String) -> Self {
        Self(jwt)
    }
}

impl fmt::Debug for ServiceAccountToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceAccountToken(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_sensitive_is_printed() {
        let bytes = SecretBytes::from("hunter2".to_owned());
        let token = ServiceAccountToken::from("header.claims.signature".to_owned());
        let printed = format!("{bytes:?} {token:?} {:?}", Some(&bytes));
        assert!(!printed.contains("hunter2") && !printed.contains("claims"), "{printed}");
    }
}
