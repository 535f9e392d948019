//! A row of a table: what was measured of each contender under one condition, round by round.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::meter::Sample;

pub struct Row {
    pub case: String,
    /// By contender, in the order in which they came.
    samples: Vec<(String, Vec<Sample>)>,
}

impl Row {
    pub fn new(case: impl Into<String>) -> Self {
        Self { case: case.into(), samples: Vec::new() }
    }

    pub fn add(&mut self, contender: &str, sample: Sample) {
        match self.samples.iter_mut().find(|(name, _)| name == contender) {
            Some((_, samples)) => samples.push(sample),
            None => self.samples.push((contender.into(), vec![sample])),
        }
    }

    /// What is shown of each contender.
    pub fn figures(&self) -> impl Iterator<Item = (&str, Sample)> {
        self.samples.iter().map(|(name, samples)| (name.as_str(), typical(samples)))
    }
}

/// Medians; of CPU the mean, because it is counted in coarse steps; of memory the most; of failures all.
fn typical(samples: &[Sample]) -> Sample {
    let seconds =
        |field: fn(&Sample) -> Option<Duration>| samples.iter().filter_map(field).map(|time| time.as_secs_f64());
    let heads: BTreeSet<&String> = samples.iter().flat_map(|sample| sample.counts.keys()).collect();
    let count = |head: &str| median(samples.iter().map(|sample| sample.counts.get(head).copied().unwrap_or_default()));
    Sample {
        time: median(seconds(|sample| sample.time)).map(Duration::from_secs_f64),
        cpu: mean(seconds(|sample| sample.cpu)).map(Duration::from_secs_f64),
        memory: samples.iter().map(|sample| sample.memory).max().unwrap_or_default(),
        counts: heads.into_iter().filter_map(|head| Some((head.clone(), count(head)?))).collect(),
        mounts: samples.iter().map(|sample| sample.mounts).sum(),
        failed: samples.iter().map(|sample| sample.failed).sum(),
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Each in turn, again and again, so that what slows the machine for a while slows all of them.
pub fn turns<T>(contenders: &[T], rounds: usize) -> impl Iterator<Item = &T> {
    std::iter::repeat_n(contenders, rounds).flatten()
}
