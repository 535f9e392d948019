//! Where log lines go and which are written.

use std::io;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// Libraries that print requests and answers at `debug` and `trace`; they stay at `info` whatever is asked for.
const CAPPED: [&str; 13] = [
    "aws_config",
    "aws_runtime",
    "aws_sdk_secretsmanager",
    "aws_sdk_ssm",
    "aws_sdk_sts",
    "aws_smithy_http_client",
    "aws_smithy_runtime",
    "aws_smithy_runtime_api",
    "h2",
    "hyper",
    "hyper_util",
    "kube_client",
    "rustls",
];

/// Lines that wait for whoever reads standard error, half a MiB or so. What comes while there are more is lost: a container
/// runtime that does not read must not hold up mounts.
const WAITING_LINES: usize = 1_000;

/// The log. When it is dropped, what waits is written.
pub struct Log {
    _writer: WorkerGuard,
    lost: ErrorCounter,
}

impl Log {
    /// How many lines were lost since the start.
    pub fn lost_lines(&self) -> usize {
        self.lost.dropped_lines()
    }
}

/// Sends log lines to standard error from now on.
///
/// # Errors
/// A level that is neither a level nor a filter, in words that say what is.
pub fn start(level: &str, format: LogFormat) -> anyhow::Result<Log> {
    let filter = filter(level)?;
    let builder = NonBlockingBuilder::default().thread_name("log").lossy(true).buffered_lines_limit(WAITING_LINES);
    let (lines, writer) = builder.finish(io::stderr());
    let log = Log { _writer: writer, lost: lines.error_counter() };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines);
    match format {
        LogFormat::Json => {
            subscriber.json().flatten_event(true).with_current_span(false).with_span_list(false).finish().try_init()?
        }
        LogFormat::Text => subscriber.with_ansi(false).finish().try_init()?,
    }
    Ok(log)
}

/// What is logged at a level.
///
/// # Errors
/// See [`start`].
pub fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    const HELP: &str = "write error, warn, info, debug or trace, or a filter such as secretmount=debug";
    let mut filter = EnvFilter::try_new(level).map_err(|_| anyhow::anyhow!("--log-level {level:?}: {HELP}"))?;
    // A single unknown word would be a filter for a target of that name, and nothing else would be logged.
    let is_word = level.chars().all(char::is_alphanumeric);
    if is_word && level.parse::<tracing::level_filters::LevelFilter>().is_err() {
        anyhow::bail!("--log-level {level:?}: {HELP}");
    }
    // It writes an error of its own for each request that fails, which is then said once more where it matters.
    filter = filter.add_directive("kube_client::client::builder=off".parse()?);
    for library in CAPPED {
        filter = filter.add_directive(format!("{library}=info").parse()?);
    }
    Ok(filter)
}
