//! Errors of the AWS SDK in our words.

use std::error::Error;
use std::fmt;

use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use hyper_util::client;

use super::bounded::is_too_long;
use crate::reason::Reason;

/// Whether AWS means that the credentials of a request have run out.
pub fn is_expired(code: &str) -> bool {
    matches!(code, "ExpiredToken" | "ExpiredTokenException" | "RequestExpired")
}

/// Whether AWS means that there were too many requests.
pub fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "RequestThrottled"
            | "LimitExceededException"
            | "SlowDown"
    )
}

/// What came is not what AWS says: a success without a body that can be read, say.
pub const NO_ANSWER: (Reason, &str) = (Reason::AwsUnavailable, "AWS's answer broke off or was no answer");

const NO_ANSWER_IN_TIME: (Reason, &str) = (Reason::AwsTimeout, "AWS did not answer in time");
const NO_CONNECTION_IN_TIME: (Reason, &str) =
    (Reason::AwsTimeout, "no connection to AWS in time; check the node's DNS, route, VPC endpoints and proxy");

/// Why no usable answer came, in words that stay the same from try to try. Nothing of the SDK's own text is passed on,
/// because that can hold the request, and with it a token.
pub fn transport_problem<E, R>(error: &SdkError<E, R>) -> (Reason, &'static str)
where
    E: Error + 'static,
    R: fmt::Debug + 'static,
{
    match error {
        SdkError::TimeoutError(_) => NO_ANSWER_IN_TIME,
        SdkError::DispatchFailure(failure)
            if let Some(problem) = failure.as_connector_error().and_then(tls_problem) =>
        {
            (Reason::TlsFailed, problem)
        }
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            match failure.as_connector_error().is_some_and(has_no_connection) {
                true => NO_CONNECTION_IN_TIME,
                false => NO_ANSWER_IN_TIME,
            }
        }
        SdkError::DispatchFailure(failure) if failure.is_io() => {
            (Reason::AwsUnavailable, "no connection to AWS; check the node's DNS, route, VPC endpoints and proxy")
        }
        SdkError::DispatchFailure(_) => (Reason::AwsUnavailable, "the request could not be sent to AWS"),
        SdkError::ResponseError(_) if is_too_long(error) => {
            (Reason::AnswerMismatch, "the answer is longer than any of AWS's; check whether a proxy is in between")
        }
        SdkError::ResponseError(_) => NO_ANSWER,
        SdkError::ConstructionFailure(_) => (Reason::Internal, "the request could not be built"),
        SdkError::ServiceError(_) => (Reason::Internal, "AWS answered with an error"),
        _ => (Reason::Internal, "the request failed"),
    }
}

/// Why the other side was not taken for AWS, where that is the problem. An HTTP client wraps such an error several times.
fn tls_problem(error: &ConnectorError) -> Option<&'static str> {
    causes(error).find_map(|error| error.downcast_ref::<rustls::Error>()).map(in_words)
}

/// Whether the time went by before there was a connection; silence on one that has come about is an error of its own.
fn has_no_connection(error: &ConnectorError) -> bool {
    let mut causes = causes(error);
    causes.any(|error| error.downcast_ref::<client::legacy::Error>().is_some_and(client::legacy::Error::is_connect))
}

/// An error and what is in it. One of the operating system holds others without naming them as its source.
fn causes(error: &ConnectorError) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(Some(error as &(dyn Error + 'static)), |&error| {
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

fn in_words(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(Certificate::UnknownIssuer) => {
            "the certificate of the other side is of no trusted authority; where a proxy opens TLS, give its authority in \
             AWS_CA_BUNDLE"
        }
        rustls::Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "the certificate of the other side has expired; or correct the clock of the node"
        }
        rustls::Error::InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. }) => {
            "the certificate of the other side is not valid yet; or correct the clock of the node"
        }
        rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => "the certificate of the other side is for another host; check DNS, endpoints and proxy",
        rustls::Error::InvalidCertificate(_) => "the certificate of the other side is invalid",
        _ => "TLS failed; check whether a proxy or a firewall is in between",
    }
}

/// A request id has 36 characters, the longest error code a few more.
const MAX_WORD: usize = 64;

/// The first `limit` characters of a text of AWS, on one line. It may quote what a class says; what looks like a token is
/// left out.
pub fn shorten(text: &str, limit: usize) -> String {
    // Every JSON Web Token starts with the base64 of `{"`.
    let words = text.split_whitespace().map(|word| if word.contains("eyJ") { "(token)" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(limit).collect()
}

/// An error code or a request id, which are short words where they are AWS's.
pub fn word(text: &str) -> String {
    shorten(text, MAX_WORD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a44_texts_of_aws_are_short_lines_without_tokens() {
        assert_eq!(shorten("bad\n token eyJhbGciOi.x.y given", 100), "bad token (token) given");
        assert_eq!(shorten(&"x ".repeat(1 << 20), 5), "x x x");
    }
}
