//! Certificates, as far as it needs to be known who issued them and when they end.
//! <https://www.rfc-editor.org/rfc/rfc5280#section-4.1>

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{AlgorithmIdentifier, alg_id};

use super::PemError;
use super::blocks::Block;
use super::der::{BIT_STRING, Element, Elements, GENERALIZED_TIME, INTEGER, SEQUENCE, UTC_TIME, sequence};
use super::key::bits;
use crate::render::evaluate::Budget;

/// The optional fields at the end: ids of issuer and subject, and extensions.
const OPTIONAL: [u8; 3] = [0x81, 0x82, 0xa3];
const VERSION: u8 = 0xa0;
/// What the library takes signatures of.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

pub struct Certificate<'a> {
    pub block: &'a Block,
    /// What is signed.
    signed: &'a [u8],
    signature_algorithm: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    key_algorithm: &'a [u8],
    pub public_key: &'a [u8],
    /// Seconds since 1970.
    pub not_after: i64,
}

impl<'a> Certificate<'a> {
    pub fn parse(block: &'a Block) -> Option<Self> {
        let mut parts = sequence(block.content.expose())?;
        let (signed, algorithm, signature) =
            (parts.expect(SEQUENCE)?, parts.expect(SEQUENCE)?, parts.expect(BIT_STRING)?);
        parts.end()?;
        let mut fields = Elements::of(signed.content);
        fields.optional(VERSION);
        fields.expect(INTEGER)?; // serial number
        let inner_algorithm = fields.expect(SEQUENCE)?;
        let issuer = fields.expect(SEQUENCE)?;
        let mut validity = Elements::of(fields.expect(SEQUENCE)?.content);
        let (not_before, not_after) = (validity.next()?, validity.next()?);
        validity.end()?;
        let subject = fields.expect(SEQUENCE)?;
        let key = fields.expect(SEQUENCE)?;
        for tag in OPTIONAL {
            fields.optional(tag);
        }
        fields.end()?;
        seconds(not_before)?;
        (inner_algorithm.content == algorithm.content).then_some(Self {
            block,
            signed: signed.whole,
            signature_algorithm: algorithm.content,
            signature: signature.content.strip_prefix(&[0])?,
            issuer: issuer.content,
            subject: subject.content,
            key_algorithm: Elements::of(key.content).expect(SEQUENCE)?.content,
            public_key: bits(key.whole)?,
            not_after: seconds(not_after)?,
        })
    }

    /// Whether it has the other's issuer for its subject, and its key has signed that one. Where the signature is of a kind
    /// that cannot be looked at, the names decide.
    pub fn has_issued(&self, other: &Self, budget: &mut Budget) -> Result<bool, PemError> {
        if self.subject != other.issuer {
            return Ok(false);
        }
        budget.pay_for_cryptography()?;
        let algorithms = default_provider().signature_verification_algorithms.all;
        let known = algorithms.iter().find(|algorithm| {
            algorithm.signature_alg_id().as_ref() == other.signature_algorithm
                && algorithm.public_key_alg_id().as_ref() == self.key_algorithm
        });
        Ok(match known {
            Some(known) if !self.has_odd_rsa_key() => {
                known.verify_signature(self.public_key, other.signed, other.signature).is_ok()
            }
            _ => true,
        })
    }

    fn has_odd_rsa_key(&self) -> bool {
        const RSA: AlgorithmIdentifier = alg_id::RSA_ENCRYPTION;
        let bits = sequence(self.public_key).and_then(|mut key| {
            let modulus = key.expect(INTEGER)?.content;
            modulus.strip_prefix(&[0]).unwrap_or(modulus).len().checked_mul(8)
        });
        self.key_algorithm == RSA.as_ref() && bits.is_none_or(|bits| !RSA_BITS.contains(&bits))
    }

    pub fn has_ended(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs);
        i64::try_from(now).is_ok_and(|now| now > self.not_after)
    }

    /// The day on which it ends, in UTC.
    pub fn last_day(&self) -> String {
        let (year, month, day) = date(self.not_after.div_euclid(SECONDS_A_DAY));
        format!("{year:04}-{month:02}-{day:02}")
    }
}

const SECONDS_A_DAY: i64 = 24 * 60 * 60;

/// Section 4.1.2.5 there: years of two digits are those from 1950 to 2049, everything is given, and in UTC.
fn seconds(time: Element<'_>) -> Option<i64> {
    let text = std::str::from_utf8(time.content).ok()?.strip_suffix('Z')?;
    let digits_of_year = match (time.tag, text.len()) {
        (UTC_TIME, 12) => 2,
        (GENERALIZED_TIME, 14) => 4,
        _ => return None,
    };
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, mut rest) = text.split_at_checked(digits_of_year)?;
    let year = match (digits_of_year, year.parse::<i64>().ok()?) {
        (2, year @ ..50) => 2000 + year,
        (2, year) => 1900 + year,
        (_, year) => year,
    };
    let mut two_digits = || -> Option<i64> {
        let (digits, behind) = rest.split_at_checked(2)?;
        rest = behind;
        digits.parse().ok()
    };
    let (month, day) = (two_digits()?, two_digits()?);
    let (hour, minute, second) = (two_digits()?, two_digits()?, two_digits()?);
    let is_time = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    is_time.then_some(days(year, month, day) * SECONDS_A_DAY + hour * 3600 + minute * 60 + second)
}

/// Days from 1970 to a day of the Gregorian calendar. Years begin in March here, so that the day of a leap year is the last of
/// one: <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

/// Year, month and day, which [`days`] makes a number of.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year, if month < 10 { month + 3 } else { month - 9 });
    (if month > 2 { year } else { year + 1 }, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(tag: u8, text: &str) -> Option<i64> {
        seconds(Element { tag, content: text.as_bytes(), whole: &[] })
    }

    #[test]
    fn times_are_those_of_the_rfc() {
        assert_eq!(of(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(of(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(of(UTC_TIME, "500101000000Z"), Some(-631_152_000));
        assert_eq!(of(GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799));
        for wrong in
            ["7001010000Z", "700101000000", "700101000000+0100", "701301000000Z", "700100000000Z", "7001010000é"]
        {
            assert_eq!(of(UTC_TIME, wrong), None, "{wrong}");
        }
        assert_eq!(of(GENERALIZED_TIME, "20260101000000.5Z"), None);
    }

    proptest! {
        #[test]
        fn a_day_is_the_same_day_after_all_conversions(number in -800_000i64..3_000_000) {
            let (year, month, day) = date(number);
            prop_assert_eq!(days(year, month, day), number);
            prop_assert!((1..=12).contains(&month) && (1..=31).contains(&day));
            let (next_year, next_month, next_day) = date(number + 1);
            prop_assert!((next_year, next_month, next_day) > (year, month, day));
        }
    }
}
