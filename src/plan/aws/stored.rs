//! Where a value is stored in AWS: the whole question that is asked there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Region;
use crate::plan::Address;

/// One value in AWS. Plans hold it by [`Arc`], since each of their mounts has it in several hands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stored {
    pub region: Region,
    pub item: Item,
}

/// What it is there, by the service that keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Item {
    /// In AWS Secrets Manager.
    Secret(Secret),
    /// In SSM Parameter Store.
    Parameter(Parameter),
    /// No value, but the names of some.
    List(List),
}

/// Names that AWS is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum List {
    /// Of secrets in AWS Secrets Manager.
    Secrets(Filter),
    /// Of parameters in SSM Parameter Store.
    Parameters(Filter),
    /// Ids of the versions that a secret had before its current one, the newest first.
    Versions { secret: String },
}

/// Which of all there are: those of which everything is true that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    pub path: Option<Path>,
    /// What their names begin with.
    pub name_prefix: Option<String>,
    pub tags: BTreeMap<String, String>,
}

/// A level of names, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    pub level: String,
    /// Whether the levels below it count too.
    pub is_recursive: bool,
}

impl Path {
    /// As AWS is asked for it: that above all levels is a slash alone.
    pub fn asked(&self) -> &str {
        if self.level.is_empty() { "/" } else { &self.level }
    }
}

impl Filter {
    /// Whether a name is one of those, as far as a name says.
    pub fn takes(&self, name: &str) -> bool {
        let is_below = self.path.as_ref().is_none_or(|Path { level, is_recursive }| {
            let rest = name.strip_prefix(level.as_str()).and_then(|rest| rest.strip_prefix('/'));
            rest.is_some_and(|rest| !rest.is_empty() && (*is_recursive || !rest.contains('/')))
        });
        is_below && self.name_prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix))
    }
}

/// A value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Secret {
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
    /// The stage that it leaves at the value before.
    pub const PREVIOUS: &'static str = "AWSPREVIOUS";
    /// The stage of a value that rotation has not finished with.
    pub const PENDING: &'static str = "AWSPENDING";

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

/// A value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Parameter {
    /// Name or ARN without a selector.
    pub name: String,
    /// Number of a version, or a label; without one it is the newest version. AWS takes labels that do not look like numbers.
    pub selector: Option<String>,
}

impl Parameter {
    /// Reads a name or ARN, which may have a selector at its end: `/shop/host:3`, `/shop/host:blue`.
    /// <https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-versions.html>
    pub fn parse(written: &str) -> Self {
        // The colons of an ARN itself are before its resource, which names allow none in.
        let resource = match written.starts_with("arn:") {
            true => written.match_indices(':').nth(4).map_or(written.len(), |(colon, _)| colon + 1),
            false => 0,
        };
        match written[resource..].split_once(':') {
            Some((name, selector)) if !name.is_empty() && !selector.is_empty() => {
                Self { name: written[..resource + name.len()].to_owned(), selector: Some(selector.to_owned()) }
            }
            _ => Self { name: written.to_owned(), selector: None },
        }
    }

    /// As AWS is asked for it: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html>
    pub fn asked(&self) -> String {
        match &self.selector {
            None => self.name.clone(),
            Some(selector) => format!("{}:{selector}", self.name),
        }
    }
}

impl Address for Arc<Stored> {
    type Place = Region;

    fn place(&self) -> &Region {
        &self.region
    }

    fn is_pinned(&self) -> bool {
        self.item.is_pinned()
    }

    fn is_of(&self, object: &str) -> bool {
        match &self.item {
            Item::Secret(Secret { id, .. }) | Item::List(List::Versions { secret: id }) => id == object,
            Item::Parameter(Parameter { name, .. }) => name == object,
            Item::List(List::Secrets(_) | List::Parameters(_)) => false,
        }
    }
}

impl Item {
    /// Whether a version is asked for by id or number alone. Labels move.
    pub fn is_pinned(&self) -> bool {
        match self {
            Self::Secret(Secret { revision: Revision::Version { stage: None, .. }, .. }) => true,
            Self::Secret(_) | Self::List(_) => false,
            Self::Parameter(Parameter { selector, .. }) => {
                selector.as_ref().is_some_and(|selector| selector.bytes().all(|byte| byte.is_ascii_digit()))
            }
        }
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.item, self.region)
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(Secret { id, revision }) => {
                write!(f, "secret {id:?}")?;
                match revision {
                    Revision::Stage(stage) if stage == Revision::CURRENT => Ok(()),
                    Revision::Stage(stage) => write!(f, " (stage {stage})"),
                    Revision::Version { id, stage: None } => write!(f, " (version {id})"),
                    Revision::Version { id, stage: Some(stage) } => write!(f, " (version {id}, stage {stage})"),
                }
            }
            Self::Parameter(Parameter { name, selector }) => {
                write!(f, "parameter {name:?}")?;
                match selector {
                    None => Ok(()),
                    Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                        write!(f, " (version {number})")
                    }
                    Some(label) => write!(f, " (label {label})"),
                }
            }
            Self::List(list) => list.fmt(f),
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secrets(filter) => write!(f, "all secrets{filter}"),
            Self::Parameters(filter) => write!(f, "all parameters{filter}"),
            Self::Versions { secret } => write!(f, "the versions of secret {secret:?}"),
        }
    }
}

/// Reads on after what they are.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, " {} {:?}", if path.is_recursive { "below" } else { "directly below" }, path.asked())?;
        }
        if let Some(prefix) = &self.name_prefix {
            write!(f, " called {prefix:?}…")?;
        }
        match self.tags.is_empty() {
            true => Ok(()),
            false => write!(f, " with the tags {:?}", self.tags),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_selector_is_told_from_a_name_and_from_an_arn() {
        let read = |written: &str| {
            let Parameter { name, selector } = Parameter::parse(written);
            (name, selector)
        };
        let arn = "arn:aws:ssm:eu-west-1:111122223333:parameter/shop/host";
        assert_eq!(read("/shop/host"), ("/shop/host".into(), None));
        assert_eq!(read("/shop/host:3"), ("/shop/host".into(), Some("3".into())));
        assert_eq!(read("host:blue"), ("host".into(), Some("blue".into())));
        assert_eq!(read(arn), (arn.into(), None));
        assert_eq!(read(&format!("{arn}:3")), (arn.into(), Some("3".into())));
        assert_eq!(read(":3"), (":3".into(), None));
        assert_eq!(read("host:"), ("host:".into(), None));
    }

    #[test]
    fn a_filter_takes_what_is_below_its_path_and_begins_as_it_says() {
        let path = |is_recursive| Some(Path { level: "/shop".into(), is_recursive });
        let filter =
            |path, prefix: Option<&str>| Filter { path, name_prefix: prefix.map(str::to_owned), tags: BTreeMap::new() };
        for (name, directly, below, prefixed) in [
            ("/shop/a", true, true, true),
            ("/shop/a/b", false, true, true),
            ("/shop", false, false, false),
            ("/shop/", false, false, false),
            ("/shopping/a", false, false, false),
            ("/shop/b", true, true, false),
            ("shop/a", false, false, false),
        ] {
            assert_eq!(filter(path(false), None).takes(name), directly, "{name}");
            assert_eq!(filter(path(true), None).takes(name), below, "{name}");
            assert_eq!(filter(path(true), Some("/shop/a")).takes(name), prefixed, "{name}");
            assert_eq!(filter(None, Some("/shop/a")).takes(name), name.starts_with("/shop/a"), "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_asked_for_is_what_was_written(written in "(arn:)?[a-z/:é]{0,30}") {
            prop_assert_eq!(Parameter::parse(&written).asked(), written);
        }
    }
}
