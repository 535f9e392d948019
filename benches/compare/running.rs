//! A contender's process on a node of its own, and the two ways in which mounts come to it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use devcloud::node::{Driver, Mount, Node, Provider};
use tokio::time::{sleep, timeout};

use crate::contender::Contender;
use crate::meter::{Meter, Sample};
use crate::world::{Guest, World};

/// Longer than any start takes.
const START: Duration = Duration::from_secs(30);

/// A little more than the driver's own two minutes, for those who do not mind the driver.
const LONGEST_MOUNT: Duration = Duration::from_secs(130);

pub struct Running {
    pub name: String,
    pub node: Node,
    /// Ends with it.
    _provider: Provider,
    driver: Driver,
    process: u32,
}

impl Running {
    pub async fn start(contender: &Contender, world: &World) -> anyhow::Result<Self> {
        let node = Node::new()?;
        let arguments = contender.arguments(&node.providers_dir(), &node.kubelet_dir());
        let environment = world.environment();
        let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut provider =
            Provider::start_without_cloud(&contender.binary, &arguments, &node, "aws.sock", &environment)
                .with_context(|| format!("{} starts", contender.binary.display()))?;
        let socket = provider.socket().to_owned();
        let driver = tokio::select! {
            driver = answering(&socket) => Some(driver),
            _ = provider.wait() => None,
            () = sleep(START) => None,
        };
        let driver = driver.with_context(|| format!("{} does not serve:\n{}", contender.name, provider.log()))?;
        let process = provider.id().with_context(|| format!("{} has ended", contender.name))?;
        Ok(Self { name: contender.name.clone(), node, _provider: provider, driver, process })
    }

    /// What it calls itself.
    pub async fn version(&self) -> anyhow::Result<String> {
        let version = self.driver.version().await?;
        Ok(format!("{} {}", version.runtime_name, version.runtime_version))
    }

    /// What the process holds while it does nothing.
    pub fn idle(&self) -> anyhow::Result<Sample> {
        Sample::idle(self.process)
    }

    /// Mounts with a pause before each, and gives what one of them took at the median.
    pub async fn one_by_one(&self, world: &World, guests: &[Guest], pause: Duration) -> anyhow::Result<Sample> {
        let meter = Meter::start(world, self.process)?;
        let (mut times, mut answers) = (Vec::new(), Vec::new());
        for guest in guests {
            sleep(pause).await;
            let started = Instant::now();
            answers.push(ask(self.driver.clone(), guest.mount.clone()).await);
            times.push(started.elapsed());
        }
        times.sort_unstable();
        let sample = meter.stop(times[times.len() / 2], guests.len())?.per_mount();
        Ok(Sample { failed: self.failed(guests, answers), ..sample })
    }

    /// Mounts at the same time, and gives what all of them took together.
    pub async fn all_at_once(&self, world: &World, guests: &[Guest]) -> anyhow::Result<Sample> {
        let meter = Meter::start(world, self.process)?;
        let started = Instant::now();
        let spawn = |guest: &Guest| tokio::spawn(ask(self.driver.clone(), guest.mount.clone()));
        let mounts: Vec<_> = guests.iter().map(spawn).collect();
        let mut answers = Vec::new();
        for mount in mounts {
            answers.push(mount.await?);
        }
        let sample = meter.stop(started.elapsed(), guests.len())?;
        Ok(Sample { failed: self.failed(guests, answers), ..sample })
    }

    /// How many got an error, or less than they asked for.
    fn failed(&self, guests: &[Guest], answers: Vec<Result<(), String>>) -> usize {
        let outcome = |(guest, answer): (&Guest, Result<(), String>)| answer.and_then(|()| guest.check());
        let failures: Vec<String> = guests.iter().zip(answers).filter_map(|pair| outcome(pair).err()).collect();
        if let Some(first) = failures.first() {
            eprintln!("{}: {} failed, the first with: {first}", self.name, failures.len());
        }
        failures.len()
    }
}

/// Not every provider says in its log that it is ready, so its socket is tried.
async fn answering(socket: &Path) -> Driver {
    loop {
        if let Ok(driver) = Driver::dial(socket).await
            && driver.version().await.is_ok()
        {
            return driver;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// One mount, with the reason as text where it fails.
async fn ask(driver: Driver, mount: Mount) -> Result<(), String> {
    match timeout(LONGEST_MOUNT, driver.mount(&mount)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => Err(status.message().to_owned()),
        Err(_) => Err(format!("no answer in {LONGEST_MOUNT:?}")),
    }
}
