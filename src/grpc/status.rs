//! Errors as gRPC statuses that a person reads in `kubectl describe pod`.

use tonic::Status;

use crate::mount::MountError;
use crate::reason::{Explained as _, chain, one_line};

/// Longest message, in bytes: the driver's and kubelet's prefixes come on top, and an event holds 1,024.
const MAX_BYTES: usize = 700;

/// `Reason: cause`, on one line, with the reason's code.
pub fn status_of(error: &MountError) -> Status {
    let reason = error.reason();
    Status::new(reason.code(), one_line(&format!("{reason}: {}", chain(error)), MAX_BYTES))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a17_every_text_becomes_one_short_line(text in "\\PC{0,900}|([\\x00-\\x1f]|[\u{202a}-\u{202e}]|\\PC){0,300}") {
            let line = one_line(&text, MAX_BYTES);
            prop_assert!(line.len() <= MAX_BYTES);
            let ends_or_turns = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}');
            prop_assert!(!line.chars().any(ends_or_turns), "{:?}", line);
        }
    }
}
