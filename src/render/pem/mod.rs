//! A private key and the certificates that belong to it, put in order.
//!
//! Authorities and tools hand both out in any order, in one text or in several, with words between them; a server wants its
//! own certificate first and then whoever issued it, one after the other.

mod blocks;
mod certificate;
mod der;
mod key;

use std::time::SystemTime;

use blocks::{Block, Kind, blocks};
use certificate::Certificate;
use key::public_key;

use super::bounded::Bounded;
use super::evaluate::{Budget, EvaluationError};
use crate::plan::PemPart;
use crate::sensitive::SecretBytes;

/// Most blocks of one value.
const MAX_BLOCKS: usize = 100;

/// Why a value has not what is asked of it; reads on after its name. Blocks count from 1, through all texts. What stands in
/// them is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    #[error(
        "has no PEM, which begins with a line `-----BEGIN …-----`. Store it with its line breaks, or name the keys of a JSON secret in `from`"
    )]
    NoBlocks,
    #[error("has more than {MAX_BLOCKS} PEM blocks. Store fewer")]
    TooManyBlocks,
    #[error("has a broken PEM block {0}. Store it with its line breaks, from its BEGIN line to its END line")]
    Broken(usize),
    #[error("has PEM block {0}, which is neither a certificate nor its private key. Take it out")]
    Other(usize),
    #[error("has PEM block {0}, which is called a certificate, but is none (X.509 in DER). Store it anew")]
    NoX509(usize),
    #[error("has PEM block {0}, which is called a private key, but is none of that kind. Store it anew")]
    NoKey(usize),
    #[error("has PEM block {0}, in which is no DER. Store it anew")]
    NoDer(usize),
    #[error("has more than one private key. Store one, or name fewer keys in `from`")]
    SeveralKeys,
    #[error("has no private key, which `{0}` needs. Store it too, or leave `{0}` out")]
    KeyMissing(&'static str),
    #[error("has no certificate, which `{0}` needs. Store it too, or leave `{0}` out")]
    CertificateMissing(&'static str),
    #[error(
        "has no certificate besides the leaf, so `chain` would be empty. Store who issued it, or leave `chain` out"
    )]
    ChainMissing,
    #[error("has a private key that none of its certificates is for. Store the certificate of this key")]
    KeyOfNone,
    #[error(
        "has no leaf that could be told: not exactly one certificate has issued none of the others. Store the private key too, or one chain only"
    )]
    NoLeaf,
    #[error(
        "has a private key that is encrypted or of an uncommon kind, so the leaf cannot be told: not exactly one certificate has issued none of the others. Store one chain only"
    )]
    NoLeafOfKey,
    #[error("has several certificates that may have issued the one in PEM block {0}. Store one of them")]
    SeveralIssuers(usize),
    #[error(
        "has a certificate in PEM block {0} that is not in the chain of the leaf. Take it out, or store what is between"
    )]
    NotInChain(usize),
    #[error("has more certificates and keys than one mount compares. Store fewer")]
    TooExpensive,
}

impl From<EvaluationError> for PemError {
    fn from(_: EvaluationError) -> Self {
        Self::TooExpensive
    }
}

/// A private key, its certificate, and who issued that. What there is of them, and nothing else.
pub struct Bundle {
    key: Option<SecretBytes>,
    /// From the leaf on, each issued by the next.
    certificates: Vec<SecretBytes>,
}

impl Bundle {
    /// # Errors
    /// What does not belong together, or could be meant in more than one way.
    pub fn of(texts: &[SecretBytes], budget: &mut Budget) -> Result<Self, PemError> {
        let blocks = all_blocks(texts)?;
        let (mut key, mut of_key) = (None, None);
        let mut certificates: Vec<Certificate<'_>> = Vec::new();
        for block in &blocks {
            match block.kind {
                Kind::Certificate => {
                    let certificate = Certificate::parse(block).ok_or(PemError::NoX509(block.number))?;
                    // The same one twice, in the texts of two keys for example, is one.
                    if certificates.iter().all(|other| other.block.content != block.content) {
                        certificates.push(certificate);
                    }
                }
                Kind::Key(format) => {
                    budget.pay_for_cryptography()?;
                    of_key = public_key(format, block.content.expose()).ok_or(PemError::NoKey(block.number))?;
                    if key.replace(block).is_some() {
                        return Err(PemError::SeveralKeys);
                    }
                }
                Kind::Parameters => {} // `openssl ecparam` writes them before the key, which has them too
                Kind::Other => return Err(PemError::Other(block.number)),
            }
        }
        let order = match certificates.is_empty() {
            true => Vec::new(),
            false => {
                let leaf = leaf(&certificates, of_key.as_deref(), key.is_some(), budget)?;
                chain(&certificates, leaf, budget)?
            }
        };
        let certificates = order.into_iter().map(|certificate| certificate.block.text()).collect();
        Ok(Self { key: key.map(Block::text), certificates })
    }

    /// One after the other, as programs read them; `None` for what has more than `limit` bytes.
    ///
    /// # Errors
    /// What there is nothing of.
    pub fn part(&self, part: PemPart, limit: usize) -> Result<Option<SecretBytes>, PemError> {
        let name = part.as_str();
        let key = || self.key.as_ref().ok_or(PemError::KeyMissing(name));
        let whole = self.certificates.as_slice();
        let (leaf, chain) = whole.split_at(whole.len().min(1));
        let mut texts: Vec<&SecretBytes> = Vec::new();
        match part {
            PemPart::Key => texts.push(key()?),
            PemPart::Bundle => {
                texts.push(key()?);
                texts.extend(whole);
            }
            PemPart::Certificate => texts.extend(leaf),
            PemPart::Chain => texts.extend(chain),
            PemPart::FullChain => texts.extend(whole),
        }
        if part != PemPart::Key && leaf.is_empty() {
            return Err(PemError::CertificateMissing(name));
        }
        if part == PemPart::Chain && chain.is_empty() {
            return Err(PemError::ChainMissing);
        }
        let mut out = Bounded::new(limit);
        let written = texts.iter().try_for_each(|text| out.push(std::str::from_utf8(text.expose()).ok()?));
        Ok(written.map(|()| out.into()))
    }
}

/// That every block is what it says it is.
pub fn check(texts: &[SecretBytes], budget: &mut Budget) -> Result<(), PemError> {
    for block in all_blocks(texts)? {
        let (content, number) = (block.content.expose(), block.number);
        let problem = match block.kind {
            Kind::Certificate => Certificate::parse(&block).is_none().then_some(PemError::NoX509(number)),
            Kind::Key(format) => {
                budget.pay_for_cryptography()?;
                public_key(format, content).is_none().then_some(PemError::NoKey(number))
            }
            Kind::Parameters | Kind::Other => der::single(content).is_none().then_some(PemError::NoDer(number)),
        };
        problem.map_or(Ok(()), Err)?;
    }
    Ok(())
}

/// Whether a certificate has ended that has issued none of the others, and of several that have, the first.
pub fn ended(texts: &[SecretBytes], now: SystemTime, budget: &mut Budget) -> Result<Expiry, PemError> {
    let blocks = all_blocks(texts)?;
    let of_block = |block| Certificate::parse(block).ok_or(PemError::NoX509(block.number));
    let certificates = blocks.iter().filter(|block| block.kind == Kind::Certificate).map(of_block);
    let certificates = certificates.collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() {
        return Ok(Expiry::NoCertificate);
    }
    let mut first: Option<&Certificate<'_>> = None;
    for certificate in &certificates {
        if certificate.has_ended(now)
            && first.is_none_or(|first| certificate.not_after < first.not_after)
            && !has_issued_another(certificate, &certificates, budget)?
        {
            first = Some(certificate);
        }
    }
    Ok(first.map_or(Expiry::None, |certificate| Expiry::On(certificate.last_day())))
}

/// Whether a value has a certificate that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expiry {
    None,
    NoCertificate,
    /// The day, as `2026-01-31`.
    On(String),
}

fn all_blocks(texts: &[SecretBytes]) -> Result<Vec<Block>, PemError> {
    let mut all = Vec::new();
    for text in texts {
        blocks(text.expose(), &mut all)?;
    }
    if all.is_empty() { Err(PemError::NoBlocks) } else { Ok(all) }
}

/// The certificate of the key, or where that cannot be told, the one that has issued none of the others.
fn leaf<'c, 'a>(
    certificates: &'c [Certificate<'a>],
    of_key: Option<&[u8]>,
    has_key: bool,
    budget: &mut Budget,
) -> Result<&'c Certificate<'a>, PemError> {
    let mut leaves = Vec::new();
    match of_key {
        // A renewed certificate may have the key of the one before; the other one is then told to be in no chain.
        Some(key) => {
            let of_key = certificates.iter().find(|certificate| certificate.public_key == key);
            return of_key.ok_or(PemError::KeyOfNone);
        }
        None => {
            for certificate in certificates {
                if !has_issued_another(certificate, certificates, budget)? {
                    leaves.push(certificate);
                }
            }
        }
    }
    match (leaves.as_slice(), has_key) {
        ([leaf], _) => Ok(leaf),
        (_, true) => Err(PemError::NoLeafOfKey),
        (_, false) => Err(PemError::NoLeaf),
    }
}

fn has_issued_another(
    certificate: &Certificate<'_>,
    certificates: &[Certificate<'_>],
    budget: &mut Budget,
) -> Result<bool, PemError> {
    for other in certificates {
        if other.block.content != certificate.block.content && certificate.has_issued(other, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The leaf, who issued it, and so on. All certificates are in it.
fn chain<'c, 'a>(
    certificates: &'c [Certificate<'a>],
    leaf: &'c Certificate<'a>,
    budget: &mut Budget,
) -> Result<Vec<&'c Certificate<'a>>, PemError> {
    let mut chain = vec![leaf];
    let mut rest: Vec<&Certificate<'_>> =
        certificates.iter().filter(|other| other.block.number != leaf.block.number).collect();
    let mut last = leaf;
    loop {
        let mut issuers = Vec::new();
        for &other in &rest {
            if other.has_issued(last, budget)? {
                issuers.push(other);
            }
        }
        match issuers.as_slice() {
            [] => break,
            [issuer] => last = issuer,
            _ => return Err(PemError::SeveralIssuers(last.block.number)),
        }
        rest.retain(|other| other.block.number != last.block.number);
        chain.push(last);
    }
    match rest.first() {
        None => Ok(chain),
        Some(other) => Err(PemError::NotInChain(other.block.number)),
    }
}

#[cfg(test)]
mod tests;
