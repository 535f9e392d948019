//! The volumes of all pods of a Deployment mounted again, as the driver does while secrets are to rotate.

use std::time::Duration;

use tokio::time::sleep;

use crate::bench::Bench;
use crate::row::{Row, turns};
use crate::table::Table;
use crate::world::{Guest, class_of};

const PODS: usize = 100;
/// Where a refresh is answered from memory, one at a time.
const FEWER_PODS: usize = 30;
const SECRETS: usize = 10;

const AWS: Duration = Duration::from_millis(20);
const KUBERNETES: Duration = Duration::from_millis(5);

const SHORT: &str = "--max-age=1s";
const OUT_OF_DATE: Duration = Duration::from_millis(1_500);
const LONG: &str = "--max-age=1h";

pub async fn run(bench: &Bench) -> anyhow::Result<Table> {
    bench.world.set_latency(AWS, KUBERNETES);
    let mut table = Table::default();
    after_max_age(bench, &mut table).await?;
    table.rows.push(within_max_age(bench).await?);
    Ok(table)
}

async fn after_max_age(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let world = &bench.world;
    let mut first = Row::new(format!("{PODS} pods, first mounts"));
    let mut again = Row::new(format!("{PODS} pods, after max-age"));
    let contenders: Vec<_> = bench.contenders().iter().map(|contender| contender.set(SHORT)).collect();
    let mut nodes = Vec::new();
    for running in bench.start(&contenders).await? {
        let guests: Vec<Guest> = world.siblings(PODS, &class_of(SECRETS), &running.node)?;
        first.add(&running.name, running.all_at_once(world, &guests).await?);
        nodes.push((running, guests));
    }
    for (running, guests) in turns(&nodes, bench.rounds(3, 1)) {
        sleep(OUT_OF_DATE).await;
        again.add(&running.name, running.all_at_once(world, guests).await?);
    }
    table.rows.extend([first, again]);
    Ok(())
}

async fn within_max_age(bench: &Bench) -> anyhow::Result<Row> {
    let world = &bench.world;
    let mut row = Row::new("a remount within max-age");
    let contenders: Vec<_> = bench.fair_contenders().iter().map(|contender| contender.set(LONG)).collect();
    let mut nodes = Vec::new();
    for running in bench.start(&contenders).await? {
        let guests = world.siblings(FEWER_PODS, &class_of(SECRETS), &running.node)?;
        running.all_at_once(world, &guests).await?;
        nodes.push((running, guests));
    }
    for (running, guests) in turns(&nodes, bench.rounds(3, 1)) {
        row.add(&running.name, running.one_by_one(world, guests, Duration::ZERO).await?);
    }
    Ok(row)
}
