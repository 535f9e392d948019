//! Connections: accepted, served, and drained when it is time to go.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;
use tracing::{info, warn};

use super::final_codes::FinalCodes;
use crate::socket::{ACCEPT_PAUSE, Complaint, Socket, SocketError, is_allowed};
use crate::telemetry::metrics;

/// Calls of one connection at a time.
const MAX_STREAMS: u32 = 256;
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// Which setting names the directories of the driver.
const SETTING: &str = "--provider-volume";
/// How long answers given at the very end may take to get out.
const FAREWELL: Duration = Duration::from_secs(2);

/// When to stop.
pub struct Shutdown {
    /// Cancelled when nothing new is to be accepted.
    pub stop: CancellationToken,
    /// How long what runs then may go on.
    pub grace: Duration,
    /// Cancelled by [`serve`] when that time is over: handlers then answer at once.
    pub closing: CancellationToken,
}

/// Serves `service` on a socket called `name` in each of `directories` that is there, until `shutdown.stop` and what was
/// running then.
///
/// # Errors
/// A directory in which there can be no socket, or none that is there; then nothing is served.
pub async fn serve<S>(service: S, directories: &[PathBuf], name: &str, shutdown: Shutdown) -> Result<(), SocketError>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let mut bound = Vec::new();
    let mut missing = None;
    for directory in directories {
        match Socket::bind(directory, name, SETTING) {
            Ok(socket) => bound.push((directory.clone(), socket)),
            // A driver has one directory or another, and not all of them are mounted into us.
            Err(error @ SocketError::NoDirectory { .. }) => {
                warn!(%error, "a directory is not served");
                missing = Some(error);
            }
            Err(error) => {
                bound.iter().for_each(|(_, (socket, _))| socket.remove());
                return Err(error);
            }
        }
    }
    if let (true, Some(error)) = (bound.is_empty(), missing) {
        return Err(error);
    }
    let mut serving = JoinSet::new();
    for (directory, (socket, listener)) in bound {
        info!(socket = %socket.path().display(), "serving");
        let place = Place { directory, name: name.to_owned(), socket, listener };
        serving.spawn(place.serve(FinalCodes(service.clone()), shutdown.stop.clone()));
    }

    shutdown.stop.cancelled().await;
    let mut drained = std::pin::pin!(async { while serving.join_next().await.is_some() {} });
    if tokio::time::timeout(shutdown.grace, &mut drained).await.is_err() {
        warn!(grace = ?shutdown.grace, "answering mounts that are still running");
        shutdown.closing.cancel();
        let _ = tokio::time::timeout(FAREWELL, drained).await;
    }
    Ok(())
}

/// One directory with the socket in it.
struct Place {
    directory: PathBuf,
    name: String,
    socket: Socket,
    listener: UnixListener,
}

impl Place {
    /// Accepts until it is told to stop, then removes the socket and waits for its connections to end. Puts the socket back
    /// when it is gone: the official provider removes it as it starts and as it ends, whoever's it is.
    async fn serve<S>(mut self, service: S, stop: CancellationToken)
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let mut connections = JoinSet::new();
        let mut complaint = Complaint::default();
        metrics().socket_is_there();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                never = accept(&self.listener, &service, &stop, &mut connections) => match never {},
                () = self.socket.lost() => match Socket::bind(&self.directory, &self.name, SETTING) {
                    Ok((socket, listener)) => {
                        warn!(socket = %socket.path().display(), "the socket was gone and is put back");
                        metrics().socket_was_restored();
                        complaint = Complaint::default();
                        (self.socket, self.listener) = (socket, listener);
                    }
                    Err(error) if complaint.is_new(&error) => {
                        warn!(%error, "the socket is gone and cannot be put back");
                    }
                    Err(_) => {}
                },
            }
        }
        self.socket.remove();
        metrics().socket_is_gone();
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }
}

async fn accept<S>(
    listener: &UnixListener,
    service: &S,
    stop: &CancellationToken,
    connections: &mut JoinSet<()>,
) -> Infallible
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if is_allowed(&stream) => {
                    connections.spawn(converse(stream, service.clone(), stop.clone()));
                }
                Ok(_) => warn!("closed a connection of another user than root"),
                Err(error) => {
                    warn!(%error, "no connection can be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Serves one connection; once it is time to stop, no new call of it.
async fn converse<S>(stream: UnixStream, service: S, stop: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(Duration::from_secs(30))
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the driver broke");
    }
}
