//! What a mount costs, asked for as the driver does, at the socket of the real process.
//!
//! ```console
//! $ cargo bench --bench mount                # the first time, it compiles for minutes
//! $ cargo bench --bench mount -- --quick     # rough numbers within a minute
//! $ unshare -rm cargo bench --bench mount    # with the row that needs a tmpfs, for those who are not root
//! ```
//!
//! AWS and Kubernetes are an embedded cloud that answers at once, from this process: the times are those of the provider and
//! of the cloud's checks together, without any network. They compare two versions on one machine and promise nothing else.

#[allow(dead_code, unused_imports, unused_macros, reason = "tests use the rest")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::cell::Cell;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use devcloud::node::{Class, Mount};
use devcloud::{Role, TokenOptions};
use secretmount::identity::ClaimedPod;
use secretmount::telemetry::{Delivered, Delivery, MountRecord, Outcome, Reading, Stage};
use support::{AUDIENCE, REGION, ROLE, ROLE_ANNOTATION, World, class_of};
use tokio::runtime::Runtime;

const SECRETS: usize = 20;

criterion_main!(benches);
criterion_group!(benches, cold, unchanged, expanded, refused, recorded);

/// First mounts of pods whose service account nobody has seen before, so that nothing is remembered for them.
fn cold(criterion: &mut Criterion) {
    let runtime = runtime();
    let world = runtime.block_on(World::driver_writes());
    world
        .cloud
        .put_role(Role::new(ROLE).trust_service_account("shop", "*").allow("secretsmanager:GetSecretValue", "*"));
    let number = Cell::new(0);
    let stranger = |class: &Class| {
        number.set(number.get() + 1);
        let account = format!("cold-{}", number.get());
        world.cloud.put_service_account("shop", &account, &[(ROLE_ANNOTATION, ROLE)]);
        let pod = world.cloud.put_pod("shop", &account, &account, "node-a");
        let target = world.node.unmounted(&pod, "secrets").expect("a directory");
        Mount::new(&pod, class, &target).token(AUDIENCE, &world.cloud.token(&pod, AUDIENCE))
    };
    let mut group = criterion.benchmark_group("cold mount");
    for count in [1, SECRETS] {
        let class = secrets(&world, count);
        group.throughput(Throughput::Elements(count as u64)).bench_function(format!("{count} secrets"), |bencher| {
            let mount = |mount: Mount| runtime.block_on(world.driver.mount(&mount)).expect("mounted");
            bencher.iter_batched(|| stranger(&class), mount, BatchSize::SmallInput);
        });
    }
}

/// What rotation costs while nothing rotates.
fn unchanged(criterion: &mut Criterion) {
    let runtime = runtime();
    for (age, row) in [("--max-age=0s", "all asked for again"), ("--max-age=24h", "nothing asked for again")] {
        let world = runtime.block_on(World::with(&[age]));
        let Ok(volume) = world.node.publish(&world.pod, "secrets") else {
            eprintln!("unchanged remount: left out, because this process may not mount a tmpfs");
            return;
        };
        let mount = world.mount_of(&secrets(&world, SECRETS), volume.path());
        runtime.block_on(world.driver.mount(&mount)).expect("mounted");
        criterion.bench_function(&format!("unchanged remount/{SECRETS} secrets, {row}"), |bencher| {
            bencher.iter(|| runtime.block_on(world.driver.mount(&mount)).expect("mounted"));
        });
    }
}

/// What a rotation of a large JSON secret costs as one file, and with a file for each of its keys.
fn expanded(criterion: &mut Criterion) {
    const KEYS: usize = 500;
    let runtime = runtime();
    let world = runtime.block_on(World::with(&["--max-age=0s"]));
    let Ok(volume) = world.node.publish(&world.pod, "secrets") else {
        eprintln!("rotation: left out, because this process may not mount a tmpfs");
        return;
    };
    let rotations = Cell::new(0);
    let rotate = || {
        rotations.set(rotations.get() + 1);
        let text = format!("{:0100}", rotations.get());
        let members: Vec<String> = (0..KEYS).map(|number| format!(r#""setting-{number}": "{text}""#)).collect();
        world.cloud.put_secret(REGION, "shop/large", format!("{{{}}}", members.join(",")));
    };
    let mut group = criterion.benchmark_group("rotation of 500 keys in 60 KiB");
    for (row, keys) in [("one file", ""), ("a file for each", ", expandJson: true, extractOnly: true")] {
        let class = support::class(&format!("- {{objectName: shop/large, objectType: secretsmanager{keys}}}"));
        let mount = world.mount_of(&class, volume.path());
        group.bench_function(row, |bencher| {
            let remount = |()| runtime.block_on(world.driver.mount(&mount)).expect("mounted");
            bencher.iter_batched(rotate, remount, BatchSize::PerIteration);
        });
    }
}

/// What somebody costs who has no token of the cluster.
fn refused(criterion: &mut Criterion) {
    let runtime = runtime();
    let world = runtime.block_on(World::driver_writes());
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let forged = world.cloud.token_with(&world.pod, TokenOptions::audience(AUDIENCE).forged());
    let mount = Mount::new(&world.pod, &secrets(&world, SECRETS), &target).token(AUDIENCE, &forged);
    criterion.bench_function("refusal/forged token", |bencher| {
        bencher.iter(|| runtime.block_on(world.driver.mount(&mount)).expect_err("refused"));
    });
}

/// What of a mount is not the mount: its numbers, its line, and its line in the audit, as they are made for a log.
fn recorded(criterion: &mut Criterion) {
    let lines = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false).with_span_list(false);
    let _log = tracing::subscriber::set_default(lines.with_writer(std::io::sink).finish());
    let (namespace, name, service_account) = ("shop".to_owned(), "web-0".to_owned(), "web".to_owned());
    let pod = ClaimedPod { namespace, name, uid: "5d4c3a0e-8f0b-4a53-9a51-6f3f0d1f0a55".into(), service_account };
    let delivered = |number: usize| Delivered {
        object: format!("arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop/secret-{number}-AbCdEf"),
        version: "0b5a4b1c-5a0b-4b0e-9d55-0a4f6b1f2d3c".into(),
        request_id: "7c2f5b1a-2d3e-4f5a-8b6c-9d0e1f2a3b4c".into(),
        files: vec![format!("shop_secret-{number}")],
    };
    let mut group = criterion.benchmark_group("recording a mount");
    for count in [1, SECRETS] {
        let objects: Vec<Delivered> = (0..count).map(delivered).collect();
        let record = |objects: Vec<Delivered>| {
            let record = MountRecord::start(&pod, "shop-db");
            record.volume("secrets");
            for stage in [Stage::Identity, Stage::Credentials, Stage::Secrets, Stage::Render, Stage::Volume] {
                record.enter(stage);
            }
            record.way(REGION.into(), "irsa");
            record.reads(Arc::new(Reading::new(record.id(), "shop", "web")));
            record.made(count, count, Some(Delivery { objects, templates: Vec::new() }));
            record.finish(Outcome::Changed);
        };
        group.bench_function(format!("{count} secrets, all new"), |bencher| {
            bencher.iter_batched(|| objects.clone(), record, BatchSize::SmallInput);
        });
    }
    group.bench_function("nothing new", |bencher| {
        bencher.iter(|| {
            let record = MountRecord::start(&pod, "shop-db");
            record.is_refresh();
            record.finish(Outcome::Unchanged);
        });
    });
}

/// A class of so many secrets, which are there.
fn secrets(world: &World, count: usize) -> Class {
    let names: Vec<String> = (0..count).map(|number| format!("shop/secret-{number}")).collect();
    for name in &names {
        world.cloud.put_secret(REGION, name, "correct horse battery staple");
    }
    class_of(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}
