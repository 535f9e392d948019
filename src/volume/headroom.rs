//! How much more memory the control group of this process leaves it.
//!
//! Pages of a tmpfs are charged to the group of whoever wrote them, and stay charged after it was killed (*seen*). A provider
//! that went over its own limit by writing would be killed again at each start in the same pod.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::plan::Files;

/// What a file takes beside its pages: its inode, its name and the link to it (*seen*: 5.6 KB for one of a byte).
const FOR_A_FILE: u64 = 1_600;
const PAGE: u64 = 4_096;

/// The groups whose limits count: that of this process, and those above it as far as they can be seen.
#[derive(Debug, Clone, Default)]
pub struct Headroom {
    groups: Vec<PathBuf>,
    names: Names,
}

/// Names of the files of a group, by version of the interface.
/// <https://docs.kernel.org/admin-guide/cgroup-v2.html>, <https://docs.kernel.org/admin-guide/cgroup-v1/memory.html>
#[derive(Debug, Clone, Copy, Default)]
struct Names {
    limit: &'static str,
    usage: &'static str,
    /// Lines of `memory.stat`: pages of files, which the kernel takes back where it needs them.
    reclaimable: [&'static str; 2],
}

const V1: Names = Names {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: ["total_inactive_file", "total_active_file"],
};
const V2: Names = Names { limit: "memory.max", usage: "memory.current", reclaimable: ["inactive_file", "active_file"] };

impl Headroom {
    /// Nothing where there is no control group for memory, or it cannot be found.
    pub fn of_this_process() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::find(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo")).unwrap_or_default()
    }

    /// From the texts of `proc_pid_cgroup(5)` and `proc_pid_mountinfo(5)`.
    fn find(cgroup: &str, mounts: &str) -> Option<Self> {
        let group_of = |is_it: &dyn Fn(&str, &str) -> bool| {
            let fields = cgroup.lines().filter_map(|line| line.split_once(':')?.1.split_once(':').map(|it| (line, it)));
            let mut groups = fields.filter(|(line, (controllers, _))| is_it(line, controllers));
            groups.next().map(|(_, (_, path))| path)
        };
        let mount_of = |is_it: &dyn Fn(&str, &str) -> bool| {
            let lines = mounts.lines().filter_map(|line| line.split_once(" - "));
            let mut lines = lines.filter(|(_, of_system)| {
                let mut fields = of_system.split(' ');
                is_it(fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default())
            });
            let mut fields = lines.next()?.0.split(' ').skip(3);
            Some((fields.next()?, fields.next()?))
        };
        let of_memory = |options: &str| options.split(',').any(|option| option == "memory");
        let v1 = group_of(&|_, controllers| of_memory(controllers))
            .zip(mount_of(&|kind, options| kind == "cgroup" && of_memory(options)));
        let v2 = || group_of(&|line, _| line.starts_with("0::")).zip(mount_of(&|kind, _| kind == "cgroup2"));
        let (names, (path, (root, mounted_at))) = v1.map(|it| (V1, it)).or_else(|| v2().map(|it| (V2, it)))?;
        let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
        let groups = below.ancestors().map(|below| Path::new(mounted_at).join(below)).collect();
        Some(Self { groups, names })
    }

    /// What is missing for a set: twice its size must be there, because what is written cannot be taken back.
    pub fn lacks(&self, files: &Files) -> Option<Lack> {
        let size = size_of_all(files);
        let needed = size.saturating_mul(2);
        let left = self.groups.iter().filter_map(|group| self.left_in(group, needed)).min()?;
        (left < needed).then_some(Lack { size, left })
    }

    /// Bytes until the limit of a group, or `enough` of them. `None` where there is no limit.
    fn left_in(&self, group: &Path, enough: u64) -> Option<u64> {
        let limit = number_in(&group.join(self.names.limit))?;
        // An unlimited group of the first version has the largest number of pages there is.
        if limit >= u64::MAX / 4 {
            return None;
        }
        let used = number_in(&group.join(self.names.usage))?;
        let unused = limit.saturating_sub(used);
        if unused >= enough {
            return Some(unused);
        }
        // Last, because the kernel adds it up from all processors each time, which takes longer than to write a small set.
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let reclaimable = stat.lines().filter_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            self.names.reclaimable.contains(&name).then_some(bytes.parse::<u64>().ok()?)
        });
        Some(limit.saturating_sub(used.saturating_sub(reclaimable.sum())))
    }
}

/// A file of the kernel that holds a number, read with one call.
fn number_in(path: &Path) -> Option<u64> {
    let mut text = [0; 32];
    let length = fs::File::open(path).ok()?.read(&mut text).ok()?;
    std::str::from_utf8(text.get(..length)?).ok()?.trim().parse().ok()
}

/// Bytes of a set with all that belongs to it, and how many are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    pub size: u64,
    pub left: u64,
}

/// Bytes of files with all that belongs to them.
pub fn size_of_all(files: &Files) -> u64 {
    files.values().map(|file| size_of(file.content.len())).sum()
}

fn size_of(content: usize) -> u64 {
    u64::try_from(content).unwrap_or(u64::MAX / 4).next_multiple_of(PAGE).saturating_add(FOR_A_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{File, FilePermission, Owner};

    fn files(sizes: &[usize]) -> Files {
        let file = |size: usize| File {
            permission: FilePermission::from_mode(0o644).0,
            owner: Owner::default(),
            content: vec![0; size].into(),
            version: String::new(),
        };
        sizes
            .iter()
            .enumerate()
            .map(|(index, size)| (index.to_string().parse().expect("a name"), file(*size)))
            .collect()
    }

    #[test]
    fn groups_are_found_in_both_versions_with_and_without_a_namespace() {
        let v2 = "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw";
        let v1 = "33 25 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n30 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw";
        let of_container = "33 25 0:29 /kubepods/pod1/c1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
        for (cgroup, mounts, groups) in [
            ("0::/", v2, vec!["/sys/fs/cgroup/"]),
            (
                "0::/kubepods/pod1",
                v2,
                vec!["/sys/fs/cgroup/kubepods/pod1", "/sys/fs/cgroup/kubepods", "/sys/fs/cgroup/"],
            ),
            ("4:cpu,memory:/a\n0::/", v1, vec!["/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory/"]),
            ("4:memory:/kubepods/pod1/c1", of_container, vec!["/sys/fs/cgroup/memory/"]),
        ] {
            let found = Headroom::find(cgroup, mounts).expect("found");
            assert_eq!(found.groups, groups.into_iter().map(PathBuf::from).collect::<Vec<_>>(), "{cgroup}");
        }
        assert!(Headroom::find("", "").is_none());
        assert!(Headroom::find("0::/", "33 25 0:29 / /proc rw - proc proc rw").is_none());
    }

    #[test]
    fn p13_what_would_take_half_of_what_is_left_is_too_much() {
        let group = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(group.path().join(name), text).expect("written");
        let headroom = Headroom { groups: vec![group.path().into()], names: V2 };
        write("memory.max", "max\n");
        assert_eq!(headroom.lacks(&files(&[1 << 20])), None, "no limit");
        write("memory.max", "10000000\n");
        write("memory.current", "9000000\n");
        write("memory.stat", "anon 1\ninactive_file 1000000\nactive_file 1000000\n");
        assert_eq!(headroom.lacks(&files(&[1_400_000])), None, "what can be taken back is free");
        let lack = headroom.lacks(&files(&[1_500_000])).expect("too much");
        assert_eq!(lack.left, 3_000_000);
        assert!(lack.size > 1_500_000, "{lack:?}");
        assert!(headroom.lacks(&files(&[1; 300])).is_some(), "many small files are large");
        write("memory.current", "20000000\n");
        assert_eq!(headroom.lacks(&files(&[1 << 20])).expect("too much").left, 0);
        write("memory.current", "4000000\n");
        fs::remove_file(group.path().join("memory.stat")).expect("removed");
        assert_eq!(headroom.lacks(&files(&[1_400_000])), None, "there is enough as it is");
        assert_eq!(headroom.lacks(&files(&[3_500_000])).expect("too much").left, 6_000_000);
    }
}
