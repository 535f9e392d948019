//! What the process gives up before it holds a secret. The only place with `unsafe`, but for the allocator.

mod calls;
mod files;
mod kernel;

pub use calls::are_forbidden as are_calls_forbidden;
pub use files::{Confined, Reach, confine};
pub use kernel::{has_openat2, release, swaps};

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask};
use rustix::thread::set_no_new_privs;

/// Variables that would make a library write secrets down, or hand it credentials that belong to no pod.
const UNWANTED: [&str; 9] = [
    "LOG_SENSITIVE_BODIES", // makes the AWS SDK log whole requests and answers
    "SSLKEYLOGFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
];

/// To be called first in `main`, while the process has one thread.
///
/// No core dump and no ptrace by others of the same user can show what is in memory, nothing that is started gains rights,
/// no file is readable by others before its mode is set on purpose, and calls that this program never makes fail with `EPERM`,
/// whoever may get it to make them.
///
/// # Errors
/// When the kernel refuses one of them: then the process must not go on. One without seccomp lets every call through; see
/// [`are_calls_forbidden`].
pub fn apply() -> std::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_no_new_privs(true)?;
    umask(Mode::RWXG | Mode::RWXO);
    for name in UNWANTED {
        #[expect(unsafe_code, reason = "the environment is changed before a second thread could read it")]
        // SAFETY: `apply` is called first in `main`, while this is the only thread.
        unsafe {
            std::env::remove_var(name);
        }
    }
    close_inherited()?;
    calls::forbid()
}

/// Descriptors that whoever started the process has left open. They stay where the kernel cannot close them together (before
/// Linux 5.9), or a container runtime's profile does not let it.
fn close_inherited() -> std::io::Result<()> {
    #[expect(unsafe_code, reason = "nothing in this process knows these descriptors")]
    // SAFETY: `apply` is called first in `main`, so nothing here has opened anything.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    match std::io::Error::last_os_error() {
        error if closed != 0 && !matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Err(error),
        _ => Ok(()),
    }
}
