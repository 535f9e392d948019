//! A node comes up, and all pods that fit on it want their secrets at once, each with a role of its own.

use std::time::Duration;

use devcloud::node::Class;

use crate::bench::Bench;
use crate::meter::Sample;
use crate::row::{Row, turns};
use crate::running::Running;
use crate::table::Table;
use crate::world::{World, class_of, class_without_region};

/// What kubelet lets onto a node.
const PODS: usize = 110;
const SECRETS: usize = 10;

const AWS: Duration = Duration::from_millis(20);
const KUBERNETES: Duration = Duration::from_millis(5);

pub async fn run(bench: &Bench) -> anyhow::Result<Table> {
    bench.world.set_latency(AWS, KUBERNETES);
    let mut table = Table::default();
    for (case, class) in
        [("Region in the class", class_of(SECRETS)), ("Region of the node", class_without_region(SECRETS))]
    {
        table.rows.extend(storms(bench, case, &class).await?);
    }
    Ok(table)
}

/// The first storm of fresh processes, and the next one of each.
async fn storms(bench: &Bench, case: &str, class: &Class) -> anyhow::Result<[Row; 2]> {
    let mut first = Row::new(format!("{case}, first storm"));
    let mut next = Row::new(format!("{case}, next storm"));
    for contender in turns(&bench.fair_contenders(), bench.rounds(3, 1)) {
        let running = Running::start(contender, &bench.world).await?;
        first.add(&running.name, storm(&bench.world, &running, class).await?);
        next.add(&running.name, storm(&bench.world, &running, class).await?);
    }
    // Once: it waits for most of the time, and waiting does not vary.
    if let Some(peer) = bench.peer().filter(|_| !bench.quick) {
        let running = Running::start(peer, &bench.world).await?;
        first.add(&running.name, storm(&bench.world, &running, class).await?);
    }
    Ok([first, next])
}

async fn storm(world: &World, running: &Running, class: &Class) -> anyhow::Result<Sample> {
    let guests = world.strangers(PODS, class, &running.node)?;
    running.all_at_once(world, &guests).await
}
