//! The outermost layer: whatever happens below, the answer has a final code.
//!
//! Kubelet takes CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE, RESOURCE_EXHAUSTED and ABORTED for "perhaps still running" and
//! then leaves a pod over an empty directory. A handler that panics would be answered with one of them, and so would some
//! errors of the framework.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;

use crate::reason::{Reason, is_final};

#[derive(Clone)]
pub struct FinalCodes<S>(pub S);

impl<S, B> Service<Request<B>> for FinalCodes<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = AssertUnwindSafe(self.0.call(request)).catch_unwind();
        Box::pin(async move {
            let response = match answer.await {
                Ok(Ok(response)) => response,
                // The payload of a panic can hold anything, so it goes nowhere; the hook has logged the place.
                Err(_) => internal("the provider failed on this request; its log says where").into_http(),
            };
            Ok(finalize(response))
        })
    }
}

/// Replaces a status that is not final. Failures of unary calls stand in the headers.
fn finalize(mut response: Response<Body>) -> Response<Body> {
    let code = response.headers().get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
    if code.is_some_and(|code| !is_final(code)) {
        response.headers_mut().insert("grpc-status", HeaderValue::from(Code::Internal as i32));
    }
    response
}

fn internal(problem: &str) -> Status {
    let reason = Reason::Internal;
    Status::new(reason.code(), format!("{reason}: {problem}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tower::ServiceExt as _;

    use super::*;

    /// Sends a request through the layer over a handler.
    fn through<F>(handler: impl FnMut(Request<()>) -> F) -> Response<Body>
    where
        F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        let Ok(response) = runtime.block_on(FinalCodes(tower::service_fn(handler)).oneshot(Request::new(())));
        response
    }

    fn code_of(response: &Response<Body>) -> Code {
        Code::from_bytes(response.headers().get("grpc-status").expect("a status").as_bytes())
    }

    #[test]
    fn f67_a_panic_is_answered_with_a_final_code_and_without_its_payload() {
        let response = through(|_| async { panic!("hunter2") });
        assert_eq!(code_of(&response), Code::Internal);
        assert!(!format!("{:?}", response.headers()).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn no_status_outside_the_final_codes_passes(code in 1..20_i32, message in "\\PC{0,40}") {
            let response = through(move |_| {
                let status = Status::new(Code::from(code), message.clone());
                async move { Ok(status.into_http()) }
            });
            prop_assert!(is_final(code_of(&response)), "{:?}", code_of(&response));
            if is_final(Code::from(code)) {
                prop_assert_eq!(code_of(&response), Code::from(code));
            }
        }
    }
}
