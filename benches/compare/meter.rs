//! What a process takes while mounts run: time, CPU, memory, calls and connections.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use devcloud::Call;

use crate::world::World;

/// The kernel counts CPU time for others in steps of this, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// What one measurement gave.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub time: Option<Duration>,
    pub cpu: Option<Duration>,
    /// Most that the process held so far, or what it holds while idle. In KiB.
    pub memory: u64,
    /// Calls by API, those to Kubernetes together, and new connections.
    pub counts: Counts,
    pub mounts: usize,
    pub failed: usize,
}

/// By the head of their column. For one mount they can be fractions.
pub type Counts = BTreeMap<String, f64>;

/// Counts from its start on.
pub struct Meter<'a> {
    world: &'a World,
    process: u32,
    cpu: Duration,
    /// Connections have growing numbers: those up to this one are not new.
    connection: u64,
}

impl<'a> Meter<'a> {
    pub fn start(world: &'a World, process: u32) -> anyhow::Result<Self> {
        let connection = world.newest_connection();
        Ok(Self { world, process, cpu: cpu(process)?, connection })
    }

    pub fn stop(self, time: Duration, mounts: usize) -> anyhow::Result<Sample> {
        let cpu = cpu(self.process)?.saturating_sub(self.cpu);
        let memory = memory(self.process, "VmHWM")?;
        let counts = counts(&self.world.take_calls(), self.connection);
        Ok(Sample { time: Some(time), cpu: Some(cpu), memory, counts, mounts, failed: 0 })
    }
}

impl Sample {
    pub fn idle(process: u32) -> anyhow::Result<Self> {
        Ok(Self { memory: memory(process, "VmRSS")?, ..Self::default() })
    }

    /// Divides what was counted for all mounts; the time is that of one already.
    pub fn per_mount(mut self) -> Self {
        let mounts = self.mounts.max(1) as f64;
        self.cpu = self.cpu.map(|cpu| cpu.div_f64(mounts));
        self.counts.values_mut().for_each(|count| *count /= mounts);
        self
    }
}

fn counts(calls: &[Call], newest: u64) -> Counts {
    let mut counts = Counts::from(["AWS", "Kubernetes"].map(|whose| (connections(whose), 0.0)));
    let mut seen = BTreeSet::new();
    for call in calls {
        let is_kubernetes = call.service == "kubernetes";
        let api = if is_kubernetes { "Kubernetes" } else { &call.api };
        *counts.entry(api.to_owned()).or_default() += 1.0;
        if call.connection > newest && seen.insert(call.connection) {
            let whose = if is_kubernetes { "Kubernetes" } else { "AWS" };
            *counts.entry(connections(whose)).or_default() += 1.0;
        }
    }
    counts
}

fn connections(whose: &str) -> String {
    format!("new connections to {whose}")
}

/// User and system time of a process so far.
fn cpu(process: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("the provider has ended")?;
    let (_, fields) = stat.rsplit_once(") ").context("a name in parentheses")?;
    let mut fields = fields.split(' ').skip(11); // from the state on, see proc_pid_stat(5)
    let mut ticks = || fields.next().and_then(|field| field.parse::<u32>().ok()).context("a number");
    Ok(TICK * (ticks()? + ticks()?))
}

/// A line of the process's status, in KiB.
fn memory(process: u32, name: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("the provider has ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    number.with_context(|| format!("{name} in the status of a process"))
}
