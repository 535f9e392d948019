//! AWS Regions by name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// An AWS Region by name, cheap to clone. It becomes part of a host name that receives the pod's token, so its alphabet is closed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(Arc<str>);

impl Region {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition that ARNs of the Region begin with, as in AWS's endpoint rules.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
    pub fn partition(&self) -> &'static str {
        const PARTITIONS: [(&str, &str); 7] = [
            ("cn-", "aws-cn"),
            ("us-gov-", "aws-us-gov"),
            ("us-iso-", "aws-iso"),
            ("us-isob-", "aws-iso-b"),
            ("eu-isoe-", "aws-iso-e"),
            ("us-isof-", "aws-iso-f"),
            ("eusc-", "aws-eusc"),
        ];
        PARTITIONS.iter().find(|(beginning, _)| self.0.starts_with(beginning)).map_or("aws", |(_, name)| name)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not the name of an AWS Region; write it like eu-west-1")]
pub struct InvalidRegion;

impl FromStr for Region {
    type Err = InvalidRegion;

    /// At most 32 bytes, and of the shape that the `regionRegex` of every partition in AWS's endpoint rules has: a known
    /// first word, more words, a number. So a Region of tomorrow works, and nothing that could end a host name does.
    fn from_str(raw: &str) -> Result<Self, InvalidRegion> {
        const AREAS: [&str; 11] = ["us", "eu", "ap", "sa", "ca", "me", "af", "il", "mx", "cn", "eusc"];
        let words: Vec<&str> = raw.split('-').collect();
        let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
        let is_number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        match words.as_slice() {
            [area, middle @ .., number]
                if raw.len() <= 32
                    && AREAS.contains(area)
                    && !middle.is_empty()
                    && middle.iter().all(is_word)
                    && is_number(number) =>
            {
                Ok(Self(raw.into()))
            }
            _ => Err(InvalidRegion),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn regions_of_every_partition_are_taken() {
        for region in [
            "us-east-1",
            "eu-west-1",
            "ap-southeast-7",
            "mx-central-1",
            "us-gov-west-1",
            "cn-northwest-1",
            "us-iso-east-1",
            "us-isob-east-1",
            "eu-isoe-west-1",
            "eusc-de-east-1",
        ] {
            assert_eq!(region.parse::<Region>().expect(region).as_str(), region);
        }
    }

    #[test]
    fn a_region_is_in_a_partition() {
        let partition = |region: &str| region.parse::<Region>().expect(region).partition();
        for (region, expected) in [
            ("eu-west-1", "aws"),
            ("us-east-1", "aws"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-east-1", "aws-us-gov"),
            ("us-iso-west-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eusc-de-east-1", "aws-eusc"),
        ] {
            assert_eq!(partition(region), expected, "{region}");
        }
    }

    #[test]
    fn a05_hostile_regions_are_refused() {
        for hostile in [
            "",
            "us-east-1.attacker.tld/#",
            "x",
            "us_east_1",
            "us-east-1/",
            "us-east-1@x",
            "us-east-1?",
            "us-east-1:80",
            "us-east-1\r\nHost: x",
            "US-EAST-1",
            "us--1",
            "-us-east-1",
            "us-east-",
            "eu-wést-1",
            "us-1",
            "attacker-tld-1",
            "us-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-1",
        ] {
            assert!(hostile.parse::<Region>().is_err(), "{hostile:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_region_cannot_end_a_host_name(raw in "([a-z0-9-]|\\PC){0,40}") {
            if raw.parse::<Region>().is_ok() {
                prop_assert!(raw.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
                prop_assert!(raw.len() <= 32);
            }
        }
    }
}
