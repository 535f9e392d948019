//! The words of AWS that a plan needs: Regions, ARNs, and where a secret is stored.

use std::fmt;
use std::str::FromStr;

use super::Address;

/// An AWS Region by name. It becomes part of a host name that receives the pod's token, so its alphabet is closed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

impl Region {
    pub fn as_str(&self) -> &str {
        &self.0
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
                Ok(Self(raw.to_owned()))
            }
            _ => Err(InvalidRegion),
        }
    }
}

/// The six parts of an Amazon Resource Name, borrowed.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arn<'a> {
    pub partition: &'a str,
    pub service: &'a str,
    pub region: &'a str,
    pub account: &'a str,
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    pub fn parse(raw: &'a str) -> Option<Self> {
        let mut parts = raw.splitn(6, ':');
        if parts.next() != Some("arn") {
            return None;
        }
        let mut next = || parts.next();
        Some(Self { partition: next()?, service: next()?, region: next()?, account: next()?, resource: next()? })
    }
}

/// The ARN of an IAM role.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoleArn(String);

impl RoleArn {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not the ARN of a role; write it like arn:aws:iam::111122223333:role/NAME")]
pub struct InvalidRoleArn;

impl FromStr for RoleArn {
    type Err = InvalidRoleArn;

    /// An account of 12 digits, no Region, and a role's path and name in the characters that IAM allows (at most 512 and 64).
    fn from_str(raw: &str) -> Result<Self, InvalidRoleArn> {
        let arn = Arn::parse(raw).ok_or(InvalidRoleArn)?;
        let name = arn.resource.strip_prefix("role/").ok_or(InvalidRoleArn)?;
        let is_partition =
            arn.partition.starts_with("aws") && arn.partition.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let is_account = arn.account.len() == 12 && arn.account.bytes().all(|b| b.is_ascii_digit());
        let is_name = !name.is_empty()
            && !name.ends_with('/')
            && name.len() <= 512 + 64
            && name.bytes().all(|b| b.is_ascii_graphic());
        if is_partition && arn.service == "iam" && arn.region.is_empty() && is_account && is_name {
            Ok(Self(raw.to_owned()))
        } else {
            Err(InvalidRoleArn)
        }
    }
}

/// One value in AWS Secrets Manager.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredSecret {
    pub region: Region,
    /// Name or ARN, as the class has it.
    pub id: String,
    pub revision: Revision,
}

/// Which of the values of a secret. With a version id the stage is an additional condition, so "neither" cannot be written
/// down: a request without a version id always names a stage, and an IAM condition on `secretsmanager:VersionStage` works.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revision {
    Stage(String),
    Version { id: String, stage: Option<String> },
}

impl Revision {
    /// The stage that AWS moves to a new value: <https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html>
    pub const CURRENT: &'static str = "AWSCURRENT";

    pub fn version_id(&self) -> Option<&str> {
        match self {
            Self::Stage(_) => None,
            Self::Version { id, .. } => Some(id),
        }
    }

    pub fn stage(&self) -> Option<&str> {
        match self {
            Self::Stage(stage) => Some(stage),
            Self::Version { stage, .. } => stage.as_deref(),
        }
    }
}

impl Address for StoredSecret {
    type Place = Region;

    fn place(&self) -> &Region {
        &self.region
    }
}

impl fmt::Display for StoredSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret {:?}", self.id)?;
        match &self.revision {
            Revision::Stage(stage) if stage == Revision::CURRENT => {}
            Revision::Stage(stage) => write!(f, " (stage {stage})")?,
            Revision::Version { id, stage: None } => write!(f, " (version {id})")?,
            Revision::Version { id, stage: Some(stage) } => write!(f, " (version {id}, stage {stage})")?,
        }
        write!(f, " in {}", self.region)
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

    #[test]
    fn only_roles_are_roles() {
        for role in [
            "arn:aws:iam::111122223333:role/web",
            "arn:aws-cn:iam::111122223333:role/team/web",
            "arn:aws-us-gov:iam::111122223333:role/web+=,.@-_x",
        ] {
            assert!(role.parse::<RoleArn>().is_ok(), "{role:?} was refused");
        }
        for other in [
            "",
            "web",
            "arn:aws:iam::111122223333:user/web",
            "arn:aws:iam::1111:role/web",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:iam:eu-west-1:111122223333:role/web",
            "arn:aws:sts::111122223333:role/web",
            "arn:aws:iam::111122223333:role/we b",
        ] {
            assert!(other.parse::<RoleArn>().is_err(), "{other:?} was accepted");
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
