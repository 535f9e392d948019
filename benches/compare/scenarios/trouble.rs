//! AWS is not at its best: how many mounts fail for it.

use std::time::Duration;

use devcloud::{Fault, FaultKind};

use crate::bench::Bench;
use crate::row::{Row, turns};
use crate::table::Table;
use crate::world::class_of;

const PODS: usize = 120;
const SECRETS: usize = 10;

const AWS: Duration = Duration::from_millis(20);
const KUBERNETES: Duration = Duration::from_millis(5);

pub async fn run(bench: &Bench) -> anyhow::Result<Table> {
    let strikes = |kind, share| Fault::new(kind).service("secretsmanager").share(share);
    let error = |status, code: &str| FaultKind::Error { status, code: code.into(), message: String::new() };
    let throttled = strikes(error(400, "ThrottlingException"), 0.2);
    let failed = strikes(error(500, "InternalServiceError"), 0.05);
    let reset = strikes(FaultKind::Reset, 0.05);
    let cases = [("20 % throttled, 5 % HTTP 500", vec![throttled, failed]), ("5 % reset", vec![reset])];

    let world = &bench.world;
    world.set_latency(AWS, KUBERNETES);
    let running = bench.start(&bench.fair_contenders()).await?;
    let mut table = Table::default();
    for (case, faults) in cases {
        let mut row = Row::new(case);
        for running in turns(&running, bench.rounds(2, 1)) {
            faults.iter().for_each(|fault| world.cloud.inject(fault.clone()));
            let guests = world.strangers(PODS, &class_of(SECRETS), &running.node)?;
            row.add(&running.name, running.all_at_once(world, &guests).await?);
            world.cloud.clear_faults();
        }
        table.rows.push(row);
    }
    Ok(table)
}
