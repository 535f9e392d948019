//! One writer per volume at a time, and the newest request wins.
//!
//! Writing blocks, so it happens on a thread of its own; it cannot be interrupted there, so it asks for itself whether it is
//! still wanted. Of two processes on one volume, such as two versions of this provider, the one that was asked later wins.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::warn;

use super::headroom::{Headroom, size_of_all};
use super::leftovers::strangers;
use super::record::Record;
use super::served::Served;
use super::target::age_if_empty;
use super::write::Write;
use super::{Held, Outcome, PodTarget, TargetPath, VolumeError};
use crate::clock::Instant;
use crate::plan::{FileLayout, Files};

/// Longer than anybody takes from a link to the file that it leads to.
const GRACE: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce() + Send>;

/// Writes volumes of pods, one after another: a write section takes a fraction of a millisecond.
pub struct Volumes {
    kubelet_dir: Option<PathBuf>,
    jobs: Sender<Job>,
    served: Arc<Mutex<Served>>,
    headroom: Headroom,
    /// Whoever looks at all volumes, one after another.
    looks: Arc<tokio::sync::Mutex<()>>,
}

/// A volume that one request is for.
pub struct Volume {
    target: PodTarget,
    /// When it came; later requests have higher numbers.
    asked: u64,
    is_written: bool,
}

impl Volume {
    /// Whether there is a believable record of files that this provider, perhaps as an earlier process, has written.
    pub fn is_written(&self) -> bool {
        self.is_written
    }
}

impl Volumes {
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(kubelet_dir: Option<PathBuf>) -> std::io::Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let run = move || {
            for job in queue {
                // A panic fails its own request, whose answer channel it drops.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            }
        };
        std::thread::Builder::new().name("volume".into()).spawn(run)?;
        let (served, headroom) = (Arc::default(), Headroom::of_this_process());
        Ok(Self { kubelet_dir, jobs, served, headroom, looks: Arc::default() })
    }

    /// Looks at the target of a request, and closes it again. One with nothing in it is made to look old: see [`age_if_empty`].
    ///
    /// # Errors
    /// Anything that is not the pod's own mounted tmpfs.
    pub async fn find(&self, path: TargetPath) -> Result<Volume, VolumeError> {
        let asked = self.served.lock().unwrap_or_else(PoisonError::into_inner).ask();
        let kubelet_dir = self.kubelet_dir.clone();
        let find = move || {
            let (target, directory) = PodTarget::find(path, kubelet_dir.as_deref())?;
            let is_written = Record::read(&directory).is_some();
            if !is_written {
                age_if_empty(&directory)?;
            }
            Ok((target, is_written))
        };
        let (target, is_written) = self.run(find).await?;
        Ok(Volume { target, asked, is_written })
    }

    /// Makes `files` the content of the volume. When the returned future is dropped before it is done, or when it is not done
    /// by `deadline`, nothing more is written.
    ///
    /// # Errors
    /// The first step that fails; see [`VolumeError`].
    pub async fn replace(
        &self,
        volume: Volume,
        files: Files,
        layout: FileLayout,
        deadline: Instant,
    ) -> Result<Outcome, VolumeError> {
        let waiting = Waiting::until(deadline);
        let wanted = waiting.wanted();
        let (served, headroom) = (self.served.clone(), self.headroom.clone());
        self.run(move || {
            let Volume { target, asked, is_written } = volume;
            let served = || served.lock().unwrap_or_else(PoisonError::into_inner);
            if served().is_outdated(target.path(), asked) {
                return Err(VolumeError::Outdated);
            }
            let directory = target.open()?;
            let given_up = || !wanted.still();
            // Not under the lock, which every request takes as it comes.
            let held = || Held::of(&served().targets());
            let (headroom, held, given_up) = (&headroom, &held, &given_up);
            let write = Write { files: &files, layout, asked, headroom, held, grace: GRACE, given_up };
            let outcome = write.run(&directory)?;
            // Only when the volume becomes ours, so that it is said once. The set is written, whether they can be counted or not.
            if !is_written && let Ok(found @ 1..) = strangers(&directory, &files) {
                let (pod_uid, volume) = (target.path().pod_uid(), target.path().volume());
                warn!(pod_uid, volume, names = found, "somebody else's files are in a volume, and are left alone");
            }
            drop(directory);
            served().note(target, asked, size_of_all(&files));
            Ok(outcome)
        })
        .await
    }

    /// The volumes that this process has written and that are still mounted, with the bytes that are in them.
    ///
    /// # Errors
    /// When there is no volume thread any more.
    pub async fn mounted(&self) -> Result<HashMap<TargetPath, u64>, VolumeError> {
        // Whoever asks without a pause is not to have more than one look wait among the writes, also if he goes away.
        let turn = self.looks.clone().lock_owned().await;
        let targets = self.served.lock().unwrap_or_else(PoisonError::into_inner).targets();
        self.run(move || {
            let _turn = turn;
            let mounted = targets.into_iter().filter(|(target, _)| target.is_mounted());
            Ok(mounted.map(|(target, bytes)| (target.path().clone(), bytes)).collect())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, VolumeError> {
        let gone =
            || VolumeError::Io { step: "writing on the volume thread", error: std::io::ErrorKind::BrokenPipe.into() };
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move || {
            let _ = answer.send(job());
        });
        self.jobs.send(job).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Somebody who waits for a write.
struct Waiting(Wanted);

/// Whether a write is still wanted.
#[derive(Clone)]
struct Wanted {
    is_waited_for: Arc<AtomicBool>,
    deadline: Instant,
}

impl Waiting {
    fn until(deadline: Instant) -> Self {
        Self(Wanted { is_waited_for: Arc::new(AtomicBool::new(true)), deadline })
    }

    fn wanted(&self) -> Wanted {
        self.0.clone()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.is_waited_for.store(false, Ordering::Release);
    }
}

impl Wanted {
    /// A process that stood still for a while finds what it waited for, and only then that nobody waits for it any more. So
    /// the deadline, at which every caller is still there, counts for itself.
    fn still(&self) -> bool {
        self.is_waited_for.load(Ordering::Acquire) && Instant::now() < self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_is_wanted_until_its_deadline_and_while_somebody_waits() {
        let minute = Duration::from_secs(60);
        let waiting = Waiting::until(Instant::now() + minute);
        let wanted = waiting.wanted();
        assert!(wanted.still());
        tokio::time::advance(minute).await;
        assert!(!wanted.still(), "its caller may have gone, unseen");

        let waiting = Waiting::until(Instant::now() + minute);
        let wanted = waiting.wanted();
        drop(waiting);
        assert!(!wanted.still());
    }
}
