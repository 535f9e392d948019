//! Where log lines go and which are written.

use std::io;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer as _;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
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
    filter: reload::Handle<Targets, Registry>,
}

impl Log {
    /// How many lines were lost since the start.
    pub fn lost_lines(&self) -> usize {
        self.lost.dropped_lines()
    }

    /// From now on that is logged.
    ///
    /// # Errors
    /// See [`start`]; then everything stays as it was.
    pub fn set_level(&self, level: &str) -> anyhow::Result<()> {
        Ok(self.filter.reload(filter(level)?)?)
    }
}

/// Sends log lines to standard error from now on.
///
/// # Errors
/// A level that is neither a level nor a filter, in words that say what is.
pub fn start(level: &str, format: LogFormat) -> anyhow::Result<Log> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let builder = NonBlockingBuilder::default().thread_name("log").lossy(true).buffered_lines_limit(WAITING_LINES);
    let (lines, writer) = builder.finish(io::stderr());
    let log = Log { _writer: writer, lost: lines.error_counter(), filter: handle };
    let lines = tracing_subscriber::fmt::layer().with_writer(lines);
    let registry = tracing_subscriber::registry();
    match format {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            registry.with(lines.with_filter(filter)).try_init()?;
        }
        LogFormat::Text => registry.with(lines.with_ansi(false).with_filter(filter)).try_init()?,
    }
    Ok(log)
}

/// What is logged at a level.
///
/// # Errors
/// See [`start`].
pub fn filter(level: &str) -> anyhow::Result<Targets> {
    const HELP: &str = "write error, warn, info, debug or trace, or a filter such as secretmount=debug";
    let mut filter: Targets = level.parse().map_err(|_| anyhow::anyhow!("--log-level {level:?}: {HELP}"))?;
    // A single unknown word would be a filter for a target of that name, and nothing else would be logged.
    let is_word = level.chars().all(char::is_alphanumeric);
    if is_word && level.parse::<LevelFilter>().is_err() {
        anyhow::bail!("--log-level {level:?}: {HELP}");
    }
    // It writes an error of its own for each request that fails, which is then said once more where it matters.
    filter = filter.with_target("kube_client::client::builder", LevelFilter::OFF);
    for library in CAPPED {
        let mut allowed = [Level::INFO, Level::WARN, Level::ERROR].into_iter();
        let most = allowed.find(|level| filter.would_enable(library, level)).map_or(LevelFilter::OFF, Into::into);
        filter = filter.with_target(library, most);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_says_neither_what_could_print_a_request_nor_more_than_is_asked_for() {
        let enabled =
            |filter: &str, target: &str, level: Level| self::filter(filter).expect(filter).would_enable(target, &level);
        assert!(enabled("trace", "secretmount::mount", Level::TRACE));
        assert!(!enabled("trace", "hyper::client", Level::DEBUG) && enabled("trace", "hyper::client", Level::INFO));
        assert!(!enabled("hyper=trace", "hyper::client", Level::DEBUG));
        assert!(!enabled("error", "hyper::client", Level::WARN) && enabled("error", "hyper::client", Level::ERROR));
        assert!(enabled("secretmount=debug", "secretmount::mount", Level::DEBUG));
        assert!(!enabled("secretmount=debug", "hyper::client", Level::ERROR));
        assert!(!enabled("trace", "kube_client::client::builder", Level::ERROR));
    }

    #[test]
    fn what_is_no_level_is_refused_with_what_is() {
        for level in ["verbose", "secretmount=loud", "a=b=c"] {
            let error = filter(level).expect_err(level).to_string();
            assert!(error.contains("write error, warn, info, debug or trace"), "{error}");
        }
    }
}
