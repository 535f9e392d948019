//! What a process holds before its first mount. What it held at most stands in every other table.

use std::time::Duration;

use tokio::time::sleep;

use crate::bench::Bench;
use crate::row::{Row, turns};
use crate::running::Running;
use crate::table::Table;

/// By then a process has done all that it does at its start.
const SETTLED: Duration = Duration::from_secs(2);

pub async fn run(bench: &Bench) -> anyhow::Result<Table> {
    let mut row = Row::new("idle");
    for contender in turns(&bench.contenders(), bench.rounds(3, 1)) {
        let running = Running::start(contender, &bench.world).await?;
        sleep(SETTLED).await;
        row.add(&running.name, running.idle()?);
    }
    Ok(Table { rows: vec![row], ..Table::default() })
}
