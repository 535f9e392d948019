//! A provider as a process of the node, with this cloud as its AWS and its cluster.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{Driver, Node};
use crate::DevCloud;

/// How long a line of a log is waited for: far longer than any takes, so that a missing one fails a test and hangs none.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running provider. Killed when it is dropped.
#[derive(Debug)]
pub struct Provider {
    child: Child,
    socket: PathBuf,
    log: watch::Receiver<String>,
}

impl Provider {
    /// Starts `binary` with `arguments`, in an environment that names this cloud's endpoints and the node. `socket` is the
    /// name of the socket it will serve.
    ///
    /// # Errors
    /// Where it cannot be started at all.
    pub fn start<S: AsRef<OsStr>>(
        binary: &Path,
        arguments: &[S],
        cloud: &DevCloud,
        node: &Node,
        socket: &str,
        environment: &[(&str, &str)],
    ) -> io::Result<Self> {
        let kubeconfig = node.scratch().join("kubeconfig");
        std::fs::write(&kubeconfig, cloud.kubeconfig())?;
        let (aws, kubeconfig) = (cloud.aws_url(), kubeconfig.to_string_lossy());
        let cloud = [("AWS_ENDPOINT_URL", aws.as_str()), ("KUBECONFIG", &kubeconfig)];
        Self::start_without_cloud(binary, arguments, node, socket, &[&cloud, environment].concat())
    }

    /// Starts `binary` with nothing in its environment but `PATH` and what is given, for a world in which it finds AWS and
    /// Kubernetes by itself.
    ///
    /// # Errors
    /// Where it cannot be started at all.
    pub fn start_without_cloud<S: AsRef<OsStr>>(
        binary: &Path,
        arguments: &[S],
        node: &Node,
        socket: &str,
        environment: &[(&str, &str)],
    ) -> io::Result<Self> {
        let mut child = Command::new(binary)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (written, log) = watch::channel(String::new());
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(async move {
                let mut stderr = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = stderr.next_line().await {
                    written.send_modify(|log| {
                        log.push_str(&line);
                        log.push('\n');
                    });
                }
            });
        }
        Ok(Self { child, socket: node.providers_dir().join(socket), log })
    }

    /// Where it serves.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// Resolves once its log holds `text`; gives `false` when it ends, or a minute has gone by, without.
    pub async fn logged(&self, text: &str) -> bool {
        self.logged_times(text, 1).await
    }

    /// The same for a text that its log shall hold so many times.
    pub async fn logged_times(&self, text: &str, times: usize) -> bool {
        let is_there = |log: &String| log.matches(text).count() >= times;
        let mut log = self.log.clone();
        let found = tokio::time::timeout(PATIENCE, log.wait_for(is_there)).await;
        matches!(found, Ok(Ok(_))) || is_there(&self.log.borrow())
    }

    /// Dials it once it has logged `ready`.
    ///
    /// # Errors
    /// Its log, where it ended before that.
    pub async fn driver(&self, ready: &str) -> io::Result<Driver> {
        if !self.logged(ready).await {
            return Err(io::Error::other(self.log()));
        }
        Driver::dial(&self.socket).await.map_err(io::Error::other)
    }

    /// Its process id.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Asks it to end, as kubelet does, and waits until it has.
    pub async fn terminate(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.child.wait().await
    }

    /// Ends it without asking.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        kill_process(id.ok_or(io::ErrorKind::NotFound)?, signal)?;
        Ok(())
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }
}
