//! Roles, who may take them, what they may do, and the keys that were handed out.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::encoding::{self, MIXED, UPPER};

/// Access key id that may do everything in the cloud's own account and never expires.
pub const ADMIN_ACCESS_KEY_ID: &str = "AKIADEVCLOUDADMIN000";
/// Secret of [`ADMIN_ACCESS_KEY_ID`]; the cloud holds nothing that is worth protecting.
pub const ADMIN_SECRET_ACCESS_KEY: &str = "devcloud-admin-secret-key";

/// An IAM role with its trust policy and its permissions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// `arn:aws:iam::111122223333:role/name`; decides the account too.
    pub arn: String,
    /// Who may take the role; one match is enough.
    #[serde(default)]
    pub trust: Vec<Trust>,
    /// What its sessions may do; there is no deny.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// Longest session. In JSON: seconds.
    #[serde(default = "one_hour", deserialize_with = "from_seconds")]
    pub max_session: Duration,
}

/// One statement of a trust policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trust {
    /// A token of an OIDC provider.
    WebIdentity {
        /// `None` means the cloud's own issuer.
        #[serde(default)]
        issuer: Option<String>,
        /// Pattern for `sub`; `*` and `?` are wildcards.
        subject: String,
        /// Must be among the token's audiences.
        #[serde(default = "sts_audience")]
        audience: String,
    },
    /// Another role, for role chains.
    Role {
        /// ARN of the role, not of its session.
        arn: String,
        /// The `sts:ExternalId` that must come with the call.
        #[serde(default)]
        external_id: Option<String>,
    },
    /// `pods.eks.amazonaws.com`, so the role can be associated with a service account.
    PodIdentity,
}

/// One statement of a permission policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// Pattern like `secretsmanager:Get*`, without regard to case.
    pub action: String,
    /// Pattern for the resource's ARN.
    pub resource: String,
    /// Condition `secretsmanager:VersionStage`: holds only if the request names this stage.
    #[serde(default)]
    pub version_stage: Option<String>,
}

impl Role {
    /// A role that nobody may take and that may do nothing.
    pub fn new(arn: impl Into<String>) -> Self {
        Self { arn: arn.into(), trust: Vec::new(), allow: Vec::new(), max_session: one_hour() }
    }

    /// Trusts a service account of the cloud's own cluster (IRSA).
    #[must_use]
    pub fn trust_service_account(self, namespace: &str, name: &str) -> Self {
        self.trust(Trust::WebIdentity {
            issuer: None,
            subject: format!("system:serviceaccount:{namespace}:{name}"),
            audience: sts_audience(),
        })
    }

    /// Trusts another role.
    #[must_use]
    pub fn trust_role(self, arn: impl Into<String>) -> Self {
        self.trust(Trust::Role { arn: arn.into(), external_id: None })
    }

    /// Trusts EKS Pod Identity.
    #[must_use]
    pub fn trust_pod_identity(self) -> Self {
        self.trust(Trust::PodIdentity)
    }

    /// Adds a statement to the trust policy.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust.push(trust);
        self
    }

    /// Allows an action on a resource.
    #[must_use]
    pub fn allow(mut self, action: impl Into<String>, resource: impl Into<String>) -> Self {
        self.allow.push(Allow { action: action.into(), resource: resource.into(), version_stage: None });
        self
    }

    /// Allows an action on a resource only for requests that name this version stage.
    #[must_use]
    pub fn allow_stage(
        mut self,
        action: impl Into<String>,
        resource: impl Into<String>,
        stage: impl Into<String>,
    ) -> Self {
        self.allow.push(Allow { action: action.into(), resource: resource.into(), version_stage: Some(stage.into()) });
        self
    }

    /// Longest session that may be asked for.
    #[must_use]
    pub fn max_session(mut self, longest: Duration) -> Self {
        self.max_session = longest;
        self
    }

    pub(crate) fn allows(&self, action: &str, resource: &str, stage: Option<&str>) -> bool {
        let action = action.to_ascii_lowercase();
        self.allow.iter().any(|allow| {
            matches(&allow.action.to_ascii_lowercase(), &action)
                && matches(&allow.resource, resource)
                && allow.version_stage.as_deref().is_none_or(|wanted| stage == Some(wanted))
        })
    }
}

/// A session as tests may look at it; its keys stay inside.
#[derive(Clone, Debug)]
pub struct Session {
    /// Role of the session.
    pub role_arn: String,
    /// Name its taker gave it.
    pub name: String,
    /// Session tags, inherited ones included.
    pub tags: BTreeMap<String, String>,
    /// Keys of the tags that a role taken from here inherits.
    pub transitive_tag_keys: Vec<String>,
    /// Seconds since 1970.
    pub expires: i64,
}

/// Who signed a call.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    pub account: String,
    /// ARN of the session (or of the admin), as error texts name it.
    pub arn: String,
    pub user_id: String,
    /// ARN of the role; `None` is the admin.
    pub role: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub transitive_tag_keys: Vec<String>,
}

impl Principal {
    pub fn role_or_own_arn(&self) -> &str {
        self.role.as_deref().unwrap_or(&self.arn)
    }
}

/// Keys that were handed out.
#[derive(Clone)]
pub(crate) struct Keys {
    pub access_key_id: String,
    pub secret: String,
    /// `None` only for the admin.
    pub token: Option<String>,
    /// Seconds since 1970; `None` only for the admin.
    pub expires: Option<i64>,
    pub principal: Principal,
    session_name: String,
}

impl Keys {
    pub fn expired(&self) -> bool {
        self.expires.is_some_and(|expires| expires <= encoding::now())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, {})", self.access_key_id, self.principal.arn)
    }
}

/// What a new session is made of.
#[derive(Debug, Default)]
pub(crate) struct NewSession {
    pub name: String,
    pub seconds: i64,
    pub tags: BTreeMap<String, String>,
    pub transitive_tag_keys: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Iam {
    roles: BTreeMap<String, (Role, String)>,
    keys: HashMap<String, Keys>,
}

impl Iam {
    /// Knows the admin only.
    pub fn new(account: &str) -> Self {
        let admin = Keys {
            access_key_id: ADMIN_ACCESS_KEY_ID.into(),
            secret: ADMIN_SECRET_ACCESS_KEY.into(),
            token: None,
            expires: None,
            principal: Principal {
                account: account.into(),
                arn: format!("arn:aws:iam::{account}:user/admin"),
                user_id: "AIDADEVCLOUDADMIN000".into(),
                role: None,
                tags: BTreeMap::new(),
                transitive_tag_keys: Vec::new(),
            },
            session_name: String::new(),
        };
        Self { roles: BTreeMap::new(), keys: HashMap::from([(admin.access_key_id.clone(), admin)]) }
    }

    /// Adds a role, or replaces its policies; sessions that exist get the new ones, as in AWS.
    pub fn put_role(&mut self, role: Role) {
        let id = match self.roles.get(&role.arn) {
            Some((_, id)) => id.clone(),
            None => format!("AROA{}", encoding::random_text(17, UPPER)),
        };
        self.roles.insert(role.arn.clone(), (role, id));
    }

    pub fn role(&self, arn: &str) -> Option<&Role> {
        self.roles.get(arn).map(|(role, _)| role)
    }

    pub fn keys(&self, access_key_id: &str) -> Option<&Keys> {
        self.keys.get(access_key_id)
    }

    #[cfg(test)]
    pub fn keys_of_session(&self, name: &str) -> Option<&Keys> {
        self.keys.values().find(|keys| keys.session_name == name)
    }

    pub fn secrets_of_sessions(&self) -> Vec<String> {
        let sessions = self.keys.values().filter(|keys| keys.token.is_some());
        sessions.flat_map(|keys| [Some(keys.secret.clone()), keys.token.clone()]).flatten().collect()
    }

    pub fn sessions(&self) -> Vec<Session> {
        let sessions = self.keys.values().filter_map(|keys| {
            Some(Session {
                role_arn: keys.principal.role.clone()?,
                name: keys.session_name.clone(),
                tags: keys.principal.tags.clone(),
                transitive_tag_keys: keys.principal.transitive_tag_keys.clone(),
                expires: keys.expires?,
            })
        });
        sessions.collect()
    }

    /// Opens a session of a role that exists. Whether its taker may is decided before.
    pub fn open_session(&mut self, role_arn: &str, new: NewSession) -> Option<Keys> {
        let (_, role_id) = self.roles.get(role_arn)?;
        let role = RoleArn::parse(role_arn)?;
        let now = encoding::now();
        // A day of grace: recently expired keys are refused as expired, not as unknown.
        self.keys.retain(|_, keys| keys.expires.is_none_or(|expires| expires + 86_400 > now));
        let keys = Keys {
            access_key_id: format!("ASIA{}", encoding::random_text(16, UPPER)),
            secret: encoding::random_text(40, MIXED),
            token: Some(format!("IQoJb3Jp{}", encoding::random_text(248, MIXED))),
            expires: Some(now + new.seconds),
            principal: Principal {
                account: role.account.into(),
                arn: format!("arn:{}:sts::{}:assumed-role/{}/{}", role.partition, role.account, role.name, new.name),
                user_id: format!("{role_id}:{}", new.name),
                role: Some(role_arn.into()),
                tags: new.tags,
                transitive_tag_keys: new.transitive_tag_keys,
            },
            session_name: new.name,
        };
        self.keys.insert(keys.access_key_id.clone(), keys.clone());
        Some(keys)
    }

    /// Whether the caller's own policies allow this. Another account's resource has its say elsewhere.
    pub fn allows(&self, principal: &Principal, action: &str, resource: &str, stage: Option<&str>) -> bool {
        match &principal.role {
            None => true,
            Some(arn) => self.role(arn).is_some_and(|role| role.allows(action, resource, stage)),
        }
    }
}

/// The parts of `arn:aws:iam::111122223333:role/path/name`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RoleArn<'a> {
    pub partition: &'a str,
    pub account: &'a str,
    /// Without the path, as in a session's ARN.
    pub name: &'a str,
}

impl<'a> RoleArn<'a> {
    pub fn parse(arn: &'a str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let (scheme, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
        let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        let name = resource.strip_prefix("role/")?.rsplit('/').next()?;
        let sound = scheme == "arn"
            && partition.starts_with("aws")
            && service == "iam"
            && region.is_empty()
            && account.len() == 12
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && !name.is_empty();
        sound.then_some(Self { partition, account, name })
    }
}

/// IAM's patterns: `*` is any text, `?` any one character.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Partition of a Region, by its name.
pub(crate) fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

fn one_hour() -> Duration {
    Duration::from_secs(3600)
}

fn sts_audience() -> String {
    "sts.amazonaws.com".into()
}

fn from_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_iam_does() {
        assert!(matches("*", ""));
        assert!(matches("a*c*e", "abcde"));
        assert!(matches("secret:shop/db-??????", "secret:shop/db-aZ09bc"));
        assert!(!matches("secret:shop/db-??????", "secret:shop/db-aZ09b"));
        assert!(!matches("system:serviceaccount:shop:web", "system:serviceaccount:shop:web2"));
        assert!(!matches("a*b", "acx"));
    }

    #[test]
    fn a_stage_condition_holds_only_for_a_request_that_names_the_stage() {
        let role = Role::new("arn:aws:iam::111122223333:role/web").allow_stage(
            "secretsmanager:GetSecretValue",
            "*",
            "AWSCURRENT",
        );
        let action = "secretsmanager:getsecretvalue";
        assert!(role.allows(action, "x", Some("AWSCURRENT")));
        assert!(!role.allows(action, "x", Some("AWSPREVIOUS")));
        assert!(!role.allows(action, "x", None));
    }

    #[test]
    fn a_role_arn_gives_partition_account_and_bare_name() {
        let parsed = RoleArn::parse("arn:aws-cn:iam::111122223333:role/teams/shop/web");
        assert_eq!(parsed, Some(RoleArn { partition: "aws-cn", account: "111122223333", name: "web" }));
        assert_eq!(RoleArn::parse("arn:aws:iam::1:role/web"), None);
        assert_eq!(RoleArn::parse("arn:aws:iam::111122223333:user/web"), None);
        assert_eq!(RoleArn::parse(""), None);
    }

    #[test]
    fn keys_are_not_printed() {
        let mut iam = Iam::new("111122223333");
        iam.put_role(Role::new("arn:aws:iam::111122223333:role/web"));
        let keys = iam
            .open_session(
                "arn:aws:iam::111122223333:role/web",
                NewSession { name: "one".into(), seconds: 900, ..NewSession::default() },
            )
            .expect("the role exists");
        let printed = format!("{iam:?}");
        assert!(printed.contains(&keys.access_key_id));
        assert!(!printed.contains(&keys.secret));
        assert!(!printed.contains(ADMIN_SECRET_ACCESS_KEY));
    }
}
