//! What tells tokens apart without being one.

use crate::sensitive::ServiceAccountToken;

/// SHA-256 of a token.
pub type Digest = [u8; 32];

pub fn digest(token: &ServiceAccountToken) -> Digest {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.expose().as_bytes());
    let mut digest = Digest::default();
    digest.copy_from_slice(hash.as_ref());
    digest
}
