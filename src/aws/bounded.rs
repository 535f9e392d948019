//! A connector that does not read on where an answer is longer than any of AWS's, and that every try of a request passes.

use std::error::Error;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::{LengthLimitError, Limited};

use super::counted::is_sent;

/// Most bytes of an answer: ten times what a secret or ten parameters have.
const MAX_BYTES: usize = 1024 * 1024;
/// Twenty secrets come with one.
const MAX_BYTES_OF_A_BATCH: usize = 8 * 1024 * 1024;

/// Says which operation a request is of.
const TARGET: &str = "x-amz-target";
const BATCH: &str = "secretsmanager.BatchGetSecretValue";

/// The connector given, with answers bounded while they are read.
#[derive(Debug)]
pub struct Bounded<T>(pub T);

impl<T: HttpConnector> HttpConnector for Bounded<T> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let limit = match request.headers().get(TARGET) {
            Some(BATCH) => MAX_BYTES_OF_A_BATCH,
            _ => MAX_BYTES,
        };
        is_sent();
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            let body = Limited::new(answer.take_body(), limit);
            *answer.body_mut() = SdkBody::from_body_1_x(body);
            Ok(answer)
        })
    }
}

/// Whether an error, or what it comes from, is that an answer was too long.
pub fn is_too_long(error: &(dyn Error + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(is_too_long)
}
