//! A table in Markdown, which can also be read as it is.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::meter::Sample;
use crate::row::Row;

#[derive(Default)]
pub struct Table {
    pub rows: Vec<Row>,
    /// Lines below it.
    pub remarks: Vec<String>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<Line> = self.rows.iter().flat_map(Line::of).collect();
        let columns = columns(&lines);
        let row = |f: &mut fmt::Formatter<'_>, cell: &dyn Fn(&Column) -> String| {
            columns.iter().try_for_each(|column| f.write_str(&cell(column)))?;
            f.write_str("|\n")
        };
        row(f, &|column| column.padded(&column.head))?;
        row(f, &Column::rule)?;
        for line in 0..lines.len() {
            row(f, &|column| column.padded(&column.cells[line]))?;
        }
        if !self.remarks.is_empty() {
            write!(f, "\n{}\n", self.remarks.join("\n"))?;
        }
        Ok(())
    }
}

/// What one contender did, and what the first of the row did, against which it is held.
struct Line<'a> {
    case: &'a str,
    name: String,
    sample: Sample,
    /// Of the others.
    first: Option<Sample>,
}

impl<'a> Line<'a> {
    fn of(row: &'a Row) -> Vec<Self> {
        let mut first = None;
        let line = |(name, sample): (&str, Sample)| {
            let case = if first.is_none() { row.case.as_str() } else { "" };
            let line = Self { case, name: name.to_owned(), sample: sample.clone(), first: first.clone() };
            first.get_or_insert(sample);
            line
        };
        row.figures().map(line).collect()
    }

    fn failed(&self) -> String {
        match self.sample.mounts {
            0 => String::new(),
            mounts => format!("{} of {mounts}", self.sample.failed),
        }
    }

    /// How many times what the first has.
    fn times(&self, of: impl Fn(&Sample) -> Option<f64>) -> String {
        let first = self.first.as_ref().and_then(&of).filter(|&first| first > 0.0);
        match (of(&self.sample), first) {
            (Some(value), Some(first)) if value < 10.0 * first => format!("{:.2}", value / first),
            (Some(value), Some(first)) => format!("{:.0}", value / first),
            _ => String::new(),
        }
    }
}

struct Column {
    head: String,
    is_text: bool,
    cells: Vec<String>,
}

/// All that have anything in them.
fn columns(lines: &[Line]) -> Vec<Column> {
    let column = |head: &str, is_text, cell: &dyn Fn(&Line) -> String| Column {
        head: head.into(),
        is_text,
        cells: lines.iter().map(cell).collect(),
    };
    let seconds = |time: Option<Duration>| Some(time?.as_secs_f64());
    let mut columns = vec![
        column("", true, &|line| line.case.to_owned()),
        column("provider", true, &|line| line.name.clone()),
        column("time", false, &|line| milliseconds(line.sample.time)),
        column("× time", false, &|line| line.times(|sample| seconds(sample.time))),
        column("CPU", false, &|line| milliseconds(line.sample.cpu)),
        column("× CPU", false, &|line| line.times(|sample| seconds(sample.cpu))),
        column("memory", false, &|line| format!("{:.1} MiB", mebibytes(&line.sample))),
        column("× memory", false, &|line| line.times(|sample| Some(mebibytes(sample)))),
        column("failed", false, &|line| line.failed()),
    ];
    let counted: BTreeSet<&String> = lines.iter().flat_map(|line| line.sample.counts.keys()).collect();
    for head in counted {
        columns
            .push(column(head, false, &|line| line.sample.counts.get(head).copied().map_or_else(String::new, number)));
    }
    columns.retain(|column| column.cells.iter().any(|cell| !cell.is_empty()));
    columns
}

impl Column {
    fn width(&self) -> usize {
        self.cells.iter().chain([&self.head]).map(|text| text.chars().count()).max().unwrap_or_default()
    }

    fn padded(&self, text: &str) -> String {
        let width = self.width();
        match self.is_text {
            true => format!("| {text:<width$} "),
            false => format!("| {text:>width$} "),
        }
    }

    fn rule(&self) -> String {
        let dashes = "-".repeat(self.width() + 1);
        format!("|{dashes}{}", if self.is_text { '-' } else { ':' })
    }
}

fn milliseconds(time: Option<Duration>) -> String {
    match time.map(|time| time.as_secs_f64() * 1000.0) {
        None => String::new(),
        Some(time) if time < 10.0 => format!("{time:.2} ms"),
        Some(time) if time < 100.0 => format!("{time:.1} ms"),
        Some(time) => format!("{time:.0} ms"),
    }
}

fn mebibytes(sample: &Sample) -> f64 {
    sample.memory as f64 / 1024.0
}

/// Whole numbers as such.
fn number(count: f64) -> String {
    if count.fract() == 0.0 { format!("{count:.0}") } else { format!("{count:.1}") }
}
