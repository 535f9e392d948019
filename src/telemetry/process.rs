//! What the kernel counts of this process, under the names that every dashboard knows:
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};

/// Looked at when somebody asks.
#[derive(Debug)]
pub struct Process;

/// Of `proc_pid_stat(5)`, in seconds and bytes.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu: f64,
    /// Since the node's start.
    started: f64,
    resident: u64,
}

impl Stat {
    /// The name of the program comes second, in parentheses, and may have spaces and parentheses in it.
    fn parse(text: &str, ticks_a_second: u64, page: u64) -> Option<Self> {
        let mut fields = text.rsplit_once(')')?.1.split_whitespace();
        let mut field = |skipped: usize| fields.nth(skipped)?.parse::<u64>().ok();
        // utime and stime are fields 14 and 15, starttime is 22, rss 24; the first after the name is 3.
        let (user, system) = (field(11)?, field(0)?);
        let (started, resident) = (field(6)?, field(1)?);
        let seconds = |ticks: u64| ticks as f64 / ticks_a_second as f64;
        Some(Self {
            cpu: seconds(user.checked_add(system)?),
            started: seconds(started),
            resident: resident.checked_mul(page)?,
        })
    }

    fn of_this_process() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        Self::parse(&text, rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64)
    }
}

/// When the node started, in seconds since 1970, from the text of `proc_stat(5)`.
fn boot_time(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let gauge = |encoder: &mut DescriptorEncoder, name: &str, help: &str, unit: Option<&Unit>, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
        };
        if let Some(stat) = Stat::of_this_process() {
            let cpu = ConstCounter::new(stat.cpu);
            let (name, help) = ("process_cpu", "User and system time of this process.");
            cpu.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Counter)?)?;
            let help = "Memory of this process, with the pages of its program.";
            gauge(&mut encoder, "process_resident_memory", help, Some(&Unit::Bytes), stat.resident as f64)?;
            if let Some(boot) = fs::read_to_string("/proc/stat").ok().as_deref().and_then(boot_time) {
                let help = "When this process started.";
                gauge(&mut encoder, "process_start_time", help, Some(&Unit::Seconds), boot + stat.started)?;
            }
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is the directory that is being read.
            let open = open.count().saturating_sub(1);
            gauge(&mut encoder, "process_open_fds", "File descriptors that are open.", None, open as f64)?;
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            gauge(&mut encoder, "process_max_fds", "File descriptors that may be open.", None, most as f64)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_no_field() {
        let text = "42 (a) b (c)) S 1 1 1 0 -1 4194560 10 0 0 0 250 50 0 0 20 0 7 0 1000 9999 3 18446744073709551615";
        assert_eq!(Stat::parse(text, 100, 4096), Some(Stat { cpu: 3.0, started: 10.0, resident: 12_288 }));
        assert_eq!(Stat::parse("42 (a) S 1", 100, 4096), None);
        assert_eq!(Stat::parse("", 100, 4096), None);
    }

    #[test]
    fn this_process_has_numbers() {
        let stat = Stat::of_this_process().expect("Linux");
        assert!(stat.resident > 0 && stat.started > 0.0);
        assert_eq!(boot_time("cpu 1\nbtime 1700000000\n"), Some(1_700_000_000.0));
    }
}
