//! A class with two Regions, of which the first is down.

use std::time::{Duration, Instant};

use devcloud::{Fault, FaultKind};

use crate::bench::Bench;
use crate::row::Row;
use crate::table::Table;
use crate::world::{REGION, STANDBY, class_of};

const SECRETS: usize = 10;

/// Backing off is a matter of chance, so the median of some mounts counts; but nobody is waited for all day.
const MOUNTS: usize = 5;
const SLOW: Duration = Duration::from_secs(15);

const AWS: Duration = Duration::from_millis(20);
const KUBERNETES: Duration = Duration::from_millis(5);

pub async fn run(bench: &Bench) -> anyhow::Result<Table> {
    let error = FaultKind::Error { status: 500, code: "InternalFailure".into(), message: String::new() };
    let error = Fault::new(error).region(REGION).service("secretsmanager");
    let mut cases = vec![("first Region answers 500", error)];
    if !bench.quick {
        cases.push(("first Region hangs", Fault::new(FaultKind::Hang).region(REGION)));
    }
    let world = &bench.world;
    world.set_latency(AWS, KUBERNETES);
    let running = bench.start(&bench.contenders()).await?;
    let mut table = Table::default();
    for (case, fault) in cases {
        let mut row = Row::new(case);
        world.cloud.inject(fault);
        for running in &running {
            let class = class_of(SECRETS).with("failoverRegion", STANDBY);
            let began = Instant::now();
            for _ in 0..MOUNTS {
                let guests = world.strangers(1, &class, &running.node)?;
                row.add(&running.name, running.one_by_one(world, &guests, Duration::ZERO).await?);
                if began.elapsed() > SLOW {
                    break;
                }
            }
        }
        world.cloud.clear_faults();
        table.rows.push(row);
    }
    Ok(table)
}
