//! What the operating system knows about this process, for `/metrics`.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::param::{clock_ticks_per_second, page_size};

use crate::limit::open_files_limit;

/// Reads `/proc/self` at each scrape. What cannot be read is left out.
#[derive(Debug)]
pub(crate) struct ProcessCollector {
    start_seconds: Option<f64>,
}

impl ProcessCollector {
    pub(crate) fn new() -> Self {
        Self {
            start_seconds: start_seconds(),
        }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(seconds) = cpu_seconds() {
            let help = "Processor time in user and system mode, in seconds";
            counter(&mut encoder, "process_cpu_seconds", help, seconds)?;
        }
        if let Some(bytes) = resident_bytes() {
            let help = "Memory that is resident, in bytes";
            gauge(&mut encoder, "process_resident_memory_bytes", help, bytes)?;
        }
        if let Some(open) = open_files() {
            gauge(
                &mut encoder,
                "process_open_fds",
                "Open file descriptors",
                open,
            )?;
        }
        let most = "Open file descriptors that are allowed";
        let limit = open_files_limit() as f64;
        gauge(&mut encoder, "process_max_fds", most, limit)?;
        if let Some(start) = self.start_seconds {
            let help = "When the process started, in seconds since 1970";
            gauge(&mut encoder, "process_start_time_seconds", help, start)?;
        }
        Ok(())
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    let metric = ConstCounter::new(value);
    metric.encode(encoder.encode_descriptor(
        name,
        &format!("{help}."),
        None,
        metric.metric_type(),
    )?)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    let metric = ConstGauge::new(value);
    metric.encode(encoder.encode_descriptor(
        name,
        &format!("{help}."),
        None,
        metric.metric_type(),
    )?)
}

/// Field `number` of `/proc/self/stat`, counted from 1 as in `proc(5)`.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    // The second field, the command in brackets, may hold blanks and brackets.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split_ascii_whitespace()
        .nth(number.checked_sub(3)?)?
        .parse()
        .ok()
}

fn ticks_per_second() -> f64 {
    clock_ticks_per_second() as f64
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    Some((stat_field(&stat, 14)? + stat_field(&stat, 15)?) / ticks_per_second())
}

fn resident_bytes() -> Option<f64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_size() as f64)
}

fn open_files() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

fn start_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let since_boot = stat_field(&stat, 22)? / ticks_per_second();
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot = system
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<f64>().ok()? + since_boot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_blanks_and_brackets_shifts_no_field() {
        let stat = "7 (a b) (c) S 4 5 6";
        assert_eq!(stat_field(stat, 4), Some(4.0));
        assert_eq!(stat_field(stat, 7), None);
    }

    #[test]
    fn this_process_has_all_of_it() {
        assert!(cpu_seconds().is_some());
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1e5));
        assert!(open_files().is_some_and(|open| open >= 1.0));
        assert!(start_seconds().is_some_and(|start| start > 1e9));
    }
}
