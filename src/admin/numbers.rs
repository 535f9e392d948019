//! The numbers of this process, for Prometheus.

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;

use super::{Page, Pages};
use crate::mount::Mounter;
use crate::provider::Provider;
use crate::telemetry::metrics;

/// The page of scrapes, `/metrics`.
pub struct Numbers<P: Provider> {
    pub mounter: Arc<Mounter<P>>,
    /// Whether each volume is told by its names.
    pub each_volume: bool,
}

#[async_trait]
impl<P: Provider> Pages for Numbers<P> {
    const NAME: &'static str = "metrics";

    async fn page(&self, path: &str, _: Option<&str>, accept: &str) -> Option<Page> {
        if path != "/metrics" {
            return None;
        }
        self.mounter.observe(self.each_volume).await;
        // Whoever says nothing, or takes anything, gets what is current.
        let is_old = accept.contains("text/plain") && !accept.contains("application/openmetrics-text");
        let (content_type, body) = match is_old {
            true => ("text/plain; version=0.0.4; charset=utf-8", metrics().classic()),
            false => ("application/openmetrics-text; version=1.0.0; charset=utf-8", metrics().open_metrics()),
        };
        Some(Page { status: StatusCode::OK, content_type, body })
    }
}
