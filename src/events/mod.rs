//! Events on pods, for their owners: what becomes of their volumes after the first mount, which nobody else tells them.
//!
//! They are sent in the background, one after the other, from a queue that does not grow: an API server that refuses or hangs
//! holds up no mount. Nothing depends on whether they arrive.

mod note;
mod once;

use std::sync::Arc;

use once::Once;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tracing::{debug, warn};

use crate::cluster::{ClusterError, PodEvent, PodEvents};
use crate::mount::{Concerned, Listener, News};
use crate::telemetry::{Sent, metrics};

/// Events that wait to be sent. A round of refreshes of a full node has fewer.
const WAITING: usize = 256;
/// Things that are told once and were told. More than the volumes of a node have.
const TOLD_ONCE: usize = 4_096;

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
    node: String,
    on_rotation: bool,
    told: Once,
}

impl Events {
    /// Sends events through `api` from now on, in the name of this node. `on_rotation` says whether new files are news.
    pub fn start(api: Arc<dyn PodEvents>, node: Option<String>, on_rotation: bool) -> Self {
        Kind::ALL.into_iter().for_each(|kind| metrics().event_is_known(kind.word()));
        let (queue, waiting) = mpsc::channel(WAITING);
        tokio::spawn(send(api, waiting));
        let node = node.unwrap_or_else(|| "unknown".into());
        Self { queue, node, on_rotation, told: Once::new(TOLD_ONCE) }
    }

    fn put(&self, of: Concerned<'_>, kind: Kind, text: &str) {
        let event = PodEvent {
            namespace: of.pod.namespace.clone(),
            pod: of.pod.name.clone(),
            pod_uid: of.pod.uid.clone(),
            reason: kind.word(),
            is_warning: kind.is_warning(),
            note: note::cut(text),
            node: self.node.clone(),
        };
        if self.queue.try_send((kind, event)).is_err() {
            metrics().event(kind.word(), Sent::Dropped);
        }
    }
}

impl Listener for Events {
    fn hear(&self, of: Concerned<'_>, news: News<'_>) {
        let Concerned { pod, volume, class } = of;
        match news {
            News::RefreshFailed { reason, error } => {
                let text = format!("volume {volume:?} keeps its files, because its refresh fails: {reason}: {error}");
                self.put(of, Kind::SecretRefreshFailed, &text);
            }
            News::RefreshRecovered => {
                self.put(of, Kind::SecretRefreshRecovered, &format!("volume {volume:?} can be refreshed again"));
            }
            News::Rotated(_) if !self.on_rotation => {}
            News::Rotated(files) => self.put(of, Kind::SecretRotated, &note::rotated(volume, files)),
            // One event for all of a volume: a namespace whose volumes lack hundreds each must not drive out what others are told.
            News::ObjectsMissing(missing) => {
                if self.told.is_first((&pod.uid, volume, missing)) {
                    self.put(of, Kind::OptionalSecretMissing, &note::missing(volume, class, missing));
                }
            }
            News::ClassWarnings(warnings) => {
                if self.told.is_first((&pod.namespace, class, warnings)) {
                    let text = format!("SecretProviderClass {class:?}: {}", warnings.join("; "));
                    self.put(of, Kind::SecretProviderClassWarning, &text);
                }
            }
        }
    }
}

/// Until nobody has events any more.
async fn send(api: Arc<dyn PodEvents>, mut waiting: Receiver<(Kind, PodEvent)>) {
    let mut was_refused = false;
    while let Some((kind, event)) = waiting.recv().await {
        let sent = match api.create(&event).await {
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::identity::ClaimedPod;
    use crate::reason::Reason;

    /// Takes as many events as it has permits for, and remembers them.
    struct FakeApi {
        permits: Semaphore,
        taken: Mutex<Vec<PodEvent>>,
    }

    #[async_trait]
    impl PodEvents for FakeApi {
        async fn create(&self, event: &PodEvent) -> Result<(), ClusterError> {
            self.permits.acquire().await.expect("open").forget();
            self.taken.lock().expect("unpoisoned").push(event.clone());
            Ok(())
        }
    }

    fn api(permits: usize) -> Arc<FakeApi> {
        Arc::new(FakeApi { permits: Semaphore::new(permits), taken: Mutex::default() })
    }

    fn pod(number: usize) -> ClaimedPod {
        let name = format!("web-{number}");
        ClaimedPod { namespace: "shop".into(), uid: format!("uid of {name}"), name, service_account: "web".into() }
    }

    async fn all_of(api: &FakeApi, count: usize) -> Vec<PodEvent> {
        while api.taken.lock().expect("unpoisoned").len() < count {
            tokio::task::yield_now().await;
        }
        std::mem::take(&mut api.taken.lock().expect("unpoisoned"))
    }

    #[tokio::test]
    async fn f83_an_api_server_that_hangs_holds_up_nobody_and_events_do_not_pile_up() {
        let api = api(0);
        let events = Events::start(api.clone(), Some("node-a".into()), true);
        let news = News::RefreshFailed { reason: Reason::AwsUnavailable, error: "AWS is gone" };
        // One is being sent, and the queue is full of others.
        for number in 0..10 * WAITING {
            events.hear(Concerned { pod: &pod(number), volume: "secrets", class: "shop-db" }, news);
        }
        api.permits.add_permits(10 * WAITING);
        let taken = all_of(&api, WAITING).await;
        assert!(taken.len() <= WAITING + 1);
        assert_eq!((taken[0].pod.as_str(), taken[0].is_warning, taken[0].node.as_str()), ("web-0", true, "node-a"));
        events.hear(Concerned { pod: &pod(0), volume: "secrets", class: "shop-db" }, News::RefreshRecovered);
        assert_eq!(all_of(&api, 1).await[0].reason, "SecretRefreshRecovered");
    }

    #[tokio::test]
    async fn what_comes_with_each_refresh_is_told_once() {
        let api = api(100);
        let events = Events::start(api.clone(), None, false);
        let warnings = |text: &str| [text.to_owned()];
        for _ in 0..3 {
            for number in 0..2 {
                let pod = pod(number);
                let of = Concerned { pod: &pod, volume: "secrets", class: "shop-db" };
                events.hear(of, News::ObjectsMissing(&[(2, "it is not there".into()), (3, "nor is this".into())]));
                events.hear(of, News::ClassWarnings(&warnings("`regoin` is no key")));
                events.hear(of, News::Rotated(&[("user".into(), "v2".into())]));
            }
        }
        let pod = pod(0);
        let of = Concerned { pod: &pod, volume: "secrets", class: "shop-db" };
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
