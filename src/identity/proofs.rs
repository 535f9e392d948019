//! Proofs that were made, since kubelet sends the same token with every remount.
//!
//! What is remembered is that a signature was right, by the token's digest, and for as long as that stays true: until the
//! token expires or its key goes. Audience, time and the pod are compared anew each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::claims::Claims;
use super::digest::Digest;
use super::key_set::VerifyingKey;
use crate::clock::Instant;

/// More than the pods of a node have tokens.
const MOST_PROOFS: usize = 4_096;
/// What one takes, about.
const PROOF_BYTES: usize = 1_024;
/// How long the API server's word for a token counts. It also looks whether the pod still exists, which a key does not.
const REVIEW_COUNTS_FOR: Duration = Duration::from_secs(5 * 60);

/// Who vouched for a token.
#[derive(Clone)]
pub enum Voucher {
    /// A key with this id.
    Key(String, VerifyingKey),
    ApiServer(Instant),
}

/// A token that was proved.
#[derive(Clone)]
pub struct Proof {
    pub claims: Arc<Claims>,
    pub voucher: Voucher,
}

impl Proof {
    /// Whether it still counts, where `known` finds the key of an id.
    pub fn counts(&self, known: impl Fn(&str) -> Option<VerifyingKey>) -> bool {
        match &self.voucher {
            Voucher::Key(id, key) => known(id).is_some_and(|known| known.is(key)),
            Voucher::ApiServer(at) => at.elapsed() < REVIEW_COUNTS_FOR,
        }
    }
}

/// Proofs by token. Only what was proved gets in, so nobody can push others out with tokens of his own making.
#[derive(Default)]
pub struct Proofs(Mutex<HashMap<Digest, Proof>>);

impl Proofs {
    pub fn get(&self, digest: &Digest) -> Option<Proof> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    /// `now` is in seconds since 1970.
    pub fn put(&self, digest: Digest, proof: Proof, now: u64) {
        let mut proofs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if proofs.len() >= MOST_PROOFS {
            proofs.retain(|_, proof| proof.claims.expires_after(now));
            // A node does not get here. Making all of them again is dear once, a queue of them is dear always.
            if proofs.len() >= MOST_PROOFS {
                proofs.clear();
            }
        }
        proofs.insert(digest, proof);
    }
    /// How many there are, and what they take in bytes, about.
    pub fn size(&self) -> (usize, usize) {
        let count = self.0.lock().unwrap_or_else(PoisonError::into_inner).len();
        (count, count.saturating_mul(PROOF_BYTES))
    }
}
