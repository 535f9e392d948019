//! What the contenders go through.

mod cold;
mod failover;
mod memory;
mod refresh;
mod storm;
mod trouble;

use clap::ValueEnum;

use crate::bench::Bench;
use crate::table::Table;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Scenario {
    /// First mounts, one by one.
    Cold,
    /// The same volumes mounted again and again, as rotation does.
    Refresh,
    /// A node whose pods all start at once.
    Storm,
    /// AWS throttles, fails and hangs up.
    Trouble,
    /// The first of two Regions fails or hangs.
    Failover,
    /// A process that has nothing to do.
    Memory,
}

impl Scenario {
    pub const ALL: [Self; 6] = [Self::Memory, Self::Cold, Self::Refresh, Self::Storm, Self::Trouble, Self::Failover];

    /// As the command line and the document call it.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub async fn run(self, bench: &Bench) -> anyhow::Result<Table> {
        match self {
            Self::Cold => cold::run(bench).await,
            Self::Refresh => refresh::run(bench).await,
            Self::Storm => storm::run(bench).await,
            Self::Trouble => trouble::run(bench).await,
            Self::Failover => failover::run(bench).await,
            Self::Memory => memory::run(bench).await,
        }
    }
}
