//! `pem` of an object: files of a private key and its certificates.

use super::contents::Manner;
use super::raw::RawPem;
use super::reader::{Reader, given};
use crate::plan::{Content, Decoding, PemPart, PemText, PlannedFile};
use crate::spec::SpecError;

/// Most keys in `from`, and most bytes of one.
const MAX_KEYS: usize = 20;
const MAX_KEY_BYTES: usize = 1024;

/// Where the PEM is, and the files that are made of it.
pub fn parse(
    reader: &mut Reader<'_>,
    written: Option<RawPem>,
    manner: Manner,
) -> Result<(PemText, Vec<PlannedFile>), SpecError> {
    let Some(RawPem { from, key, certificate, chain, full_chain, bundle, unknown_keys }) = written else {
        return Ok((PemText::default(), Vec::new()));
    };
    reader.unknown_keys(&unknown_keys, "`pem` of ");
    let keys = from.unwrap_or_default();
    if keys.len() > MAX_KEYS {
        return Err(reader.wrong(format!("has {} keys in pem.from; {MAX_KEYS} is the limit", keys.len())));
    }
    if keys.iter().any(|key| key.is_empty() || key.len() > MAX_KEY_BYTES) {
        return Err(
            reader.wrong(format!("has a key in pem.from that is empty, or has more than {MAX_KEY_BYTES} bytes"))
        );
    }
    let text = PemText { keys, decoding: manner.decoding };
    // What it is made of has been decoded, so its parts are not.
    let manner = Manner { decoding: Decoding::None, ..manner };
    let written = [key, certificate, chain, full_chain, bundle];
    let mut files = Vec::new();
    for (part, name) in PemPart::ALL.into_iter().zip(written) {
        if let Some(name) = given(name) {
            files.push(manner.file(reader.path(&name)?, Content::Pem(text.clone(), part)));
        }
    }
    if files.is_empty() {
        let problem =
            "has pem without a file; set key, certificate, chain, fullChain or bundle in it to the name of one";
        return Err(reader.wrong(problem.into()));
    }
    Ok((text, files))
}
