//! The rules for AWS: roles, Regions and names of secrets by namespace.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Deserialize;

use crate::plan::SecretPlan;
use crate::plan::aws::{Arn, Authentication, Item, Origin, Region, RoleArn, Stored};
use crate::plan::pattern::{Pattern, matches};
use crate::reason::{Explained, Reason};

/// Most patterns that a refusal shows.
const SHOWN: usize = 3;

/// What the operator allows. By default everything.
#[derive(Debug, Default)]
pub struct Policy {
    /// The first rule for a namespace decides. `None`: there is no policy.
    rules: Option<Vec<Rule>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    aws: Vec<Rule>,
}

/// What pods of some namespaces may ask for. Nothing is allowed by being left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// As refusals call it.
    name: String,
    namespaces: Vec<Pattern>,
    #[serde(default = "Way::of_pods")]
    auth: Vec<Way>,
    /// Of every hop, and of the annotation.
    roles: Vec<RolePattern>,
    regions: Vec<Pattern>,
    /// Names of secrets and parameters.
    objects: Vec<Pattern>,
}

/// Where the first credentials may come from, in the words of the class's `auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Way {
    Irsa,
    PodIdentity,
    NodePublishSecret,
}

/// A pattern of which each of the six parts is for that part of an ARN alone, as IAM's `ArnLike`; or `*`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct RolePattern(String);

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Irsa => "irsa",
            Self::PodIdentity => "podIdentity",
            Self::NodePublishSecret => "nodePublishSecret",
        })
    }
}

impl Way {
    /// Keys of a Secret have no role that a rule could look at, so they must be allowed in so many words.
    fn of_pods() -> Vec<Self> {
        vec![Self::Irsa, Self::PodIdentity]
    }
}

impl TryFrom<String> for RolePattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_of_roles = Arn::parse(&text)
            .is_some_and(|arn| arn.service == "iam" && arn.region.is_empty() && arn.resource.starts_with("role/"));
        match text == "*" || is_of_roles {
            true => Ok(Self(text)),
            false => Err(format!(
                "{text:?} is no pattern for roles; write it like arn:aws:iam::111122223333:role/shop-*, or \"*\" for all"
            )),
        }
    }
}

impl fmt::Display for RolePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RolePattern {
    fn matches(&self, role: &RoleArn) -> bool {
        match (Arn::parse(&self.0), Arn::parse(role.as_str())) {
            (None, _) => self.0 == "*",
            (Some(pattern), Some(role)) => [
                (pattern.partition, role.partition),
                (pattern.account, role.account),
                (pattern.resource, role.resource),
            ]
            .into_iter()
            .all(|(pattern, text)| matches(pattern, text)),
            (Some(_), None) => false,
        }
    }
}

impl Policy {
    /// Reads the operator's file. What cannot be read, or has a key or a rule that is not known, must keep the provider from
    /// starting: less would be allowed than somebody means to forbid.
    ///
    /// # Errors
    /// Where the file is wrong, and how.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no policy", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let options = serde_yaml::options! { with_snippet: false };
        let file: File = serde_yaml::from_str_with_options(text, options)?;
        for rule in &file.aws {
            anyhow::ensure!(!rule.name.trim().is_empty(), "a rule has no name");
            anyhow::ensure!(!rule.namespaces.is_empty(), "rule {:?} is for no namespace", rule.name);
        }
        Ok(Self { rules: Some(file.aws) })
    }

    /// Whether pods of a namespace may ask for what a plan says, by the way it says, as far as that is known without asking
    /// anybody.
    ///
    /// # Errors
    /// The first thing that is not allowed.
    pub fn check(
        &self,
        namespace: &str,
        authentication: &Authentication,
        plan: &SecretPlan<Arc<Stored>>,
    ) -> Result<(), Refusal> {
        let Some(rule) = self.rule(namespace)? else { return Ok(()) };
        let (way, role) = match &authentication.origin {
            Origin::Irsa { role } => (Way::Irsa, role.as_ref()),
            Origin::PodIdentity(_) => (Way::PodIdentity, None),
            Origin::NodePublishSecret => (Way::NodePublishSecret, None),
        };
        if !rule.auth.contains(&way) {
            return Err(rule.refusal(namespace, Reason::RoleNotAllowed, format!("auth {way}"), &rule.auth));
        }
        for role in role.into_iter().chain(authentication.hops.iter().map(|hop| &hop.role)) {
            rule.check_role(namespace, role)?;
        }
        for address in plan.objects.iter().flat_map(|object| [&object.address].into_iter().chain(&object.standby)) {
            rule.check_region(namespace, &address.region)?;
            // What is found by a list is held against the rule when it is found.
            if !matches!(address.item, Item::List(_)) {
                rule.check_object(namespace, &address.item)?;
            }
        }
        Ok(())
    }

    /// Whether pods of a namespace may have a role that was not in their class.
    ///
    /// # Errors
    /// That they may not.
    pub fn check_role(&self, namespace: &str, role: &RoleArn) -> Result<(), Refusal> {
        self.rule(namespace)?.map_or(Ok(()), |rule| rule.check_role(namespace, role))
    }

    fn rule(&self, namespace: &str) -> Result<Option<&Rule>, Refusal> {
        let Some(rules) = &self.rules else { return Ok(None) };
        let rule = rules.iter().find(|rule| rule.namespaces.iter().any(|pattern| pattern.matches(namespace)));
        rule.map(Some).ok_or_else(|| Refusal::NoRule { namespace: namespace.into() })
    }
}

impl Rule {
    fn check_role(&self, namespace: &str, role: &RoleArn) -> Result<(), Refusal> {
        if self.roles.iter().any(|pattern| pattern.matches(role)) {
            return Ok(());
        }
        Err(self.refusal(namespace, Reason::RoleNotAllowed, format!("role {role}"), &self.roles))
    }

    fn check_region(&self, namespace: &str, region: &Region) -> Result<(), Refusal> {
        if self.regions.iter().any(|pattern| pattern.matches(region.as_str())) {
            return Ok(());
        }
        Err(self.refusal(namespace, Reason::RegionNotAllowed, format!("Region {region}"), &self.regions))
    }

    fn check_object(&self, namespace: &str, item: &Item) -> Result<(), Refusal> {
        if name_of(item).is_some_and(|name| self.objects.iter().any(|pattern| pattern.matches(&name))) {
            return Ok(());
        }
        Err(self.refusal(namespace, Reason::ObjectNotAllowed, item.to_string(), &self.objects))
    }

    fn refusal(&self, namespace: &str, reason: Reason, what: String, allowed: &[impl fmt::Display]) -> Refusal {
        let mut shown: Vec<String> = allowed.iter().take(SHOWN).map(ToString::to_string).collect();
        if allowed.len() > SHOWN {
            shown.push("…".into());
        }
        let allowed = if shown.is_empty() { String::new() } else { format!("; it allows {}", shown.join(", ")) };
        Refusal::NotAllowed { reason, what, rule: self.name.clone(), namespace: namespace.into(), allowed }
    }
}

/// What a pattern for names is held against: that of an ARN is in its resource. The six random characters at the end of a
/// secret's ARN stay, since nobody can tell them from a name. `None` for an ARN of something else.
fn name_of(item: &Item) -> Option<String> {
    let (written, prefix) = match item {
        Item::Secret(secret) => (&secret.id, "secret:"),
        Item::Parameter(parameter) => (&parameter.name, "parameter/"),
        Item::List(_) => return None,
    };
    let Some(arn) = Arn::parse(written) else { return Some(written.clone()) };
    let name = arn.resource.strip_prefix(prefix)?;
    match item {
        // A name with levels begins with a slash, which its ARN has not got twice.
        Item::Parameter(_) if name.contains('/') => Some(format!("/{name}")),
        _ => Some(name.to_owned()),
    }
}

/// What the policy does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the operator's policy has no rule for namespace {namespace}; whoever runs the provider can add one")]
    NoRule { namespace: String },
    #[error(
        "rule {rule:?} of the operator's policy does not allow {what} to namespace {namespace}{allowed}. Use what it allows, or have it changed"
    )]
    NotAllowed { reason: Reason, what: String, rule: String, namespace: String, allowed: String },
}

impl Explained for Refusal {
    fn reason(&self) -> Reason {
        match self {
            Self::NoRule { .. } => Reason::NamespaceNotAllowed,
            Self::NotAllowed { reason, .. } => *reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::aws::{Parameter, Revision, Secret};

    const POLICY: &str = r#"
aws:
  - name: shop
    namespaces: [shop, "shop-*"]
    roles: ["arn:aws:iam::111122223333:role/shop-*"]
    regions: ["eu-*"]
    objects: ["shop/*", "/shop/*"]
  - name: build
    namespaces: [build]
    auth: [nodePublishSecret]
    roles: ["*"]
    regions: ["*"]
    objects: ["*"]
"#;

    fn policy() -> Policy {
        Policy::parse(POLICY).expect("a policy")
    }

    fn role(policy: &Policy, namespace: &str, role: &str) -> Result<(), Reason> {
        policy.check_role(namespace, &role.parse().expect("a role")).map_err(|refusal| refusal.reason())
    }

    fn secret(id: &str) -> Item {
        Item::Secret(Secret { id: id.into(), revision: Revision::Stage(Revision::CURRENT.into()) })
    }

    #[test]
    fn a06_the_first_rule_for_a_namespace_decides_and_no_rule_refuses() {
        let policy = policy();
        assert_eq!(role(&policy, "shop", "arn:aws:iam::111122223333:role/shop-web"), Ok(()));
        assert_eq!(role(&policy, "shop-eu", "arn:aws:iam::111122223333:role/shop-web"), Ok(()));
        for other in [
            "arn:aws:iam::111122223333:role/bank",
            "arn:aws:iam::444455556666:role/shop-web",
            "arn:aws-cn:iam::111122223333:role/shop-web",
        ] {
            assert_eq!(role(&policy, "shop", other), Err(Reason::RoleNotAllowed), "{other}");
        }
        let role_of_nobody = role(&policy, "bank", "arn:aws:iam::111122223333:role/shop-web");
        assert_eq!(role_of_nobody, Err(Reason::NamespaceNotAllowed));
        assert_eq!(role(&Policy::default(), "bank", "arn:aws:iam::111122223333:role/bank"), Ok(()));
        let nothing = Policy::parse("aws: []").expect("a policy");
        assert_eq!(role(&nothing, "shop", "arn:aws:iam::111122223333:role/x"), Err(Reason::NamespaceNotAllowed));
    }

    #[test]
    fn a_part_of_a_role_pattern_does_not_reach_into_the_next() {
        let any_account: RolePattern = "arn:aws:iam::*:role/shop-*".to_owned().try_into().expect("a pattern");
        let matches = |role: &str| any_account.matches(&role.parse().expect("a role"));
        assert!(matches("arn:aws:iam::444455556666:role/shop-web"));
        assert!(!matches("arn:aws:iam::444455556666:role/x:role/shop-web"));
    }

    #[test]
    fn names_count_without_what_an_arn_puts_before_them() {
        let parameter = |name: &str| Item::Parameter(Parameter::parse(name));
        for (item, name) in [
            (secret("shop/db"), Some("shop/db")),
            (secret("arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop/db-AbCdEf"), Some("shop/db-AbCdEf")),
            (secret("arn:aws:ssm:eu-west-1:111122223333:parameter/shop/db"), None),
            (parameter("/shop/host:3"), Some("/shop/host")),
            (parameter("arn:aws:ssm:eu-west-1:111122223333:parameter/shop/host:3"), Some("/shop/host")),
            (parameter("arn:aws:ssm:eu-west-1:111122223333:parameter/host"), Some("host")),
        ] {
            assert_eq!(name_of(&item).as_deref(), name, "{item}");
        }
    }

    #[test]
    fn what_is_not_understood_is_no_policy() {
        for (text, problem) in [
            ("", "end of input"),
            ("aws:\n", "sequence"),
            ("gcp: []", "gcp"),
            ("aws:\n  - {name: x, namespaces: [a], roles: [], regions: []}", "objects"),
            ("aws:\n  - {name: x, namespaces: [a], roles: [], regions: [], objects: [], region: []}", "region"),
            ("aws:\n  - {name: x, namespaces: [], roles: [], regions: [], objects: []}", "no namespace"),
            ("aws:\n  - {name: '', namespaces: [a], roles: [], regions: [], objects: []}", "no name"),
            ("aws:\n  - {name: x, namespaces: [a], roles: [shop-*], regions: [], objects: []}", "role/shop-*"),
            ("aws:\n  - {name: x, namespaces: [a], auth: [keys], roles: [], regions: [], objects: []}", "keys"),
            ("aws: []\naws: []", "duplicate"),
        ] {
            let error = format!("{:#}", Policy::parse(text).expect_err(text));
            assert!(error.contains(problem), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_refusal_names_the_rule_and_what_it_allows() {
        let policy = policy();
        let refusal = policy.check_role("shop", &"arn:aws:iam::111122223333:role/bank".parse().expect("a role"));
        let text = refusal.expect_err("refused").to_string();
        for part in ["rule \"shop\"", "role/bank", "namespace shop", "it allows arn:aws:iam::111122223333:role/shop-*"]
        {
            assert!(text.contains(part), "{text}");
        }
    }
}
