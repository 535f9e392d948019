//! The status for people: a headline, a table, and a line for each other thing.

use std::fmt::Write as _;

use super::{CacheStatus, Caches, Status, VolumeStatus, VolumeWord, Writer};
use crate::reason::visible;

const COLUMNS: [&str; 7] = ["NAMESPACE", "POD", "CLASS", "FILES", "LAST OK", "NEXT", "STATE"];

impl Status {
    /// As `secretmount status` shows it.
    pub fn text(&self) -> String {
        let mut text = self.headline();
        text.push('\n');
        table(&mut text, &self.volumes);
        self.names(&mut text);
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<9}{}", visible(&value));
        };
        if let Some(waiting_for) = &self.waiting_for {
            line("waiting", waiting_for.clone());
        }
        for socket in &self.sockets {
            line(
                "socket",
                match &socket.problem {
                    None => format!("{} serving", socket.path),
                    Some(problem) => format!("{} NOT SERVING: {problem}", socket.path),
                },
            );
        }
        if self.sockets.is_empty() {
            line("socket", "none: no directory of --provider-volume was there at the start".into());
        }
        line("caches", self.caches_and_keys());
        line("kernel", {
            let kernel = &self.kernel;
            let yes = |yes: bool| if yes { "yes" } else { "no" };
            format!(
                "{} · openat2 {} · Landlock {} · unique mount ids {}",
                kernel.release,
                yes(kernel.openat2),
                kernel.landlock,
                yes(kernel.unique_mount_ids)
            )
        });
        line(
            "writing",
            match self.provider.writer {
                Writer::Provider => "by the provider".into(),
                Writer::Driver => "by the driver, so nobody here knows which pods have gone".into(),
            },
        );
        for warning in &self.warnings {
            line("warning", warning.clone());
        }
        text
    }

    fn headline(&self) -> String {
        let about = &self.provider;
        let mut parts = vec![format!("secretmount {}", about.version)];
        parts.extend(about.node.as_ref().map(|node| format!("node {node}")));
        parts.push(format!("up {}", short(about.up_seconds)));
        let serving: Vec<&str> =
            self.sockets.iter().filter(|socket| socket.serving).map(|socket| socket.path.as_str()).collect();
        parts.push(match serving.as_slice() {
            [] => "NOT SERVING".into(),
            paths => format!("serving {}", paths.join(", ")),
        });
        let (all, failing) = (self.volumes.len(), self.failing());
        let volumes = format!("{all} {}", if all == 1 { "volume" } else { "volumes" });
        parts.push(if failing > 0 { format!("{volumes}, {failing} failing") } else { volumes });
        visible(&parts.join(" · "))
    }

    fn caches_and_keys(&self) -> String {
        let Caches { secrets, credentials, tokens } = &self.caches;
        let CacheStatus { entries, bytes, lookups, hits } = secrets;
        let mut text = format!("secrets {entries} ({}", size(*bytes));
        if let Some(percent) = (hits * 100).checked_div(*lookups) {
            let _ = write!(text, ", {percent} % hits");
        }
        let _ = write!(text, ") · credentials {} · tokens {}", credentials.entries, tokens.entries);
        if let Some(keys) = &self.keys {
            let _ = write!(text, " · keys {} (age {})", keys.count, short(keys.age_seconds));
        }
        text
    }

    /// What is only there where names were asked for.
    fn names(&self, text: &mut String) {
        for volume in &self.volumes {
            let message = volume.failure.as_ref().and_then(|failure| failure.message.as_ref());
            if message.is_none() && volume.versions.is_none() {
                continue;
            }
            let VolumeStatus { namespace, pod, volume: name, class, .. } = volume;
            let _ = writeln!(text, "{}", visible(&format!("{namespace}/{pod} volume {name}, class {class}")));
            if let Some(message) = message {
                let _ = writeln!(text, "  failing: {}", visible(message));
            }
            let versions = volume.versions.as_ref();
            for (path, version) in versions.into_iter().flatten() {
                let _ = writeln!(text, "  {} {}", visible(path), visible(version));
            }
            if versions.is_some_and(|versions| versions.len() < volume.files) {
                let _ = writeln!(text, "  and more: {} files in all", volume.files);
            }
        }
    }
}

fn table(text: &mut String, volumes: &[VolumeStatus]) {
    if volumes.is_empty() {
        return;
    }
    let rows: Vec<[String; 7]> = std::iter::once(COLUMNS.map(str::to_owned)).chain(volumes.iter().map(row)).collect();
    let widths: [usize; 7] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

fn row(volume: &VolumeStatus) -> [String; 7] {
    let last = volume.last_success_age_seconds.map_or("never".into(), |age| format!("{} ago", short(age)));
    let next = match volume.next_call_in_seconds {
        None => "-".into(),
        Some(left) if left < 0 => format!("overdue {}", short(left.unsigned_abs())),
        Some(left) => short(left.unsigned_abs()),
    };
    let state = match (&volume.failure, volume.state) {
        (Some(failure), _) if failure.times == 1 => format!("failing {} (once)", failure.reason),
        (Some(failure), _) => format!("failing {} ({} times)", failure.reason, failure.times),
        (None, VolumeWord::Mounting) => "mounting".into(),
        (None, _) => "current".into(),
    };
    let cell = |text: &str| visible(text);
    [
        cell(&volume.namespace),
        cell(&volume.pod),
        cell(&volume.class),
        volume.files.to_string(),
        last,
        next,
        cell(&state),
    ]
}

/// The two largest units of a time: `41s`, `4m55s`, `6d4h`.
fn short(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    let mut left = seconds;
    let mut text = String::new();
    for (unit, letter) in UNITS.iter().skip(first).take(2) {
        let count = left / unit;
        left %= unit;
        if count > 0 || text.is_empty() {
            let _ = write!(text, "{count}{letter}");
        }
    }
    text
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes.div_ceil(1_024)),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
