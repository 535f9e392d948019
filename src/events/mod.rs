//! Events on pods, for their owners: what becomes of their volumes after the first mount, which nobody else tells them.
//!
//! They are sent in the background, one after the other, from a queue that does not grow: an API server that refuses or hangs
//! holds up no mount. Nothing depends on whether they arrive; but what takes AWS from a node often takes the API server too, and
//! then its owner is to hear of it, so each is tried for a while.

mod note;
mod once;

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use once::Once;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tracing::{debug, warn};

use crate::cluster::{ClusterError, PodEvent, PodEvents};
use crate::mount::{Concerned, Listener, News};
use crate::random;
use crate::telemetry::{Sent, metrics};

/// Events that wait to be sent. A round of refreshes of a full node has fewer.
const WAITING: usize = 256;
/// Things that are told once and were told. More than the volumes of a node have.
const TOLD_ONCE: usize = 4_096;
/// How often one is tried while the API server cannot be reached, as clients of Kubernetes do.
const TRIES: usize = 12;
/// How often one that the API server fails to create: that may be a webhook of one namespace, and all others wait.
const TRIES_ANSWERED: usize = 2;
const PAUSE: Duration = Duration::from_secs(10);

/// What an event can be of. `docs/events.md` has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    SecretRefreshFailed,
    SecretRefreshRecovered,
    SecretRotated,
    OptionalSecretMissing,
    SecretProviderClassWarning,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::SecretRefreshFailed,
        Self::SecretRefreshRecovered,
        Self::SecretRotated,
        Self::OptionalSecretMissing,
        Self::SecretProviderClassWarning,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::SecretRefreshFailed => "SecretRefreshFailed",
            Self::SecretRefreshRecovered => "SecretRefreshRecovered",
            Self::SecretRotated => "SecretRotated",
            Self::OptionalSecretMissing => "OptionalSecretMissing",
            Self::SecretProviderClassWarning => "SecretProviderClassWarning",
        }
    }

    const fn is_warning(self) -> bool {
        match self {
            Self::SecretRefreshFailed | Self::OptionalSecretMissing | Self::SecretProviderClassWarning => true,
            Self::SecretRefreshRecovered | Self::SecretRotated => false,
        }
    }
}

/// Turns news into events.
pub struct Events {
    queue: Sender<(Kind, PodEvent)>,
    on_rotation: bool,
    told: Once,
}

impl Events {
    /// Sends events through `api` from now on. `on_rotation` says whether new files are news.
    pub fn start(api: Arc<dyn PodEvents>, on_rotation: bool) -> Self {
        Kind::ALL.into_iter().for_each(|kind| metrics().event_is_known(kind.word()));
        let (queue, waiting) = mpsc::channel(WAITING);
        tokio::spawn(send(api, waiting));
        Self { queue, on_rotation, told: Once::new(TOLD_ONCE) }
    }

    /// Whether it has found room.
    fn put(&self, of: Concerned<'_>, kind: Kind, text: &str) -> bool {
        let event = PodEvent {
            id: random::hex::<8>(),
            at: SystemTime::now(),
            namespace: of.pod.namespace.clone(),
            pod: of.pod.name.clone(),
            pod_uid: of.pod.uid.clone(),
            reason: kind.word(),
            is_warning: kind.is_warning(),
            note: note::cut(text),
            node: of.node.unwrap_or("unknown").to_owned(),
        };
        let has_room = self.queue.try_send((kind, event)).is_ok();
        if !has_room {
            metrics().event(kind.word(), Sent::Dropped);
        }
        has_room
    }

    /// The same for what is found out each time and told once.
    fn put_once(&self, thing: impl Hash + Copy, of: Concerned<'_>, kind: Kind, text: impl FnOnce() -> String) -> bool {
        let is_lost = self.told.is_first(thing) && !self.put(of, kind, &text());
        if is_lost {
            self.told.forget(thing);
        }
        !is_lost
    }
}

impl Listener for Events {
    fn hear(&self, of: Concerned<'_>, news: News<'_>) -> bool {
        let Concerned { pod, volume, class, .. } = of;
        match news {
            News::RefreshFailed { reason, error } => {
                let text = format!("volume {volume:?} keeps its files, because its refresh fails: {reason}: {error}");
                self.put(of, Kind::SecretRefreshFailed, &text)
            }
            News::RefreshRecovered => {
                self.put(of, Kind::SecretRefreshRecovered, &format!("volume {volume:?} can be refreshed again"))
            }
            News::Rotated(_) if !self.on_rotation => true,
            News::Rotated(files) => self.put(of, Kind::SecretRotated, &note::rotated(volume, files)),
            // One event for all of a volume: a namespace whose volumes lack hundreds each must not drive out what others are told.
            News::ObjectsMissing(missing) => {
                let text = || note::missing(volume, class, missing);
                self.put_once((&pod.uid, volume, missing), of, Kind::OptionalSecretMissing, text)
            }
            News::ClassWarnings(warnings) => {
                let text = || format!("SecretProviderClass {class:?}: {}", warnings.join("; "));
                self.put_once((&pod.namespace, class, warnings), of, Kind::SecretProviderClassWarning, text)
            }
        }
    }
}

/// Until nobody has events any more.
async fn send(api: Arc<dyn PodEvents>, mut waiting: Receiver<(Kind, PodEvent)>) {
    let mut was_refused = false;
    while let Some((kind, event)) = waiting.recv().await {
        let sent = match create(&*api, &event).await {
            Ok(()) => {
                was_refused = false;
                Sent::Created
            }
            Err(error @ ClusterError::Forbidden { .. }) => {
                // Each further one says the same.
                if !was_refused {
                    was_refused = true;
                    warn!(%error, "owners of pods are told nothing; grant it, or start with --events=false");
                }
                Sent::Forbidden
            }
            Err(error) => {
                debug!(%error, event = kind.word(), "an event was not created");
                Sent::Failed
            }
        };
        metrics().event(kind.word(), sent);
    }
}

/// Tries until the API server has said something that stays, or for long enough.
async fn create(api: &dyn PodEvents, event: &PodEvent) -> Result<(), ClusterError> {
    let mut answers = 0;
    for _ in 1..TRIES {
        match api.create(event).await {
            Err(ClusterError::Unavailable { .. }) => {}
            Err(error @ ClusterError::Failing { .. }) => {
                answers += 1;
                if answers == TRIES_ANSWERED {
                    return Err(error);
                }
            }
            answer => return answer,
        }
        tokio::time::sleep(random::jittered(PAUSE)).await;
    }
    api.create(event).await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use tokio::sync::{Notify, Semaphore};

    use super::*;
    use crate::clock::Instant;
    use crate::identity::ClaimedPod;
    use crate::reason::Reason;

    /// Takes as many events as it has permits for, after so many tries that do not reach it, and remembers them.
    struct FakeApi {
        permits: Semaphore,
        out_of_reach: AtomicUsize,
        /// Name of a pod whose events it fails to create.
        fails_at: Mutex<Option<String>>,
        taken: Mutex<Vec<PodEvent>>,
        arrived: Notify,
    }

    #[async_trait]
    impl PodEvents for FakeApi {
        async fn create(&self, event: &PodEvent) -> Result<(), ClusterError> {
            let one_less = |left: usize| left.checked_sub(1);
            if self.out_of_reach.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
                return Err(ClusterError::Unavailable {
                    what: "create events".into(),
                    problem: "no connection".into(),
                });
            }
            if self.fails_at.lock().expect("unpoisoned").as_ref() == Some(&event.pod) {
                return Err(ClusterError::Failing { what: "create events".into(), status: 500 });
            }
            self.permits.acquire().await.expect("open").forget();
            self.taken.lock().expect("unpoisoned").push(event.clone());
            self.arrived.notify_one();
            Ok(())
        }
    }

    fn api(permits: usize) -> Arc<FakeApi> {
        let (permits, taken) = (Semaphore::new(permits), Mutex::default());
        let (out_of_reach, fails_at) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(FakeApi { permits, out_of_reach, fails_at, taken, arrived: Notify::new() })
    }

    fn concerned(pod: &ClaimedPod) -> Concerned<'_> {
        Concerned { pod, volume: "secrets", class: "shop-db", node: Some("node-a") }
    }

    fn pod(number: usize) -> ClaimedPod {
        let name = format!("web-{number}");
        ClaimedPod { namespace: "shop".into(), uid: format!("uid of {name}"), name, service_account: "web".into() }
    }

    /// Those that were taken, once there are so many. With a clock that is paused this hour is over at once.
    async fn all_of(api: &FakeApi, count: usize) -> Vec<PodEvent> {
        let all = async {
            while api.taken.lock().expect("unpoisoned").len() < count {
                api.arrived.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60 * 60), all).await.expect("an event is lost");
        std::mem::take(&mut api.taken.lock().expect("unpoisoned"))
    }

    #[tokio::test]
    async fn f83_an_api_server_that_hangs_holds_up_nobody_and_events_do_not_pile_up() {
        let api = api(0);
        let events = Events::start(api.clone(), true);
        let news = News::RefreshFailed { reason: Reason::AwsUnavailable, error: "AWS is gone" };
        // One is being sent, and the queue is full of others.
        for number in 0..10 * WAITING {
            events.hear(concerned(&pod(number)), news);
        }
        api.permits.add_permits(10 * WAITING);
        let taken = all_of(&api, WAITING).await;
        assert!(taken.len() <= WAITING + 1);
        assert_eq!((taken[0].pod.as_str(), taken[0].is_warning, taken[0].node.as_str()), ("web-0", true, "node-a"));
        events.hear(concerned(&pod(0)), News::RefreshRecovered);
        assert_eq!(all_of(&api, 1).await[0].reason, "SecretRefreshRecovered");
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_out_of_reach_is_tried_again_and_what_has_found_no_room_is_told_later() {
        let api = api(10 * WAITING);
        api.out_of_reach.store(TRIES - 1, Ordering::Relaxed);
        let events = Events::start(api.clone(), true);
        let news = News::RefreshFailed { reason: Reason::AwsUnavailable, error: "AWS is gone" };
        for number in 0..=WAITING {
            events.hear(concerned(&pod(number)), news);
        }
        let warnings = ["`regoin` is no key".to_owned()];
        events.hear(concerned(&pod(0)), News::ClassWarnings(&warnings));
        assert_eq!(all_of(&api, WAITING).await[0].pod, "web-0", "the first was not lost");
        events.hear(concerned(&pod(0)), News::ClassWarnings(&warnings));
        events.hear(concerned(&pod(0)), News::ClassWarnings(&warnings));
        events.hear(concerned(&pod(0)), News::RefreshRecovered);
        let reasons: Vec<_> = all_of(&api, 2).await.iter().map(|event| event.reason).collect();
        assert_eq!(reasons, ["SecretProviderClassWarning", "SecretRefreshRecovered"]);
        // One after which nobody hopes any more holds up the next for so long, and no longer.
        let since = Instant::now();
        api.out_of_reach.store(TRIES, Ordering::Relaxed);
        events.hear(concerned(&pod(1)), news);
        events.hear(concerned(&pod(2)), news);
        assert_eq!(all_of(&api, 1).await[0].pod, "web-2");
        assert!(since.elapsed() <= PAUSE.mul_f64(1.25 * TRIES as f64), "{:?}", since.elapsed());
        // What the API server fails to create, perhaps for a webhook of its namespace, holds up the others for less.
        let since = Instant::now();
        api.fails_at.lock().expect("unpoisoned").replace("web-1".into());
        events.hear(concerned(&pod(1)), news);
        events.hear(concerned(&pod(2)), news);
        assert_eq!(all_of(&api, 1).await[0].pod, "web-2");
        assert!(since.elapsed() <= PAUSE.mul_f64(1.25 * TRIES_ANSWERED as f64), "{:?}", since.elapsed());
    }

    #[tokio::test]
    async fn what_comes_with_each_refresh_is_told_once() {
        let api = api(100);
        let events = Events::start(api.clone(), false);
        let warnings = |text: &str| [text.to_owned()];
        for _ in 0..3 {
            for number in 0..2 {
                let pod = pod(number);
                let of = concerned(&pod);
                events.hear(of, News::ObjectsMissing(&[(2, "it is not there".into()), (3, "nor is this".into())]));
                events.hear(of, News::ClassWarnings(&warnings("`regoin` is no key")));
                events.hear(of, News::Rotated(&[("user".into(), "v2".into())]));
            }
        }
        let pod = pod(0);
        let of = concerned(&pod);
        events.hear(of, News::ClassWarnings(&warnings("`reigon` is no key")));
        let taken = all_of(&api, 4).await;
        let reasons: Vec<_> = taken.iter().map(|event| event.reason).collect();
        let count = |reason: &str| reasons.iter().filter(|other| **other == reason).count();
        assert_eq!((count("OptionalSecretMissing"), count("SecretProviderClassWarning"), reasons.len()), (2, 2, 4));
    }

    #[test]
    fn each_kind_is_documented() {
        let page = include_str!("../../docs/events.md");
        for kind in Kind::ALL {
            let row = format!("| `{}` | {} |", kind.word(), if kind.is_warning() { "Warning" } else { "Normal" });
            assert!(page.contains(&row), "docs/events.md lacks {row}");
        }
        assert_eq!(page.matches("\n| `S").count() + page.matches("\n| `O").count(), Kind::ALL.len());
    }
}
