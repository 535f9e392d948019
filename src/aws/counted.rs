//! Requests are counted as what they came to.

use std::cell::Cell;
use std::error::Error;

use aws_sdk_sts::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::result::SdkError;

use crate::clock::Instant;
use crate::telemetry::{Api, metrics};

/// Codes of errors that are counted by their name; what is not among them is `other`, so that nobody but this list decides how
/// many series there are.
const CODES: [&str; 28] = [
    "AccessDenied",
    "AccessDeniedException",
    "DecryptionFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IDPCommunicationError",
    "IDPRejectedClaim",
    "InternalFailure",
    "InternalServerError",
    "InternalServiceError",
    "InvalidIdentityToken",
    "InvalidKeyId",
    "InvalidParameterException",
    "InvalidRequestException",
    "InvalidSignatureException",
    "LimitExceededException",
    "RegionDisabledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ResourceNotFoundException",
    "ServiceUnavailable",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "UnrecognizedClientException",
    "ValidationException",
];

tokio::task_local! {
    /// How often the request that this task is making was sent.
    static SENT: Cell<u32>;
}

/// To be called wherever a request is sent.
pub(super) fn is_sent() {
    // Documents are read without being counted.
    let _ = SENT.try_with(|sent| sent.set(sent.get() + 1));
}

/// Makes a request, and counts it with all its tries.
pub async fn counted<T, E, R>(
    api: Api,
    request: impl Future<Output = Result<T, SdkError<E, R>>>,
) -> Result<T, SdkError<E, R>>
where
    E: Error + ProvideErrorMetadata,
{
    let asked = Instant::now();
    // In a box, or each of those around it would hold room for it: three times what it takes, and a node's start makes hundreds.
    let request = Box::pin(request);
    let sending = async {
        let answer = request.await;
        (answer, SENT.with(Cell::get).saturating_sub(1))
    };
    let (answer, retries) = SENT.scope(Cell::new(0), sending).await;
    metrics().backend_retries(api, retries);
    metrics().backend_request(api, outcome(&answer), asked.elapsed());
    answer
}

fn outcome<T, E, R>(answer: &Result<T, SdkError<E, R>>) -> &'static str
where
    E: Error + ProvideErrorMetadata,
{
    match answer {
        Ok(_) => "ok",
        Err(SdkError::ServiceError(service)) => {
            let code = service.err().code().unwrap_or_default();
            CODES.into_iter().find(|known| *known == code).unwrap_or("other")
        }
        Err(SdkError::TimeoutError(_)) => "timeout",
        Err(SdkError::DispatchFailure(failure)) if failure.is_timeout() => "timeout",
        Err(SdkError::DispatchFailure(failure)) if failure.is_io() => "connect",
        Err(_) => "other",
    }
}
