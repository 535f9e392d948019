//! What an AWS service says when it does not do as it is told.

use std::borrow::Cow;

use crate::sigv4::Caller;

/// A refusal; how it is written depends on the service.
#[derive(Debug)]
pub(crate) struct AwsError {
    pub status: u16,
    pub code: Cow<'static, str>,
    pub message: String,
}

impl AwsError {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// Most refusals have status 400.
    pub fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    /// The text IAM gives for a missing permission.
    pub fn denied(caller: &Caller, action: &str, resource: &str, policy: &str) -> Self {
        Self::bad(
            "AccessDeniedException",
            format!(
                "User: {} is not authorized to perform: {action} on resource: {resource} because no \
                 {policy} policy allows the {action} action",
                caller.principal.arn
            ),
        )
    }
}
