//! First mounts, each for a service account that nobody has seen before, so that only connections can be warm.

use std::time::Duration;

use crate::bench::Bench;
use crate::row::{Row, turns};
use crate::running::Running;
use crate::table::Table;
use crate::world::class_of;

/// Secrets, milliseconds to AWS and to Kubernetes, and mounts in a round.
const CASES: [(usize, u64, u64, usize); 5] =
    [(20, 0, 0, 3), (20, 10, 0, 3), (20, 30, 0, 3), (100, 30, 0, 2), (20, 30, 30, 3)];

/// With less time between two mounts, the official provider's limit on calls to Kubernetes would be measured.
const PAUSE: Duration = Duration::from_millis(250);

pub async fn run(bench: &Bench) -> anyhow::Result<Table> {
    let world = &bench.world;
    let mut table = Table::default();
    let running = bench.start(&bench.contenders()).await?;
    world.set_latency(Duration::ZERO, Duration::ZERO);
    for running in &running {
        let first = world.strangers(1, &class_of(100), &running.node)?;
        running.one_by_one(world, &first, PAUSE).await?;
    }
    for (secrets, aws, kubernetes, mounts) in CASES {
        world.set_latency(Duration::from_millis(aws), Duration::from_millis(kubernetes));
        let mut row = Row::new(case(secrets, aws, kubernetes));
        for running in turns(&running, bench.rounds(5, 2)) {
            let guests = world.strangers(mounts, &class_of(secrets), &running.node)?;
            row.add(&running.name, running.one_by_one(world, &guests, PAUSE).await?);
        }
        table.remarks.extend(against_the_least(&row, kubernetes + 2 * aws));
        table.rows.push(row);
    }
    table.rows.push(in_a_fresh_process(bench).await?);
    Ok(table)
}

async fn in_a_fresh_process(bench: &Bench) -> anyhow::Result<Row> {
    let world = &bench.world;
    world.set_latency(Duration::from_millis(30), Duration::ZERO);
    let mut row = Row::new(case(20, 30, 0) + ", a process's first");
    for contender in turns(&bench.contenders(), bench.rounds(5, 2)) {
        let running = Running::start(contender, world).await?;
        let guests = world.strangers(1, &class_of(20), &running.node)?;
        row.add(&running.name, running.one_by_one(world, &guests, PAUSE).await?);
    }
    Ok(row)
}

fn case(secrets: usize, aws: u64, kubernetes: u64) -> String {
    match kubernetes {
        0 => format!("{secrets} secrets, AWS {aws} ms"),
        _ => format!("{secrets} secrets, AWS {aws} ms, Kubernetes {kubernetes} ms"),
    }
}

/// How near the first contender comes to what nobody can do without: an answer of Kubernetes, one of STS and one of Secrets
/// Manager, each asked for with the one before.
fn against_the_least(row: &Row, least: u64) -> Option<String> {
    let (name, sample) = row.figures().next().filter(|_| least > 0)?;
    let time = sample.time?.as_secs_f64() * 1000.0;
    let (case, times, more) = (&row.case, time / least as f64, time - least as f64);
    Some(format!("- {case}: {name} takes {times:.2} × the {least} ms that three answers take, {more:.0} ms more."))
}
