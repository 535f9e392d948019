//! One mount from end to end: the only place that knows the order of the rooms.

mod classes;
mod failing;
mod ledger;
mod news;
mod outage;
mod request;
mod sets;
mod state;

pub use ledger::{Good, Known};
pub use news::{Concerned, Listener, News};
pub use outage::Outage;
pub use request::{InvalidRequest, MountRequest};
pub use state::{Forgotten, State, VolumeState, Whose};

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use classes::Classes;
use failing::{Failing, Remembered};
use ledger::Ledger;
use outage::{Failed, Recovered};
use sets::{Set, Sets};
use tokio_util::sync::CancellationToken;

use crate::clock::{Freshness, Instant, SystemClock};
use crate::config::Limits;
use crate::identity::{Identity, IdentityError, Principal};
use crate::plan::{Address, FileLayout, Files, Object, SecretPlan};
use crate::provider::Provider;
use crate::reason::{Explained, Explanation, Reason, chain};
use crate::render::{RenderError, Rendered, render};
use crate::secrets::{
    CallsAtOnce, CredentialSource, Demand, FetchError, Fetched, Fetcher, Found, Kept, Said, Share, UnfoldError,
};
use crate::spec::SpecError;
use crate::telemetry::{Delivered, Delivery, Failure, MountRecord, Operation, Outcome, Reading, Stage, Write, metrics};
use crate::volume::{self, TargetPath, VolumeError, Volumes};

/// The pipeline of one cloud.
pub struct Mounter<P: Provider> {
    provider: P,
    fetcher: Fetcher<P::Backend, <P::Credentials as CredentialSource>::Reader>,
    identity: Identity,
    writing: Writing,
    limits: Limits,
    /// How old an answer may be that a refresh is served with.
    max_age: Duration,
    classes: Classes<P::Class>,
    ledger: Ledger,
    failing: Failing,
    sets: Sets,
    listener: Arc<dyn Listener>,
}

/// What refreshes, not first mounts, are served with.
#[derive(Debug, Clone, Copy)]
pub struct Refreshes {
    /// How old an answer may be.
    pub max_age: Duration,
    /// How much of answers is kept for them.
    pub share: Share,
    /// How long a volume is left alone after its refresh has failed once.
    pub pause_after_failure: Duration,
}

/// The version of what is not there. Whoever goes by versions, as Reloader does, so sees it come.
pub const ABSENT: &str = "absent";

/// Who writes the files.
pub enum Writing {
    /// We do, below kubelet's directory.
    Provider(Arc<Volumes>),
    /// The driver does, from our answer.
    Driver,
}

/// What the driver is told of a mount.
#[derive(Debug)]
pub struct Mounted {
    /// Every file by its path, with its version; and what is missing although the class names it, as [`ABSENT`].
    pub versions: BTreeMap<String, String>,
    /// The files themselves, where the driver writes them.
    pub files: Option<Files>,
}

impl<P: Provider> Mounter<P> {
    /// `at_once` bounds the calls to backends; `listener` hears what owners of pods should know.
    pub fn new(
        provider: P,
        identity: Identity,
        writing: Writing,
        limits: Limits,
        refreshes: Refreshes,
        at_once: CallsAtOnce,
        listener: Arc<dyn Listener>,
    ) -> Self {
        let Refreshes { max_age, share, pause_after_failure } = refreshes;
        let fetcher = Fetcher::new(provider.backend(), Kept::new(share, max_age), at_once, limits.max_value_bytes);
        let (ledger, failing) = (Ledger::default(), Failing::new(pause_after_failure));
        let (classes, sets) = (Classes::default(), Sets::default());
        Self { provider, fetcher, identity, writing, limits, max_age, classes, ledger, failing, sets, listener }
    }

    /// Wipes what is kept and too old to be used. To be called every few seconds.
    pub fn sweep(&self) {
        self.fetcher.sweep();
    }

    /// Serves a mount, and ends by `deadline`, or once `closing` is cancelled, whatever happens. A caller that goes away drops
    /// the future: then nothing more is asked of anyone and nothing more is written. `answer` makes of it what the caller gets.
    ///
    /// # Errors
    /// The cause, with a final gRPC code. The volume is as it was before, but for what [`VolumeError`] says.
    pub async fn mount<T>(
        &self,
        request: MountRequest,
        deadline: Instant,
        closing: &CancellationToken,
        answer: impl FnOnce(Mounted) -> Result<T, MountError>,
    ) -> Result<T, MountError> {
        let record = MountRecord::start(&request.pod, &request.class);
        let target = match TargetPath::parse(&request.target_path, &request.pod.uid) {
            Ok(target) => target,
            Err(error) => {
                let error = MountError::from(error);
                record.fail(error.failure());
                return Err(error);
            }
        };
        record.volume(target.volume());
        let asked = self.ledger.ask(&target, &request.pod, &request.class);
        if self.ledger.has_served(&target) {
            record.is_refresh();
        }
        let time = Time { deadline, whole: deadline.saturating_duration_since(Instant::now()) };
        // In a box: those around it would each hold room for it, and a node's start has a hundred of them.
        let run = Box::pin(self.run(&target, request, time, &record));
        let result = tokio::select! {
            biased; // what is done is done
            result = time.bound(&record, run) => result,
            () = closing.cancelled() => Err(MountError::ShuttingDown),
        };
        let result = result.and_then(|Served { mounted, outcome, set, changed }| {
            let good = Good::now(&mounted.versions, mounted.files.is_none());
            Ok((answer(mounted)?, good, outcome, set, changed))
        });
        match result {
            Ok((answer, good, outcome, set, changed)) => {
                self.note_delivery(&record, &target, set, outcome, &changed);
                // An answer to an earlier request than the last that was answered says nothing about now.
                if let Some(Recovered { after, was_told }) = self.ledger.served(&target, asked, good) {
                    if was_told {
                        self.tell(&record, &target, News::RefreshRecovered);
                    }
                    record.recovered(after);
                }
                record.finish(outcome);
                Ok(answer)
            }
            Err(error) => {
                if record.operation() == Operation::Mount && self.has_files(&target, deadline).await {
                    record.is_refresh();
                }
                self.note_failure(&error, &target, asked, record);
                Err(error)
            }
        }
    }

    /// Whether a pod has files in a volume of which this process knows nothing: one before it has served it. Asked where a mount
    /// has failed before that was looked at.
    async fn has_files(&self, target: &TargetPath, deadline: Instant) -> bool {
        let Writing::Provider(volumes) = &self.writing else { return false };
        let found = tokio::time::timeout_at(deadline, volumes.find(target.clone())).await;
        matches!(found, Ok(Ok(volume)) if volume.is_written())
    }

    /// A first mount that fails is told by kubelet, and a refresh by us: once, and not with each try.
    fn note_failure(&self, error: &MountError, target: &TargetPath, asked: u64, record: MountRecord) {
        let failure = error.failure();
        // Whoever comes after a provider that ends serves the volume, and nothing is wrong with it.
        if matches!(error, MountError::ShuttingDown) {
            return record.fail(failure);
        }
        // What is remembered was not tried again.
        if matches!(error, MountError::Remembered(_)) {
            return record.fail_again(failure.reason);
        }
        let is_refresh = record.operation() == Operation::Remount;
        let news = self.ledger.failed(target, asked, is_refresh, &failure);
        if !is_refresh {
            return record.fail(failure);
        }
        let Failed { is_for_log, is_for_owner } = news.unwrap_or_default();
        let refresh_failed = News::RefreshFailed { reason: failure.reason, error: &failure.error };
        if is_for_owner && self.tell(&record, target, refresh_failed) {
            self.ledger.owner_heard(target, &failure);
        }
        match is_for_log {
            true => record.fail(failure),
            false => record.fail_again(failure.reason),
        }
    }

    /// Whether it is passed on.
    fn tell(&self, record: &MountRecord, target: &TargetPath, news: News<'_>) -> bool {
        let (volume, node) = (target.volume(), self.identity.node());
        let of = Concerned { pod: record.pod(), volume, class: record.class(), node };
        self.listener.hear(of, news)
    }

    async fn run(
        &self,
        target: &TargetPath,
        request: MountRequest,
        time: Time,
        record: &MountRecord,
    ) -> Result<Served, MountError> {
        let since = Instant::now();
        let (parameters, permission) = (&request.parameters, request.default_permission);
        let read = || self.provider.parse(parameters, permission, &self.limits);
        let class = self.classes.get(parameters, permission, read)?;

        record.enter(Stage::Identity);
        let (audience, token) = request.token(self.provider.audiences(&class))?;
        let principal = self.identity.prove(&request.pod, token, audience, time.deadline).await?;

        record.enter(Stage::Credentials);
        let of_provider = |error: P::Error| MountError::Provider(Explanation::of(error));
        let plan = self.provider.plan(&class, &principal).await.map_err(of_provider)?;
        record.way(places(&plan), self.provider.way(&class));
        record.warnings(&plan.warnings);
        if !plan.warnings.is_empty() {
            self.tell(record, target, News::ClassWarnings(&plan.warnings));
        }
        let (volume, is_written) = match &self.writing {
            // Looked at before AWS is asked, so that a wrong target costs nothing; closed again while AWS is awaited.
            Writing::Provider(volumes) => {
                let volume = volumes.find(target.clone()).await?;
                let is_written = volume.is_written();
                (Some((volumes, volume)), is_written)
            }
            Writing::Driver => {
                leave_to_driver(&plan)?;
                (None, false)
            }
        };
        let is_refresh = is_written || self.ledger.has_served(target);
        if is_refresh {
            record.is_refresh();
        }
        let freshness = Freshness::of(is_refresh, self.max_age);
        let credentials = self.provider.credentials(&class, &principal, &request.secrets, freshness, time.deadline);
        let credentials = credentials.map_err(of_provider)?;

        let demand = Demand { since, max_age: is_refresh.then_some(self.max_age), deadline: time.deadline };
        let asked = Asked { target, class: &*class, principal: &principal, plan: &plan, credentials: &credentials };
        // In a box: those around it would each hold room for it.
        let files = Box::pin(self.files(asked, demand, record));
        // What is not there must not be waited for. Where the driver writes, only it knows whether the files are.
        let has_files = if volume.is_some() { is_written } else { is_refresh };
        let demands = self.failing.demands(request.demands());
        drop(request); // of which a node's start has a hundred, while AWS is awaited
        let Content { files, absent } = match has_files {
            true => self.failing.refresh(target, demands, time.bound(record, files)).await?,
            false => files.await?,
        };

        record.enter(Stage::Volume);
        let mut versions: BTreeMap<String, String> =
            files.iter().map(|(path, file)| (path.to_string(), file.version.clone())).collect();
        let (set, before) = (self.sets.set(&files, volume.is_none()), self.ledger.set(target));
        let changed = self.sets.changed(versions.iter(), before.as_deref());
        for id in absent {
            versions.entry(id).or_insert_with(|| ABSENT.into());
        }
        let Some((volumes, volume)) = volume else {
            let is_known = before.as_ref().is_some_and(|before| before.has_content_of(&set));
            let outcome = if is_known { Outcome::AnsweredAgain } else { Outcome::Answered };
            return Ok(Served { mounted: Mounted { versions, files: Some(files) }, outcome, set, changed });
        };
        let written = volumes.replace(volume, files, plan.layout, time.deadline).await;
        let (write, outcome) = match &written {
            Ok(volume::Outcome::Changed) => (Write::Changed, Outcome::Changed),
            Ok(volume::Outcome::Unchanged) => (Write::Unchanged, Outcome::Unchanged),
            Err(_) => (Write::Failed, Outcome::Unchanged),
        };
        metrics().volume_write(write);
        written?;
        // It was changed by a mount that nobody waited for any more, and has not been told.
        let is_untold = before.is_some() && !changed.is_empty();
        let outcome = if is_untold { Outcome::Changed } else { outcome };
        Ok(Served { mounted: Mounted { versions, files: None }, outcome, set, changed })
    }

    /// A volume has its files, of which `changed` have not been there before, with their versions.
    fn note_delivery(
        &self,
        record: &MountRecord,
        target: &TargetPath,
        set: Set,
        outcome: Outcome,
        changed: &[(String, String)],
    ) {
        let is_new = matches!(outcome, Outcome::Changed | Outcome::Answered);
        if is_new && record.operation() == Operation::Remount && !changed.is_empty() {
            self.tell(record, target, News::Rotated(changed));
        }
        self.ledger.delivered(target, set);
    }

    /// Secrets are looked up, fetched and become files.
    async fn files(&self, asked: Asked<'_, P>, demand: Demand, record: &MountRecord) -> Result<Content, MountError> {
        let Asked { target, class, principal, plan, credentials } = asked;
        let reading = Arc::new(Reading::new(record.id(), principal.namespace(), principal.service_account()));
        record.reads(reading.clone());
        let (reading, limits) = (&*reading, &self.limits);
        record.enter(Stage::Secrets);
        let (plan, nothing) = self.fetcher.unfold(credentials, plan, reading, demand, limits).await?;
        if let Cow::Owned(plan) = &plan {
            self.provider
                .check(class, principal, plan)
                .map_err(|error| MountError::Provider(Explanation::of(error)))?;
        }
        let found = self.fetcher.fetch(credentials, &plan, reading, demand).await?;
        let (mut there, mut absent, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for object in &nothing {
            left_out.push((object.position, "there are no such names".to_owned()));
            absent.extend(object.ids());
        }
        for (object, found) in plan.objects.iter().zip(&found) {
            match found {
                Found::Value(fetched) => {
                    if object.address != fetched.address {
                        record.warnings(&[format!("{} is served instead of {}", fetched.address, object.address)]);
                    }
                    there.push((object, fetched));
                }
                // That there is none yet says nothing about the class.
                Found::Absent(_) if object.is_previous() => {}
                Found::Absent(error) => {
                    metrics().object_skipped(error.reason());
                    left_out.push((object.position, error.to_string()));
                    absent.extend(object.ids());
                }
            }
        }
        if !left_out.is_empty() {
            let warning =
                |(position, why): &(usize, String)| format!("object {position} is optional and left out: {why}");
            record.warnings(&left_out.iter().map(warning).collect::<Vec<_>>());
            self.tell(record, target, News::ObjectsMissing(&left_out));
        }
        record.enter(Stage::Render);
        let rendered = render(&there, absent.is_empty(), &plan.templates, &self.limits, &SystemClock)?;
        record.warnings(&rendered.warnings);
        let delivery = Delivery::is_wanted().then(|| delivery(&there, &rendered));
        record.made(plan.objects.len(), rendered.files.len(), delivery);
        Ok(Content { files: rendered.files, absent })
    }
}

/// Where a plan reads.
fn places<A: Address>(plan: &SecretPlan<A>) -> String {
    let mut places: Vec<String> = Vec::new();
    for address in plan.objects.iter().flat_map(Object::addresses) {
        let place = address.place().to_string();
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places.join(",")
}

/// Which request has read what of it.
fn delivery<A: Address>(objects: &[(&Object<A>, &Fetched<A>)], rendered: &Rendered) -> Delivery {
    let mut delivered: Vec<Delivered> = Vec::with_capacity(objects.len());
    for (_, Fetched { address, value }) in objects {
        let source = value.source.as_ref();
        delivered.push(Delivered {
            object: source.map_or_else(|| address.to_string(), |source| source.object.clone()),
            version: value.version.clone(),
            request_id: source.map(|source| source.request_id.clone()).unwrap_or_default(),
            files: Vec::new(),
        });
    }
    let mut templates = Vec::new();
    for path in rendered.files.keys() {
        match rendered.origins.get(path).and_then(|index| delivered.get_mut(*index)) {
            Some(object) => object.files.push(path.to_string()),
            None => templates.push(path.to_string()),
        }
    }
    Delivery { objects: delivered, templates }
}

/// What a pod has asked for, and as whom it is got.
struct Asked<'a, P: Provider> {
    target: &'a TargetPath,
    class: &'a P::Class,
    principal: &'a Principal,
    plan: &'a SecretPlan<P::Address>,
    credentials: &'a P::Credentials,
}

/// What has come of a mount.
struct Served {
    mounted: Mounted,
    outcome: Outcome,
    set: Set,
    /// Files that were not there before, or with another version.
    changed: Vec<(String, String)>,
}

/// What a volume is to hold, and what it lacks.
struct Content {
    files: Files,
    /// Of optional objects of which there is nothing.
    absent: Vec<String>,
}

/// The driver writes links through `..data` that belong to root, and takes no other wish.
fn leave_to_driver<A>(plan: &SecretPlan<A>) -> Result<(), MountError> {
    let problem = match plan.layout {
        FileLayout::Files => "fileLayout: files",
        FileLayout::Atomic if plan.owners().any(|owner| !owner.is_ours()) => "uid or gid",
        FileLayout::Atomic => return Ok(()),
    };
    Err(MountError::DriverWrites { problem })
}

/// What a mount has of it.
#[derive(Clone, Copy)]
struct Time {
    deadline: Instant,
    whole: Duration,
}

impl Time {
    /// Ends by the deadline, with the stage at which the mount is then.
    async fn bound<T>(
        self,
        record: &MountRecord,
        work: impl Future<Output = Result<T, MountError>>,
    ) -> Result<T, MountError> {
        let spent = |_| Err(MountError::BudgetSpent { stage: record.stage(), budget: self.whole });
        tokio::time::timeout_at(self.deadline, work).await.unwrap_or_else(spent)
    }
}

/// Why a mount failed. Each room's own error says it; only what no room can know is added here.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Provider(Explanation),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Unfold(#[from] UnfoldError),
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("the mount was not done within its {:.1} s, which went by while {stage}; look at what that waits for, or raise --mount-deadline", budget.as_secs_f32())]
    BudgetSpent { stage: Stage, budget: Duration },
    #[error(
        "the class sets {problem}, which the driver cannot do, and on this node it writes the files; remove it from the class, or start the provider without --driver-writes-secrets"
    )]
    DriverWrites { problem: &'static str },
    #[error(
        "the files have {size} bytes, and the driver takes {limit} in one answer; mount less, or let the provider write"
    )]
    TooLarge { size: usize, limit: usize },
    #[error(transparent)]
    Remembered(#[from] Remembered),
    #[error("the provider on this node is shutting down; kubelet tries again, and its successor serves")]
    ShuttingDown,
}

impl MountError {
    /// As the log says it.
    fn failure(&self) -> Failure {
        let said = match self {
            Self::Fetch(error) | Self::Unfold(UnfoldError::Fetch(error)) => error.said(),
            _ => None,
        };
        let backend = said.map(|Said { code, request_id }| (code.clone(), request_id.clone()));
        Failure { reason: self.reason(), error: chain(self), backend }
    }
}

impl Explained for MountError {
    fn reason(&self) -> Reason {
        match self {
            Self::Request(error) => error.reason(),
            Self::Spec(error) => error.reason(),
            Self::Identity(error) => error.reason(),
            Self::Provider(error) => error.reason(),
            Self::Fetch(error) => error.reason(),
            Self::Unfold(error) => error.reason(),
            Self::Render(error) => error.reason(),
            Self::Volume(error) => error.reason(),
            Self::BudgetSpent { .. } => Reason::BudgetSpent,
            Self::DriverWrites { .. } => Reason::ConflictingSettings,
            Self::TooLarge { .. } => Reason::ResponseTooLarge,
            Self::Remembered(error) => error.reason(),
            Self::ShuttingDown => Reason::ShuttingDown,
        }
    }
}
