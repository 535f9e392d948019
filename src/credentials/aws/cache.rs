//! Sessions that were made before, by all that separates two of them.
//!
//! A session is renewed by whoever needs it when four fifths of its life are over, with jitter; until it has really ended,
//! the others go on with it, and so does everybody while AWS cannot be reached. What AWS refuses is dropped at once. Refusals
//! are remembered for five seconds, so that those who have waited for one do not all ask again.
//!
//! Not here: whether the asker is who it says. The key begins with the [`Scope`] of a principal, and only `identity` makes one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::CredentialError;
use crate::clock::{Instant, WallClock};
use crate::flights::{Flights, Place};
use crate::identity::Scope;
use crate::plan::aws::{Hop, Region, RoleArn};
use crate::random;
use crate::reason::Explained as _;
use crate::secrets::aws::Session;
use crate::telemetry::{Cache, Got, metrics};

/// What a session takes beside its token, about.
const ENTRY_BYTES: usize = 1_024;
/// More than the pods of a node have.
const MOST_SESSIONS: usize = 4_096;
/// Part of a session's life, in percent, after which it is renewed, and by how much that differs.
const DUE_AFTER: f64 = 80.0;
const DUE_JITTER: f64 = 5.0;
/// A session that ends sooner than a mount may take is not begun with.
const LAST_MOMENTS: Duration = Duration::from_secs(60);
/// Least time between two exchanges for one session, whatever AWS says of its end.
const LEAST_LIFE: Duration = Duration::from_secs(10);
/// How long a refusal is answered to those who ask after it; and an error that may pass, which is to serve only those who have
/// waited for it.
const REFUSAL_LIFE: Duration = Duration::from_secs(5);
const ERROR_LIFE: Duration = Duration::from_secs(1);
/// When a renewal that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(15);

/// All that separates two sessions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// Namespace, service account and its UID; and the token itself where nothing is proved.
    pub scope: Scope,
    pub way: Way,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Way {
    /// Shared by pods of the service account: no pod's name is in such a session.
    Irsa { role: RoleArn, region: Region },
    /// AWS has put the pod's own name and UID into it.
    PodIdentity { pod_uid: String },
    /// Never kept itself, but what is assumed with it. Of all that belongs to the keys.
    StaticKeys { digest: [u8; 32] },
    /// A role that was assumed with another session, and all that AWS was told along.
    Assumed { by: Box<Way>, hop: Hop, region: Region },
}

/// Sessions by key.
pub struct Sessions {
    flights: Flights<SessionKey, Kept>,
    clock: Arc<dyn WallClock>,
}

#[derive(Clone)]
struct Kept {
    session: Option<Held>,
    refusal: Option<(CredentialError, Instant)>,
}

#[derive(Clone)]
struct Held {
    session: Session,
    made: Instant,
    due: Instant,
    /// Whether it was made because AWS took the one before for ended.
    forced: bool,
}

/// What a place is good for now.
enum State {
    Fresh(Session),
    /// Good, and to be renewed.
    Due(Session),
    Refused(CredentialError),
    Empty,
}

impl Sessions {
    pub fn new(clock: Arc<dyn WallClock>) -> Self {
        Self { flights: Flights::new(MOST_SESSIONS), clock }
    }

    /// How many are kept, and what they take in bytes, about.
    pub fn size(&self) -> (usize, usize) {
        let (mut count, mut bytes) = (0, 0);
        self.flights.each(|_, kept| {
            if let Some(Held { session, .. }) = &kept.session {
                count += 1;
                bytes += ENTRY_BYTES + session.credentials.session_token().map_or(0, str::len);
            }
        });
        (count, bytes)
    }

    /// The session of a key, made with `make` where there is none that will do.
    ///
    /// # Errors
    /// What `make` failed with, now or within the last five seconds.
    pub async fn get(
        &self,
        key: SessionKey,
        make: impl AsyncFnOnce() -> Result<Session, CredentialError>,
    ) -> Result<Session, CredentialError> {
        let place = self.flights.place(key);
        let got = |got| metrics().looked_for(Cache::Credentials, got, 1);
        let (flight, old) = match self.state(&place) {
            State::Fresh(session) => {
                got(Got::Hit);
                return Ok(session);
            }
            State::Refused(error) => {
                got(Got::Hit);
                return Err(error);
            }
            State::Due(session) => match place.try_flight() {
                Some(flight) => (flight, Some(session)),
                None => {
                    got(Got::Hit);
                    return Ok(session);
                }
            },
            State::Empty => (place.flight().await, None),
        };
        // Somebody may have made it while this one came to its turn.
        match self.state(&place) {
            State::Fresh(session) => {
                got(Got::Joined);
                return Ok(session);
            }
            State::Refused(error) if old.is_none() => {
                got(Got::Joined);
                return Err(error);
            }
            State::Refused(_) | State::Due(_) | State::Empty => got(Got::Miss),
        }
        let result = self.make(&place, old, false, make).await;
        drop(flight);
        result
    }

    /// Another session than `refused`, which AWS takes for ended: the one that is there, where somebody has made one, or a new
    /// one. Whoever has got one in this way gets no other for ten seconds.
    ///
    /// # Errors
    /// What `make` failed with.
    pub async fn renewed(
        &self,
        key: SessionKey,
        refused: &Session,
        make: impl AsyncFnOnce() -> Result<Session, CredentialError>,
    ) -> Result<Session, CredentialError> {
        metrics().looked_for(Cache::Credentials, Got::Expired, 1);
        let place = self.flights.place(key);
        let _flight = place.flight().await;
        match place.value().and_then(|kept| kept.session) {
            Some(held) if held.session.id() != refused.id() && self.is_usable(&held) => return Ok(held.session),
            Some(held) if held.forced && held.made.elapsed() < LEAST_LIFE => return Ok(held.session),
            _ => {}
        }
        self.make(&place, None, true, make).await
    }

    fn state(&self, place: &Place<Kept>) -> State {
        place.value().map_or(State::Empty, |kept| self.state_of(kept))
    }

    fn state_of(&self, Kept { session, refusal }: Kept) -> State {
        match session.filter(|held| self.is_usable(held)) {
            Some(held) if held.due > Instant::now() => State::Fresh(held.session),
            Some(held) => State::Due(held.session),
            None => match refusal.filter(|(error, at)| at.elapsed() < life_of(error)) {
                Some((error, _)) => State::Refused(error),
                None => State::Empty,
            },
        }
    }

    fn is_usable(&self, held: &Held) -> bool {
        let left =
            held.session.credentials.expiry().map(|end| end.duration_since(self.clock.now()).unwrap_or_default());
        held.made.elapsed() < LEAST_LIFE || left.is_some_and(|left| left > LAST_MOMENTS)
    }

    /// To be called with the flight of the place.
    async fn make(
        &self,
        place: &Place<Kept>,
        old: Option<Session>,
        forced: bool,
        make: impl AsyncFnOnce() -> Result<Session, CredentialError>,
    ) -> Result<Session, CredentialError> {
        let before = place.value().and_then(|kept| kept.session);
        match make().await {
            Ok(session) => {
                let made = Instant::now();
                let due = made + self.until_due(session.credentials.expiry()).max(LEAST_LIFE);
                let held = Held { session: session.clone(), made, due, forced };
                place.put(Kept { session: Some(held), refusal: None });
                // Whatever has ended is wiped now: beside an exchange that costs nothing.
                self.flights.sweep(|kept| !matches!(self.state_of(kept.clone()), State::Empty));
                Ok(session)
            }
            Err(error) => match (old, before) {
                // It still works, and perhaps AWS will, a little later.
                (Some(session), Some(held)) if error.reason().may_pass() => {
                    let due = Instant::now() + random::jittered(RETRY_AFTER);
                    place.put(Kept { session: Some(Held { due, ..held }), refusal: None });
                    Ok(session)
                }
                _ => {
                    place.put(Kept { session: None, refusal: Some((error.clone(), Instant::now())) });
                    Err(error)
                }
            },
        }
    }

    fn until_due(&self, end: Option<SystemTime>) -> Duration {
        let life = end.and_then(|end| end.duration_since(self.clock.now()).ok()).unwrap_or_default();
        life.mul_f64((DUE_AFTER + random::symmetric() * DUE_JITTER) / 100.0)
    }
}

fn life_of(error: &CredentialError) -> Duration {
    if error.reason().may_pass() { ERROR_LIFE } else { REFUSAL_LIFE }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::UNIX_EPOCH;

    use aws_credential_types::Credentials;
    use proptest::prelude::*;

    use super::super::pod_identity::PodIdentityError;
    use super::*;
    use crate::clock::ManualClock;
    use crate::reason::Reason;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// Sessions on clocks that are moved, and an AWS that counts.
    struct World {
        sessions: Sessions,
        clock: Arc<ManualClock>,
        made: AtomicUsize,
    }

    impl World {
        fn new() -> Self {
            let clock = Arc::new(ManualClock::at(UNIX_EPOCH + HOUR));
            Self { sessions: Sessions::new(clock.clone()), clock, made: AtomicUsize::new(0) }
        }

        /// Moves both clocks.
        async fn pass(&self, time: Duration) {
            self.clock.advance(time);
            tokio::time::advance(time).await;
        }

        fn session(&self, life: Duration, role: &str) -> Session {
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            let end = self.clock.now() + life;
            let credentials = Credentials::new(format!("id-{number}"), "secret", None, Some(end), "test");
            Session { credentials, role: role.into(), tenant: 0 }
        }

        /// The number of the session that a key gets, where AWS gives sessions of that life.
        async fn get(&self, key: SessionKey, life: Duration) -> String {
            let session = self.sessions.get(key, async || Ok(self.session(life, "role"))).await;
            session.expect("given").id().to_owned()
        }

        async fn fail(&self, key: SessionKey, reason: Reason) -> Result<String, Reason> {
            let make = async || {
                self.made.fetch_add(1, Ordering::Relaxed);
                Err(PodIdentityError::for_test(reason).into())
            };
            let result = self.sessions.get(key, make).await;
            result.map(|session| session.id().to_owned()).map_err(|error| error.reason())
        }

        fn made(&self) -> usize {
            self.made.load(Ordering::Relaxed)
        }
    }

    fn key(account: &str, pod: &str) -> SessionKey {
        SessionKey { scope: Scope::for_test("shop", account), way: Way::PodIdentity { pod_uid: pod.into() } }
    }

    #[tokio::test(start_paused = true)]
    async fn p19_a_session_is_renewed_after_four_fifths_of_its_life_and_only_on_demand() {
        let world = World::new();
        assert_eq!(world.get(key("web", "1"), HOUR).await, "id-0");
        world.pass(HOUR.mul_f64(0.74)).await;
        assert_eq!(world.get(key("web", "1"), HOUR).await, "id-0");
        world.pass(HOUR.mul_f64(0.12)).await;
        assert_eq!(world.get(key("web", "1"), HOUR).await, "id-1");
        world.pass(24 * HOUR).await;
        assert_eq!(world.made(), 2, "nobody has asked");
        assert_eq!(world.get(key("web", "1"), HOUR).await, "id-2");
    }

    #[tokio::test(start_paused = true)]
    async fn what_still_works_is_used_while_aws_fails_and_is_dropped_when_it_refuses() {
        let world = World::new();
        world.get(key("web", "1"), HOUR).await;
        world.pass(HOUR.mul_f64(0.9)).await;
        assert_eq!(world.fail(key("web", "1"), Reason::AwsUnavailable).await, Ok("id-0".into()));
        assert_eq!(world.fail(key("web", "1"), Reason::AwsUnavailable).await, Ok("id-0".into()));
        assert_eq!(world.made(), 2, "it is not tried again at once");
        world.pass(Duration::from_secs(20)).await;
        assert_eq!(world.fail(key("web", "1"), Reason::AssumeRoleDenied).await, Err(Reason::AssumeRoleDenied));
        assert_eq!(world.get(key("web", "2"), HOUR).await, "id-3", "another key has its own");
        world.pass(HOUR).await;
        assert_eq!(world.fail(key("web", "2"), Reason::AwsTimeout).await, Err(Reason::AwsTimeout), "it has ended");
    }

    #[tokio::test(start_paused = true)]
    async fn f14_an_error_is_remembered_for_five_seconds_and_for_nobody_else() {
        let world = World::new();
        for _ in 0..3 {
            assert_eq!(world.fail(key("web", "1"), Reason::AssumeRoleDenied).await, Err(Reason::AssumeRoleDenied));
        }
        assert_eq!(world.made(), 1);
        assert_eq!(world.get(key("api", "1"), HOUR).await, "id-1");
        world.pass(Duration::from_secs(6)).await;
        assert_eq!(world.get(key("web", "1"), HOUR).await, "id-2");
    }

    #[tokio::test(start_paused = true)]
    async fn f22_strange_ends_make_no_loop() {
        for life in [Duration::ZERO, Duration::from_secs(1), 8_000 * 365 * 24 * HOUR] {
            let world = World::new();
            for _ in 0..20 {
                world.get(key("web", "1"), life).await;
                world.pass(Duration::from_secs(1)).await;
            }
            assert!(world.made() <= 2, "{life:?}: {} exchanges in 20 s", world.made());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn f21_what_aws_takes_for_ended_is_renewed_once_for_all_that_were_refused() {
        let world = Arc::new(World::new());
        let first = world.sessions.get(key("web", "1"), async || Ok(world.session(HOUR, "role"))).await.expect("given");
        let renew = async |refused: &Session| {
            let make = async || Ok(world.session(HOUR, "role"));
            world.sessions.renewed(key("web", "1"), refused, make).await.expect("given")
        };
        let second = renew(&first).await;
        assert_ne!(second.id(), first.id());
        for _ in 0..10 {
            assert_eq!(renew(&first).await.id(), second.id(), "somebody has renewed it");
            assert_eq!(renew(&second).await.id(), second.id(), "not again so soon");
        }
        assert_eq!(world.made(), 2);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Ask { account: u8, pod: u8, role: u8, fails: Option<bool> },
        Renew { account: u8, pod: u8, role: u8 },
        Pass(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3_u8, 0..3_u8, 0..5_u8, proptest::option::weighted(0.3, any::<bool>()))
                .prop_map(|(account, pod, role, fails)| Step::Ask { account, pod, role, fails }),
            1 => (0..3_u8, 0..3_u8, 0..5_u8).prop_map(|(account, pod, role)| Step::Renew { account, pod, role }),
            2 => (0..5_000_u16).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// Sessions carry in their role whom they were made for.
        #[test]
        fn nobody_ever_gets_a_session_that_was_made_for_somebody_else(steps in proptest::collection::vec(step(), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.expect("a runtime").block_on(async {
                let world = World::new();
                for step in steps {
                    let of = |account: u8, pod: u8, role: u8| {
                        let scope = Scope::for_test("shop", &format!("account-{account}"));
                        let region: Region = "eu-west-1".parse().expect("a Region");
                        let role_arn = || -> RoleArn { "arn:aws:iam::111122223333:role/web".parse().expect("a role") };
                        let of_pod = Way::PodIdentity { pod_uid: pod.to_string() };
                        let shared = Way::Irsa { role: role_arn(), region: region.clone() };
                        // Of the permissions of a chain, the external id is one.
                        let assumed = |by: Way, external_id: &str| Way::Assumed {
                            by: Box::new(by),
                            hop: Hop {
                                role: role_arn(),
                                external_id: Some(external_id.into()),
                                session_tags: Default::default(),
                                transitive_tag_keys: Default::default(),
                                duration: None,
                            },
                            region: region.clone(),
                        };
                        let (way, owner) = match role {
                            0 => (of_pod, format!("{account} {pod}")),
                            1 => (shared, format!("{account} shared")),
                            2 => (assumed(shared, "a"), format!("{account} shared, then a")),
                            3 => (assumed(shared, "b"), format!("{account} shared, then b")),
                            _ => (assumed(of_pod, "a"), format!("{account} {pod}, then a")),
                        };
                        (SessionKey { scope, way }, owner)
                    };
                    let (key, owner, result) = match step {
                        Step::Pass(seconds) => {
                            world.pass(Duration::from_secs(seconds.into())).await;
                            continue;
                        }
                        Step::Ask { account, pod, role, fails } => {
                            let (key, owner) = of(account, pod, role);
                            let make = async || match fails {
                                None => Ok(world.session(HOUR, &owner)),
                                Some(passes) => {
                                    let reason = if passes { Reason::AwsUnavailable } else { Reason::AssumeRoleDenied };
                                    Err(PodIdentityError::for_test(reason).into())
                                }
                            };
                            let result = world.sessions.get(key.clone(), make).await;
                            (key, owner, result)
                        }
                        Step::Renew { account, pod, role } => {
                            let (key, owner) = of(account, pod, role);
                            let refused = world.session(HOUR, "refused");
                            let result = world.sessions.renewed(key.clone(), &refused, async || Ok(world.session(HOUR, &owner))).await;
                            (key, owner, result)
                        }
                    };
                    if let Ok(session) = result {
                        assert_eq!(session.role, owner, "{key:?}");
                        let end = session.credentials.expiry().expect("it has one");
                        assert!(end > world.clock.now(), "it has ended");
                    }
                }
            });
        }
    }
}
