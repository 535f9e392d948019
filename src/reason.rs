//! Why a mount failed, as a stable word with its gRPC code.
//!
//! The words are an interface: they start the message that `kubectl describe pod` shows, label metrics and log lines, and
//! are anchors in `docs/errors.md`. They are never renamed, only added.

use std::fmt;
use std::sync::Arc;

use tonic::Code;

/// An error that knows its [`Reason`]. What it displays is one sentence for the person who has to act on it, without
/// secrets, and the same text as long as the cause is the same, because kubelet counts identical events.
pub trait Explained: std::error::Error + Send + Sync + 'static {
    fn reason(&self) -> Reason;
}

/// An error of a room whose type the holder does not know, such as what a trait's implementation failed with. It shows that
/// error's text and sources as its own. Clones share it, because several may have waited for what failed.
#[derive(Debug, Clone)]
pub struct Explanation(Arc<dyn Explained>);

impl Explanation {
    pub fn of(error: impl Explained) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Explanation {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Explained for Explanation {
    fn reason(&self) -> Reason {
        self.0.reason()
    }
}

/// An error with its sources, each of which says something that the one before does not.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        text = format!("{text}: {next}");
        source = error.source();
    }
    text
}

macro_rules! reasons {
    ($($code:ident: $($name:ident)+;)+) => {
        /// Why something failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($($name,)+)+ }

        impl Reason {
            /// Every reason there is, for tests and documents.
            pub const ALL: &'static [Reason] = &[$($(Reason::$name,)+)+];

            /// The word as it stands in messages, logs and documents.
            pub const fn as_str(self) -> &'static str {
                match self { $($(Reason::$name => stringify!($name),)+)+ }
            }

            /// The gRPC code it is answered with, always a final one: see [`is_final`].
            pub const fn code(self) -> Code {
                match self { $($(Reason::$name => Code::$code,)+)+ }
            }
        }
    };
}

reasons! {
    InvalidArgument:
        InvalidRequest InvalidParameter InvalidObjects InvalidFileName DuplicateFile InvalidJmesPath
        InvalidTemplate ConflictingSettings LimitExceeded NotJson DecodeFailed InvalidPem;
    Unauthenticated: TokenInvalid TokenExpired TokenMismatch;
    PermissionDenied:
        AssumeRoleDenied SecretAccessDenied DecryptDenied NamespaceNotAllowed RoleNotAllowed RegionNotAllowed
        ObjectNotAllowed;
    NotFound: SecretNotFound SecretVersionNotFound SecretPendingDeletion ParameterNotFound JsonKeyNotFound
        ServiceAccountNotFound;
    FailedPrecondition:
        TokenMissing RoleMissing PodIdentityMissing CredentialsMissing RegionUnknown TargetNotTmpfs TargetUnexpected KubernetesForbidden
        ResponseTooLarge ChownForbidden MemoryLimit ValueRejected;
    Internal:
        AwsThrottled AwsUnavailable AwsTimeout TlsFailed AgentUnavailable AgentThrottled KubernetesUnavailable KeysUnavailable WriteFailed NoSpace BudgetSpent
        CredentialsExpired TargetChanged AnswerMismatch ShuttingDown Internal;
}

impl Reason {
    /// Whether the same question may be answered a little later. Everything else is somebody's decision.
    pub const fn may_pass(self) -> bool {
        matches!(
            self,
            Self::AwsThrottled
                | Self::AwsUnavailable
                | Self::AwsTimeout
                | Self::TlsFailed
                | Self::AgentUnavailable
                | Self::AgentThrottled
                | Self::KubernetesUnavailable
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether kubelet takes a code for the end of the attempt.
///
/// The other five mean "perhaps still running" to it (`volumetypes.IsOperationFinishedError`): it then keeps the target
/// directory, and a pod can start over an empty one.
pub const fn is_final(code: Code) -> bool {
    !matches!(
        code,
        Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable | Code::ResourceExhausted | Code::Aborted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_final_code() {
        for reason in Reason::ALL {
            assert!(is_final(reason.code()), "{reason} is answered with {:?}", reason.code());
            assert_ne!(reason.code(), Code::Ok);
        }
    }

    #[test]
    fn every_reason_is_documented() {
        let page = include_str!("../docs/errors.md");
        for reason in Reason::ALL {
            assert!(page.contains(&format!("\n### {reason}\n")), "docs/errors.md has no entry for {reason}");
        }
    }
}
