//! A Unix socket for whoever operates this node, in the provider's own pod: nobody outside of it finds the socket, and only root,
//! or whoever runs the provider, may ask.

use std::path::Path;
use std::sync::Arc;

use tokio::net::UnixListener;
use tracing::{info, warn};

use super::http::{Pages, serve};
use crate::socket::{Complaint, Socket, SocketError};

const SETTING: &str = "--admin-socket";

/// Removed when whoever listens on it goes, unless another process has put its own in the place.
struct Placed(Socket);

impl Drop for Placed {
    fn drop(&mut self) {
        self.0.remove();
    }
}

/// Answers on a socket, for ever, or not at all where there can be none: whoever needs secrets needs no operator.
pub async fn listen_at<P: Pages>(path: &Path, pages: Arc<P>) {
    let placed = match place(path) {
        Ok(placed) => placed,
        Err(error) => {
            warn!(%error, socket = %path.display(), "there is no socket for operators");
            return;
        }
    };
    info!(socket = %path.display(), name = P::NAME, "listening");
    let (mut socket, mut listener) = placed;
    let mut complaint = Complaint::default();
    loop {
        tokio::select! {
            never = serve(&listener, &pages) => match never {},
            () = socket.0.lost() => match place(path) {
                Ok(placed) => {
                    complaint = Complaint::default();
                    (socket, listener) = placed;
                }
                Err(error) if complaint.is_new(&error) => {
                    warn!(%error, "the socket for operators is gone and cannot be put back");
                }
                Err(_) => {}
            },
        }
    }
}

/// In any directory. Kubernetes lets everybody write in those that it makes for a pod, so either end of a connection looks at
/// who is at the other one.
fn place(path: &Path) -> Result<(Placed, UnixListener), SocketError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (socket, listener) = Socket::bind_in_any(directory, &name, SETTING)?;
    Ok((Placed(socket), listener))
}
