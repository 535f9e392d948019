//! System calls that fail from now on.

use std::sync::atomic::{AtomicBool, Ordering};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

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

/// Whether [`forbid`] has had its way. Another filter may be there in any case, that of the container runtime.
static ARE_FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// For this thread and all that it starts. Where there is no seccomp, nothing can be refused, and that is no reason to do
/// nothing: emulators of another architecture have none, with which people check their classes, and a container runtime may
/// deny that there is any.
pub fn forbid() -> std::io::Result<()> {
    match seccompiler::apply_filter(&filter()?) {
        Err(seccompiler::Error::Seccomp(error)) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        Err(error) => Err(std::io::Error::other(error)),
        Ok(()) => {
            ARE_FORBIDDEN.store(true, Ordering::Relaxed);
            Ok(())
        }
    }
}

/// Whether this process has seen to it that they fail.
pub fn are_forbidden() -> bool {
    ARE_FORBIDDEN.load(Ordering::Relaxed)
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

    use rustix::thread::set_no_new_privs;

    use super::*;

    #[test]
    fn nothing_can_be_started_any_more_and_files_can_still_be_read() {
        // The filter is for this thread, and ends with it.
        let thread = std::thread::spawn(|| {
            set_no_new_privs(true).expect("given up");
            forbid().expect("applied");
            assert!(are_forbidden());
            assert_eq!(Command::new("/bin/true").status().expect_err("refused").kind(), ErrorKind::PermissionDenied);
            assert!(std::fs::read("/proc/self/status").is_ok());
        });
        thread.join().expect("as expected");
    }
}
