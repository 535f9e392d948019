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

/// Most bytes of an error's text, wherever it is told or kept: what it quotes may be as long as a class.
const MOST_BYTES: usize = 4 * 1024;

/// An error with its sources, each of which says something that the one before does not.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        text = format!("{text}: {next}");
        source = error.source();
    }
    if text.len() > MOST_BYTES {
        text.truncate(text.floor_char_boundary(MOST_BYTES - '…'.len_utf8()));
        text.push('…');
    }
    text
}

/// Characters that are not for people to see: control characters, and those that change the direction or have no width.
pub fn is_hostile(c: char) -> bool {
    let is_format = matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    c.is_control() || is_format
}

/// A text of others, as a terminal may be given it.
pub fn visible(text: &str) -> String {
    let shown = |c: char| if is_hostile(c) { c.escape_unicode().collect() } else { String::from(c) };
    text.chars().map(shown).collect()
}

/// Shows what could end a line, colour a terminal or turn the reading direction, and cuts what is longer than `most_bytes`.
pub fn one_line(text: &str, most_bytes: usize) -> String {
    let mut line = String::with_capacity(text.len().min(most_bytes));
    for c in text.chars() {
        let shown: String = if is_hostile(c) { c.escape_unicode().collect() } else { c.into() };
        if line.len() + shown.len() > most_bytes - '…'.len_utf8() {
            line.push('…');
            break;
        }
        line.push_str(&shown);
    }
    line
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

    /// The chapters of `docs/errors.md` that are about a code, by its name: each section with its heading.
    fn chapters() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
        let page = include_str!("../docs/errors.md");
        let chapters = page.split("\n## ").skip(1).map(|chapter| {
            let (title, text) = chapter.split_once('\n').expect("a title");
            let sections = text.split("\n### ").skip(1);
            let sections = sections.map(|section| section.split_once('\n').expect("a heading")).collect();
            (title.split(':').next().expect("a code"), sections)
        });
        chapters.collect()
    }

    fn code_of(chapter: &str) -> Code {
        match chapter {
            "INVALID_ARGUMENT" => Code::InvalidArgument,
            "UNAUTHENTICATED" => Code::Unauthenticated,
            "PERMISSION_DENIED" => Code::PermissionDenied,
            "NOT_FOUND" => Code::NotFound,
            "FAILED_PRECONDITION" => Code::FailedPrecondition,
            "INTERNAL" => Code::Internal,
            other => panic!("docs/errors.md has a chapter {other}"),
        }
    }

    #[test]
    fn every_reason_has_its_section_under_its_code_and_every_section_its_reason() {
        for (chapter, sections) in chapters() {
            let mut documented: Vec<&str> = sections.iter().map(|(heading, _)| *heading).collect();
            let of_code = Reason::ALL.iter().filter(|reason| reason.code() == code_of(chapter));
            let mut expected: Vec<&str> = of_code.map(|reason| reason.as_str()).collect();
            documented.sort_unstable();
            expected.sort_unstable();
            assert_eq!(documented, expected, "{chapter}");
        }
    }

    #[test]
    fn every_section_has_a_cause_a_message_what_to_check_and_what_mends_it() {
        for (reason, section) in chapters().into_iter().flat_map(|(_, sections)| sections) {
            let (cause, _) = section.split_once("```text\n").unwrap_or_else(|| panic!("{reason} shows no message"));
            assert!(cause.trim().ends_with('.'), "{reason} does not begin with its cause: {cause}");
            for message in section.split("```text\n").skip(1) {
                let (message, _) = message.split_once("\n```").expect("it ends");
                let message = message.replace('\n', " ");
                assert!(message.starts_with(&format!("{reason}: ")), "{reason} shows {message}");
                assert!(message.len() <= 700, "{reason} shows {} bytes", message.len());
            }
            assert!(section.contains("\n- "), "{reason} says nothing of what to check");
            assert!(section.contains("\nFix: "), "{reason} says nothing of what mends it");
        }
    }
}
