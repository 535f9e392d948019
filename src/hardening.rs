//! What the process gives up before it holds a secret. The only place with `unsafe`.

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask};
use rustix::thread::set_no_new_privs;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

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

/// System calls that this program never makes: to start another, to look into one, to change what is mounted, to leave its
/// namespaces, to load code into the kernel, to reach files past their paths, or to queue calls that no filter sees.
const FORBIDDEN: [libc::c_long; 39] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_by_handle_at,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_quotactl,
];

/// To be called first in `main`, while the process has one thread.
///
/// No core dump and no ptrace by others of the same user can show what is in memory, nothing that is started gains rights,
/// no file is readable by others before its mode is set on purpose, and calls that this program never makes fail with `EPERM`,
/// whoever may get it to make them.
///
/// # Errors
/// When the kernel refuses one of them: then the process must not go on.
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
    seccompiler::apply_filter(&filter()?).map_err(std::io::Error::other)
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

fn filter() -> std::io::Result<BpfProgram> {
    let architecture = std::env::consts::ARCH.try_into().map_err(std::io::Error::other)?;
    let rules = FORBIDDEN.into_iter().map(|call| (call, Vec::new())).collect();
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture);
    filter.and_then(TryInto::try_into).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::process::Command;

    use super::*;

    #[test]
    fn nothing_can_be_started_any_more_and_files_can_still_be_read() {
        // The filter is for this thread, and ends with it.
        let thread = std::thread::spawn(|| {
            set_no_new_privs(true).expect("given up");
            seccompiler::apply_filter(&filter().expect("a filter")).expect("applied");
            assert_eq!(Command::new("/bin/true").status().expect_err("refused").kind(), ErrorKind::PermissionDenied);
            assert!(std::fs::read("/proc/self/status").is_ok());
        });
        thread.join().expect("as expected");
    }
}
