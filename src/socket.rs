//! Unix sockets of this process: put in place in one step, watched, and removed only while they are ours.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

use crate::random;

/// How often the socket is looked after.
const LOOK: Duration = Duration::from_secs(2);
/// The official provider removes the socket as it starts and makes its own right after. Ours in between would end it.
const SECOND_LOOK: Duration = Duration::from_millis(300);
/// How long somebody who may be listening is waited for.
const KNOCK: Duration = Duration::from_secs(1);

/// Longest path of a Unix socket: `sun_path` of `unix(7)`, less its end.
const MAX_PATH_BYTES: usize = 107;

/// Pause after a failed accept: without descriptors the next one fails at once too.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A socket of ours in some directory.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    /// Device and inode: a socket of the same name that somebody else has made differs.
    identity: (u64, u64),
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error(
        "{path} is too long for a Unix socket ({length} bytes; {MAX_PATH_BYTES} is the limit); set a shorter {setting}"
    )]
    TooLong { path: String, length: usize, setting: &'static str },
    #[error("{path} is {what}, which this provider does not replace; remove it")]
    Occupied { path: String, what: &'static str },
    #[error("{directory} is not there; mount it into this provider, or correct {setting}")]
    NoDirectory { directory: String, setting: &'static str },
    #[error(
        "{directory} {problem}, who could put a socket of theirs into the place of this provider's; give the directory to root, with mode 0755"
    )]
    Untrusted { directory: String, problem: String },
    #[error("no socket can be made in {directory}")]
    Io { directory: String, source: io::Error },
}

impl Socket {
    /// Listens in `directory` under `name`, where nobody but root, or whoever runs this, may put another one into its place.
    /// `setting` is the one that names the directory.
    ///
    /// # Errors
    /// Says what is in the way.
    pub fn bind(directory: &Path, name: &str, setting: &'static str) -> Result<(Self, UnixListener), SocketError> {
        if let Ok(found) = fs::metadata(directory)
            && let Some(problem) = others_may_write(&found)
        {
            return Err(SocketError::Untrusted { directory: directory.display().to_string(), problem });
        }
        Self::bind_in_any(directory, name, setting)
    }

    /// The same, whoever may write in `directory`. An earlier socket of that name, stale or not, is replaced without a moment in
    /// which there is none. Only root, or whoever runs this, can connect.
    ///
    /// # Errors
    /// Says what is in the way.
    pub fn bind_in_any(
        directory: &Path,
        name: &str,
        setting: &'static str,
    ) -> Result<(Self, UnixListener), SocketError> {
        let io = |source| SocketError::Io { directory: directory.display().to_string(), source };
        let path = directory.join(name);
        let private = directory.join(format!(".{name}.{}", random::hex::<8>()));
        let length = private.as_os_str().len();
        if length > MAX_PATH_BYTES {
            return Err(SocketError::TooLong { path: path.display().to_string(), length, setting });
        }
        if !directory.is_dir() {
            return Err(SocketError::NoDirectory { directory: directory.display().to_string(), setting });
        }
        if let Ok(found) = fs::symlink_metadata(&path)
            && !found.file_type().is_socket()
        {
            let what = if found.is_dir() { "a directory" } else { "no socket" };
            return Err(SocketError::Occupied { path: path.display().to_string(), what });
        }
        let listener = UnixListener::bind(&private).map_err(io)?;
        let put_in_place = || {
            fs::set_permissions(&private, fs::Permissions::from_mode(0o600))?;
            let made = fs::symlink_metadata(&private)?;
            fs::rename(&private, &path)?;
            Ok((made.dev(), made.ino()))
        };
        let identity = put_in_place().inspect_err(|_| drop(fs::remove_file(&private))).map_err(io)?;
        Ok((Self { path, identity }, listener))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Resolves once nobody can reach this provider here: the socket is gone, or is one that nobody listens on. One on which
    /// somebody else answers is left alone.
    pub async fn lost(&self) {
        let mut foreign = false;
        loop {
            tokio::time::sleep(LOOK).await;
            if !self.is_gone().await {
                if self.is_ours() == foreign {
                    foreign = !foreign;
                    let socket = self.path.display();
                    match foreign {
                        true => warn!(%socket, "another process has put its own socket in the place"),
                        false => warn!(%socket, "the socket is this process's again"),
                    }
                }
                continue;
            }
            tokio::time::sleep(SECOND_LOOK).await;
            if self.is_gone().await {
                return;
            }
        }
    }

    fn is_ours(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
    }

    async fn is_gone(&self) -> bool {
        if self.is_ours() {
            return false;
        }
        match tokio::time::timeout(KNOCK, UnixStream::connect(&self.path)).await {
            Ok(Err(error)) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused),
            Ok(Ok(_)) | Err(_) => false,
        }
    }

    /// Removes the socket, unless another process has put its own in the place.
    pub fn remove(&self) {
        if self.is_ours() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Why a socket cannot be put back, which is tried every few seconds: it is said where it is not what was said last.
#[derive(Debug, Default)]
pub struct Complaint(Option<String>);

impl Complaint {
    /// Whether this was not said last.
    pub fn is_new(&mut self, error: &SocketError) -> bool {
        let text = crate::reason::chain(error);
        self.0.replace(text.clone()) != Some(text)
    }
}

/// Whether root, or whoever runs this, is at the other end. A socket's mode keeps others out already; this does so too where its
/// directory is shared in some other way.
pub fn is_allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

/// Who else than root, and whoever runs this, could take and replace names in a directory.
fn others_may_write(directory: &fs::Metadata) -> Option<String> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let (owner, of_group, mode) = (directory.uid(), directory.gid(), directory.mode());
    match () {
        () if owner != 0 && owner != user => Some(format!("belongs to user {owner}")),
        () if mode & 0o002 != 0 => Some("can be written by everybody".into()),
        () if mode & 0o020 != 0 && of_group != 0 && of_group != group => {
            Some(format!("can be written by group {of_group}"))
        }
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: &str = "--provider-volume";

    #[tokio::test]
    async fn a_socket_is_private_and_replaces_a_stale_one() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("aws.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a stale socket"));
        let (socket, _listener) = Socket::bind(directory.path(), "aws.sock", SETTING).expect("bound");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
        tokio::net::UnixStream::connect(&path).await.expect("somebody listens");
        socket.remove();
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 0, "nothing is left");
    }

    /// Whether the loss of a socket is noticed within a minute of a paused clock.
    async fn notices(socket: &Socket) -> bool {
        tokio::time::timeout(Duration::from_secs(60), socket.lost()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn f72_a_socket_that_is_gone_or_dead_is_noticed_and_one_of_somebody_who_answers_is_not() {
        let directory = tempfile::tempdir().expect("directory");
        let (socket, _listener) = Socket::bind(directory.path(), "aws.sock", SETTING).expect("bound");
        assert!(!notices(&socket).await, "it is there");
        let (other, listener) = Socket::bind(directory.path(), "aws.sock", SETTING).expect("bound again");
        assert!(!notices(&socket).await, "somebody else answers");
        drop(listener);
        assert!(notices(&socket).await, "nobody listens");
        other.remove();
        assert!(notices(&socket).await, "nothing is there");
    }

    #[test]
    fn that_a_socket_cannot_be_put_back_is_said_again_for_another_cause_alone() {
        let mut complaint = Complaint::default();
        let missing = SocketError::NoDirectory { directory: "/missing".into(), setting: SETTING };
        let occupied = SocketError::Occupied { path: "/missing".into(), what: "a directory" };
        let said = [&missing, &missing, &occupied, &missing].map(|error| complaint.is_new(error));
        assert_eq!(said, [true, false, true, true]);
    }

    #[tokio::test]
    async fn a_socket_of_somebody_else_is_not_removed() {
        let directory = tempfile::tempdir().expect("directory");
        let (first, _first) = Socket::bind(directory.path(), "aws.sock", SETTING).expect("bound");
        let (second, _second) = Socket::bind(directory.path(), "aws.sock", SETTING).expect("bound again");
        first.remove();
        assert!(second.path().exists());
    }

    #[tokio::test]
    async fn a27_a_directory_that_others_may_write_has_no_socket() {
        let directory = tempfile::tempdir().expect("directory");
        for (mode, is_refused) in [(0o755, false), (0o775, false), (0o1777, true), (0o757, true)] {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).expect("set");
            match Socket::bind(directory.path(), "aws.sock", SETTING) {
                Ok(_) => assert!(!is_refused, "{mode:o}"),
                Err(error) => assert!(is_refused && error.to_string().contains("mode 0755"), "{mode:o}: {error}"),
            }
        }
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o775)).expect("set");
        let given = |uid, gid| std::os::unix::fs::chown(directory.path(), uid, gid).is_ok();
        if given(None, Some(1_001)) && given(Some(1_000), None) {
            let error = Socket::bind(directory.path(), "aws.sock", SETTING).expect_err("another user's");
            assert!(error.to_string().contains("belongs to user 1000"), "{error}");
            assert!(given(Some(0), None));
            let error = Socket::bind(directory.path(), "aws.sock", SETTING).expect_err("another group's");
            assert!(error.to_string().contains("group 1001"), "{error}");
        }
    }

    #[tokio::test]
    async fn a27_what_is_no_socket_is_not_replaced() {
        let directory = tempfile::tempdir().expect("directory");
        fs::create_dir(directory.path().join("aws.sock")).expect("made");
        let error = Socket::bind(directory.path(), "aws.sock", SETTING).expect_err("a directory is in the way");
        assert!(error.to_string().contains("is a directory"), "{error}");
        let missing = directory.path().join("missing");
        assert!(matches!(Socket::bind(&missing, "aws.sock", SETTING), Err(SocketError::NoDirectory { .. })));
        let long = directory.path().join("x".repeat(120));
        assert!(matches!(Socket::bind(&long, "aws.sock", SETTING), Err(SocketError::TooLong { .. })));
    }
}
