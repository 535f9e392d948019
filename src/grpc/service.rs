//! The two calls of the driver.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::status::status_of;
use super::v1alpha1::csi_driver_provider_server::CsiDriverProvider;
use super::v1alpha1::{
    File, MountRequest as WireRequest, MountResponse, ObjectVersion, VersionRequest, VersionResponse,
};
use crate::clock::Instant;
use crate::mount::{MountError, MountRequest, Mounted, Mounter};
use crate::provider::Provider;
use crate::reason::{Explained as _, chain};
use crate::telemetry;

/// The version of the API that the driver and we speak.
const API_VERSION: &str = "v1alpha1";
/// What the driver's client takes at most, by default: 4 MiB. It would turn more into RESOURCE_EXHAUSTED.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Serves the driver.
pub struct ProviderService<P: Provider> {
    mounter: Arc<Mounter<P>>,
    longest: Duration,
    closing: CancellationToken,
}

impl<P: Provider> ProviderService<P> {
    /// `longest` is the most time that one mount may take; once `closing` is cancelled, mounts that still run are answered.
    pub fn new(mounter: Arc<Mounter<P>>, longest: Duration, closing: CancellationToken) -> Self {
        Self { mounter, longest, closing }
    }
}

#[tonic::async_trait]
impl<P: Provider> CsiDriverProvider for ProviderService<P> {
    async fn version(&self, _: Request<VersionRequest>) -> Result<Response<VersionResponse>, Status> {
        Ok(Response::new(VersionResponse {
            version: API_VERSION.into(),
            runtime_name: env!("CARGO_PKG_NAME").into(),
            runtime_version: env!("CARGO_PKG_VERSION").into(),
        }))
    }

    async fn mount(&self, call: Request<WireRequest>) -> Result<Response<MountResponse>, Status> {
        let deadline = Instant::now() + budget(self.longest, caller_timeout(call.metadata()));
        let WireRequest { attributes, secrets, permission, target_path, .. } = call.into_inner();
        let request = MountRequest::parse(&attributes, &secrets, &permission, target_path).map_err(|error| {
            let error = MountError::from(error);
            telemetry::refused(error.reason(), &chain(&error));
            status_of(&error)
        })?;
        drop((attributes, secrets));
        let mounting = self.mounter.mount(request, deadline, &self.closing, answer);
        mounting.await.map(Response::new).map_err(|error| status_of(&error))
    }
}

/// `error` of the answer is never set: the driver drops the message of an answer that has one.
fn answer(mounted: Mounted) -> Result<MountResponse, MountError> {
    let object_version = mounted.versions.into_iter().map(|(id, version)| ObjectVersion { id, version }).collect();
    let files = mounted.files.unwrap_or_default().into_iter().map(|(path, file)| File {
        path: path.to_string(),
        mode: file.permission.mode() as i32,
        contents: file.content.expose().to_vec(),
    });
    let answer = MountResponse { object_version, error: None, files: files.collect() };
    match answer.encoded_len() {
        size if size > MAX_ANSWER_BYTES => Err(MountError::TooLarge { size, limit: MAX_ANSWER_BYTES }),
        _ => Ok(answer),
    }
}

/// What a mount may take: less than the caller waits, by a margin in which the answer gets there.
fn budget(longest: Duration, caller: Option<Duration>) -> Duration {
    let Some(caller) = caller else { return longest };
    let margin = caller.mul_f64(0.15).clamp(Duration::from_millis(200), Duration::from_secs(3));
    longest.min(caller.saturating_sub(margin))
}

/// The header `grpc-timeout`: at most eight digits and a unit.
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>
fn caller_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_ends_before_the_caller_gives_up() {
        let seconds = Duration::from_secs_f64;
        assert_eq!(budget(seconds(60.0), None), seconds(60.0));
        assert_eq!(budget(seconds(60.0), Some(seconds(120.0))), seconds(60.0));
        assert_eq!(budget(seconds(60.0), Some(seconds(30.0))), seconds(27.0));
        assert_eq!(budget(seconds(60.0), Some(seconds(10.0))), seconds(8.5));
        assert_eq!(budget(seconds(60.0), Some(seconds(1.0))), seconds(0.8));
        assert_eq!(budget(seconds(60.0), Some(seconds(0.1))), Duration::ZERO);
    }

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        let read = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().expect("ASCII"));
            caller_timeout(&metadata)
        };
        assert_eq!(read("119999873u"), None, "nine digits");
        assert_eq!(read("99999999u"), Some(Duration::from_micros(99_999_999)));
        assert_eq!(read("2M"), Some(Duration::from_secs(120)));
        for malformed in ["", "S", "1", "-1S", "1s", "1.5S"] {
            assert_eq!(read(malformed), None, "{malformed:?}");
        }
    }
}
