//! Amazon Resource Names.

use std::fmt;
use std::str::FromStr;

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

    /// The twelve digits of the account that it is of.
    pub fn account(&self) -> &str {
        Arn::parse(&self.0).map_or("", |arn| arn.account)
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
