//! Where a pod's volume is, checked before anything is opened in it.
//!
//! The driver says where; but a node serves many pods, so the path must be a volume of the very pod whose token was proved,
//! reached without a symbolic link, and what is there must be a mounted tmpfs. Otherwise secrets would go to another pod, to
//! a place of somebody's choice (CVE-2020-8568, CVE-2021-25741), or to the node's disk.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, StatxAttributes, StatxFlags, Timespec, Timestamps, fstatfs,
    futimens, open, openat2, statx,
};
use rustix::io::Errno;

use super::directory::names;
use super::{Step as _, VolumeError};

/// `TMPFS_MAGIC` of `statfs(2)`.
const TMPFS: u64 = 0x0102_1994;

/// `STATX_MNT_ID_UNIQUE` of `statx(2)`, ignored by kernels that do not know it.
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// A target path that has the shape of a CSI volume of a pod: `<root>/pods/<uid>/volumes/kubernetes.io~csi/<name>/mount`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TargetPath {
    whole: PathBuf,
    root: PathBuf,
    pod_uid: String,
    volume: String,
}

impl TargetPath {
    /// # Errors
    /// A path of any other shape, or of another pod than the one with `pod_uid`.
    pub fn parse(raw: &str, pod_uid: &str) -> Result<Self, VolumeError> {
        let wrong = |problem| VolumeError::UnexpectedPath { path: raw.chars().take(300).collect(), problem };
        let path = Path::new(raw);
        let mut elements = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => elements.push(name.to_str().ok_or(wrong("it is not UTF-8"))?),
                Component::RootDir => {}
                Component::CurDir | Component::ParentDir | Component::Prefix(_) => {
                    return Err(wrong("it has an element . or .."));
                }
            }
        }
        let [root @ .., "pods", uid, "volumes", "kubernetes.io~csi", volume, "mount"] = elements.as_slice() else {
            return Err(wrong("it is not <kubelet>/pods/<uid>/volumes/kubernetes.io~csi/<name>/mount"));
        };
        if !path.is_absolute() || raw.contains('\0') || raw.len() > 4000 {
            return Err(wrong("it is not absolute, or too long"));
        }
        if *uid != pod_uid || pod_uid.is_empty() {
            return Err(wrong("it belongs to another pod"));
        }
        let root = Path::new("/").join(root.iter().collect::<PathBuf>());
        let below: PathBuf = ["pods", uid, "volumes", "kubernetes.io~csi", volume, "mount"].iter().collect();
        Ok(Self { whole: root.join(below), root, pod_uid: pod_uid.into(), volume: (*volume).into() })
    }

    /// Name of the volume in kubelet's directory.
    pub fn volume(&self) -> &str {
        &self.volume
    }

    /// The pod that it belongs to.
    pub fn pod_uid(&self) -> &str {
        &self.pod_uid
    }

    fn shown(&self) -> String {
        self.whole.display().to_string()
    }
}

/// A target that was found to be a pod's tmpfs. Holds nothing open: a later [`PodTarget::open`] finds out whether it is
/// still the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodTarget {
    path: TargetPath,
    kubelet_dir: Option<PathBuf>,
    mounted: Mounted,
}

/// Which mount it is. The kernel gives the id and the device of an unmounted tmpfs to the next one (*seen*), so there is also
/// the id that is never given again, from Linux 6.8 on, and the birth of the root directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mounted {
    mount: u64,
    device: (u32, u32),
    born: (i64, u32),
}

/// What says so.
const MOUNTED: StatxFlags =
    StatxFlags::BASIC_STATS.union(StatxFlags::BTIME).union(StatxFlags::MNT_ID).union(MNT_ID_UNIQUE);

impl Mounted {
    fn of(stat: &Statx) -> Self {
        let birth = stat.stx_btime;
        Self { mount: stat.stx_mnt_id, device: device(stat), born: (birth.tv_sec, birth.tv_nsec) }
    }
}

/// Whether this kernel has ids of mounts that are never given again.
pub fn has_unique_mount_ids() -> bool {
    statx(CWD, "/", AtFlags::empty(), MNT_ID_UNIQUE).is_ok_and(|stat| stat.stx_mask & MNT_ID_UNIQUE.bits() != 0)
}

fn device(stat: &Statx) -> (u32, u32) {
    (stat.stx_dev_major, stat.stx_dev_minor)
}

impl PodTarget {
    /// Looks at the target, and gives it opened too. `kubelet_dir` is kubelet's directory where it is known; otherwise the root
    /// of the path is taken, but only where its `pods` is itself mounted here, as in a pod with that volume.
    ///
    /// # Errors
    /// Anything that is not the pod's own mounted tmpfs.
    pub fn find(path: TargetPath, kubelet_dir: Option<&Path>) -> Result<(Self, OwnedFd), VolumeError> {
        let kubelet_dir = kubelet_dir.map(Path::to_owned);
        let (directory, mounted) = open_target(&path, kubelet_dir.as_deref())?;
        Ok((Self { path, kubelet_dir, mounted }, directory))
    }

    pub fn path(&self) -> &TargetPath {
        &self.path
    }

    /// Whether it is still mounted. Opens nothing, and so holds up nobody who unmounts it.
    pub fn is_mounted(&self) -> bool {
        let found = statx(CWD, &self.path.whole, AtFlags::SYMLINK_NOFOLLOW, MOUNTED);
        found.is_ok_and(|stat| Mounted::of(&stat) == self.mounted)
    }

    /// Opens it for one write section.
    ///
    /// # Errors
    /// When it is no longer the mount that was found.
    pub fn open(&self) -> Result<OwnedFd, VolumeError> {
        let (directory, mounted) = open_target(&self.path, self.kubelet_dir.as_deref())?;
        if mounted != self.mounted {
            return Err(VolumeError::Replaced { path: self.path.shown() });
        }
        Ok(directory)
    }
}

fn open_target(path: &TargetPath, kubelet_dir: Option<&Path>) -> Result<(OwnedFd, Mounted), VolumeError> {
    const HELP: &str = "Kubelet's directory must be mounted into the provider at the same path";
    let unreachable = |errno: Errno| VolumeError::Unreachable {
        path: path.shown(),
        problem: match errno {
            Errno::LOOP | Errno::XDEV | Errno::NOTDIR => "a symbolic link or a file is on the way".into(),
            other => std::io::Error::from(other).to_string(),
        },
        help: HELP,
    };
    let directory = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let confined = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;

    let root = match kubelet_dir {
        Some(known) if known != path.root => {
            return Err(VolumeError::UnexpectedPath {
                path: path.shown(),
                problem: "it is not below the kubelet directory that was set",
            });
        }
        Some(known) => open(known, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()),
        // Nothing vouches for this path yet, so no link in it is followed.
        None => open("/", OFlags::PATH | directory, Mode::empty()).and_then(|slash| {
            let relative = path.root.strip_prefix("/").unwrap_or(&path.root);
            let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
            openat2(&slash, relative, OFlags::PATH | directory, Mode::empty(), confined)
        }),
    }
    .map_err(unreachable)?;

    let pods = openat2(&root, "pods", OFlags::PATH | directory, Mode::empty(), confined).map_err(unreachable)?;
    if kubelet_dir.is_none() && !is_mount_root(&pods, path)? {
        return Err(VolumeError::Unreachable {
            path: path.shown(),
            problem: "its pods directory is not mounted into this provider".into(),
            help: "Mount kubelet's pods directory, or set --kubelet-dir",
        });
    }
    let parent = Path::new(&path.pod_uid).join("volumes/kubernetes.io~csi").join(&path.volume);
    let parent = openat2(&pods, parent, OFlags::PATH | directory, Mode::empty(), confined).map_err(unreachable)?;
    let target = openat2(&parent, "mount", OFlags::RDONLY | directory, Mode::empty(), confined).map_err(unreachable)?;

    let not_tmpfs = |problem| VolumeError::NotTmpfs { path: path.shown(), problem };
    let (of_parent, of_target) = (stat(&parent, path)?, stat(&target, path)?);
    if !is_mounted(&of_target) || device(&of_parent) == device(&of_target) {
        return Err(not_tmpfs("nothing is mounted there"));
    }
    let file_system = fstatfs(&target).map_err(unreachable)?;
    if u64::try_from(file_system.f_type).ok() != Some(TMPFS) {
        return Err(not_tmpfs("another file system is mounted there"));
    }
    let mounted = Mounted::of(&of_target);
    Ok((target, mounted))
}

fn stat(file: &OwnedFd, path: &TargetPath) -> Result<Statx, VolumeError> {
    statx(file, "", AtFlags::EMPTY_PATH, MOUNTED).map_err(|errno| VolumeError::Unreachable {
        path: path.shown(),
        problem: std::io::Error::from(errno).to_string(),
        help: "Linux 5.8 or newer is needed",
    })
}

fn is_mount_root(directory: &OwnedFd, path: &TargetPath) -> Result<bool, VolumeError> {
    Ok(is_mounted(&stat(directory, path)?))
}

fn is_mounted(stat: &Statx) -> bool {
    stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
        && stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
}

/// Sets the directory's modification time to now. The driver compares it with its poll interval, and asks again at each of
/// kubelet's rounds while it is older.
pub fn touch(directory: &OwnedFd) -> Result<(), VolumeError> {
    modified(directory, Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW }).step("touching the directory")
}

/// Makes a volume look old while there is nothing in it. A driver that starts anew while a first mount waits finds it mounted,
/// and would take a young one for served: the pod would start without its secrets.
pub fn age_if_empty(directory: &OwnedFd) -> Result<(), VolumeError> {
    const STEP: &str = "looking whether the volume is new";
    if names(directory, 1).step(STEP)?.is_empty() {
        modified(directory, Timespec { tv_sec: 0, tv_nsec: 0 }).step(STEP)?;
    }
    Ok(())
}

fn modified(directory: &OwnedFd, at: Timespec) -> rustix::io::Result<()> {
    futimens(directory, &Timestamps { last_access: at, last_modification: at })
}
