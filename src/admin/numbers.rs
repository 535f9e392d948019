//! The numbers of this process, for Prometheus.

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;

use super::{Page, Pages};
use crate::telemetry::metrics;

/// Whoever counts what is there now, when somebody looks.
#[async_trait]
pub trait Observe: Send + Sync + 'static {
    async fn observe(&self);
}

/// The page of scrapes, `/metrics`.
pub struct Numbers<O>(pub Arc<O>);

#[async_trait]
impl<O: Observe> Pages for Numbers<O> {
    const NAME: &'static str = "metrics";

    async fn page(&self, path: &str, _: Option<&str>, accept: &str) -> Option<Page> {
        if path != "/metrics" {
            return None;
        }
        self.0.observe().await;
        // Whoever says nothing, or takes anything, gets what is current.
        let is_old = accept.contains("text/plain") && !accept.contains("application/openmetrics-text");
        let (content_type, body) = match is_old {
            true => ("text/plain; version=0.0.4; charset=utf-8", metrics().classic()),
            false => ("application/openmetrics-text; version=1.0.0; charset=utf-8", metrics().open_metrics()),
        };
        Some(Page { status: StatusCode::OK, content_type, body })
    }
}
