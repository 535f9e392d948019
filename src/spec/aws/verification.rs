//! `verify` of an object.

use super::raw::RawVerify;
use super::reader::{Reader, given};
use crate::plan::{PemText, Regexp, Verification};
use crate::spec::SpecError;

/// Most `keys`, and most bytes of one.
const MAX_KEYS: usize = 200;
const MAX_KEY_BYTES: usize = 1024;

pub fn parse(reader: &mut Reader<'_>, written: Option<RawVerify>) -> Result<Verification, SpecError> {
    let written = written.unwrap_or_default();
    reader.unknown_keys(&written.unknown_keys, "`verify` of ");
    let keys = written.keys.unwrap_or_default();
    if keys.len() > MAX_KEYS {
        return Err(reader.wrong(format!("has {} keys in verify; {MAX_KEYS} is the limit", keys.len())));
    }
    if keys.iter().any(|key| key.len() > MAX_KEY_BYTES) {
        return Err(reader.wrong(format!("has a key of more than {MAX_KEY_BYTES} bytes in verify")));
    }
    let regexp = match given(written.regexp) {
        None => None,
        Some(text) => {
            let parsed = text.parse::<Regexp>();
            Some(parsed.map_err(|problem| reader.wrong_value("verify.regexp", &text, problem))?)
        }
    };
    Ok(Verification {
        pem: reader.flag("verify.pem", written.pem)?,
        not_expired: reader.flag("verify.notExpired", written.not_expired)?,
        pem_text: PemText::default(), // until it is known whether the object has `pem`
        not_empty: reader.flag("verify.notEmpty", written.not_empty)?,
        json: reader.flag("verify.json", written.json)?,
        keys,
        regexp,
    })
}
