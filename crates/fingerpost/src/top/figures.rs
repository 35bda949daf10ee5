//! What two pages of metrics say together.

mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use fingerpost_core::Timestamp;
use serde_json::{Value, json};

use self::writes::Writes;
use crate::scrape::{self, Sample};

/// A page and when it was read.
pub(super) struct Scrape {
    at: Instant,
    /// The same on the clock that servers show their start on.
    now: Timestamp,
    samples: BTreeMap<String, Vec<Sample>>,
}

/// Rates are per second, times in seconds. What the server does not show is
/// missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) version: String,
    pub(super) ready: Option<bool>,
    pub(super) up_seconds: Option<f64>,
    pub(super) lookups: f64,
    /// Part of the look-ups that were answered with a unihash.
    pub(super) known: Option<f64>,
    /// Part of them that memory answered.
    pub(super) from_memory: Option<f64>,
    pub(super) lookup: Latency,
    pub(super) reports: f64,
    pub(super) report: Latency,
    pub(super) connections: f64,
    pub(super) connections_limit: f64,
    pub(super) refused: f64,
    pub(super) failed: f64,
    pub(super) cache_bytes: f64,
    pub(super) cache_limit_bytes: f64,
    pub(super) commits: f64,
    pub(super) commit: Latency,
    /// Mean writes in a group.
    pub(super) group: Option<f64>,
    pub(super) write_queue: f64,
    /// Whether PostgreSQL answers; a file has no such figure.
    pub(super) database_up: Option<bool>,
    pub(super) upstream_up: Option<bool>,
    pub(super) processor: f64,
    pub(super) memory_bytes: f64,
    pub(super) commands: Vec<Command>,
}

/// A median and the time that one in a hundred took longer than, as far as the
/// buckets tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Latency {
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

/// What happened with one command, of a stream with its batches.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Command {
    /// With `hg` in front if it is one of Mercurial.
    pub(super) name: String,
    pub(super) rate: f64,
    pub(super) failed: f64,
    pub(super) latency: Latency,
}

impl Scrape {
    pub(super) fn new(page: &str, at: Instant, now: Timestamp) -> Self {
        let mut samples = BTreeMap::<_, Vec<_>>::new();
        for sample in scrape::parse(page) {
            samples.entry(sample.name.clone()).or_default().push(sample);
        }
        Self { at, now, samples }
    }

    /// Whether an agent said this, which has none of a server's figures.
    pub(super) fn is_of_agent(&self) -> bool {
        let mut names = self.samples.keys();
        names.any(|name| name.starts_with("fingerpost_agent_"))
    }

    fn of(&self, name: &str) -> &[Sample] {
        self.samples.get(name).map_or(&[], Vec::as_slice)
    }

    /// The sum over all labels, if there is such a metric.
    fn value(&self, name: &str) -> Option<f64> {
        let samples = self.of(name);
        (!samples.is_empty()).then(|| samples.iter().map(|it| it.value).sum())
    }

    fn sum(&self, name: &str, fits: &dyn Fn(&Sample) -> bool) -> f64 {
        let samples = self.of(name).iter();
        samples.filter(|it| fits(it)).map(|it| it.value).sum()
    }
}

fn has(sample: &Sample, label: &str, values: &[&str]) -> bool {
    let mut labels = sample.labels.iter();
    labels.any(|(name, value)| name == label && values.contains(&value.as_str()))
}

/// Two looks at one server.
struct Between<'a> {
    before: &'a Scrape,
    now: &'a Scrape,
    seconds: f64,
}

impl Between<'_> {
    /// By how much a counter grew. A server that was started anew counts from 0.
    fn growth(&self, name: &str, fits: &dyn Fn(&Sample) -> bool) -> f64 {
        let (before, now) = (self.before.sum(name, fits), self.now.sum(name, fits));
        if now < before { now } else { now - before }
    }

    fn rate(&self, name: &str) -> f64 {
        self.growth(name, &|_| true) / self.seconds
    }

    fn latency(&self, family: &str, fits: &dyn Fn(&Sample) -> bool) -> Latency {
        let name = format!("{family}_bucket");
        let mut buckets = BTreeMap::<u64, (f64, f64)>::new();
        for sample in self.now.of(&name).iter().filter(|it| fits(it)) {
            let bound = sample.labels.iter().find(|(label, _)| label == "le");
            let bound = bound.and_then(|(_, le)| le.parse::<f64>().ok());
            if let Some(bound) = bound.filter(|bound| *bound >= 0.0) {
                // Bits of positive floats are in the order of the floats.
                buckets.entry(bound.to_bits()).or_insert((bound, 0.0)).1 += sample.value;
            }
        }
        for (bound, count) in buckets.values_mut() {
            let same = |it: &Sample| {
                let le = it.labels.iter().find(|(label, _)| label == "le");
                fits(it) && le.and_then(|(_, le)| le.parse().ok()) == Some(*bound)
            };
            let before = self.before.sum(&name, &same);
            if before <= *count {
                *count -= before;
            }
        }
        let buckets: Vec<_> = buckets.into_values().collect();
        Latency {
            p50: quantile(&buckets, 0.5),
            p99: quantile(&buckets, 0.99),
        }
    }

    fn commands(&self) -> Vec<Command> {
        let (native, mercurial) = (
            "fingerpost_hashequiv_requests_total",
            "fingerpost_hg_commands_total",
        );
        let mut found = Vec::new();
        for (name, prefix) in [(native, ""), (mercurial, "hg ")] {
            let labels = self.now.of(name).iter().flat_map(|it| &it.labels);
            let commands: BTreeSet<_> = labels
                .filter(|(label, _)| label == "command")
                .map(|(_, command)| command.as_str())
                .collect();
            for command in commands {
                let is_it = |it: &Sample| has(it, "command", &[command]);
                let family = "fingerpost_hashequiv_request_duration_seconds";
                let batches = self.growth(&format!("{family}_count"), &is_it);
                let requests = self.growth(name, &is_it);
                let failed = self.growth(name, &|it| is_it(it) && has(it, "outcome", &["failed"]));
                let is_native = prefix.is_empty();
                let count = if is_native {
                    requests.max(batches)
                } else {
                    requests
                };
                if count > 0.0 {
                    found.push(Command {
                        name: format!("{prefix}{command}"),
                        rate: count / self.seconds,
                        failed: failed / self.seconds,
                        latency: match is_native {
                            true => self.latency(family, &is_it),
                            false => Latency::default(),
                        },
                    });
                }
            }
        }
        found.sort_by(|one, other| other.rate.total_cmp(&one.rate));
        found
    }
}

/// As Prometheus does it: within a bucket values count as evenly spread. `None`
/// without values; those above all bounds count as the highest bound.
fn quantile(buckets: &[(f64, f64)], part: f64) -> Option<f64> {
    let total = buckets.last()?.1;
    if total <= 0.0 {
        return None;
    }
    let rank = part * total;
    let place = buckets.iter().position(|(_, count)| *count >= rank)?;
    let (bound, count) = buckets[place];
    let (below, counted) = match place.checked_sub(1) {
        Some(before) => buckets[before],
        None => (0.0, 0.0),
    };
    if bound.is_infinite() {
        return Some(below);
    }
    Some(below + (bound - below) * (rank - counted) / (count - counted))
}

fn part(some: f64, rest: f64) -> Option<f64> {
    (some + rest > 0.0).then(|| some / (some + rest))
}

impl Figures {
    /// What happened between two looks, and how things stand at the second.
    pub(super) fn between(before: &Scrape, now: &Scrape) -> Self {
        let seconds = (now.at - before.at).as_secs_f64().max(1e-3);
        let both = Between {
            before,
            now,
            seconds,
        };
        let hashequiv = |name: &str| format!("fingerpost_hashequiv_{name}");
        let rate = |name: &str| both.rate(&hashequiv(name));
        let gauge = |name: &str| now.value(name).unwrap_or_default();
        let (known, unknown) = (
            rate("unihashes_found_total"),
            rate("unihashes_unknown_total"),
        );
        let (hits, misses) = (rate("cache_hits_total"), rate("cache_misses_total"));
        let durations = hashequiv("request_duration_seconds");
        let of = |commands: &'static [&str]| {
            both.latency(&durations, &|it| has(it, "command", commands))
        };
        let writes = Writes::between(&both);
        let build = now.of("fingerpost_build_info").first();
        let version = build.and_then(|it| it.labels.first());
        let started = now.value("fingerpost_process_start_time_seconds");
        let failed = |it: &Sample| has(it, "outcome", &["failed"]);
        Self {
            version: version
                .map(|(_, version)| version.clone())
                .unwrap_or_default(),
            ready: now.value("fingerpost_ready").map(|it| it > 0.0),
            up_seconds: started.map(|started| (now.now.0 as f64 / 1e6 - started).max(0.0)),
            lookups: known + unknown,
            known: part(known, unknown),
            from_memory: part(hits, misses),
            lookup: of(&["get", "get-stream"]),
            reports: rate("reports_total"),
            report: of(&["report", "report-equiv"]),
            connections: gauge("fingerpost_connections_open"),
            connections_limit: gauge("fingerpost_connections_limit"),
            refused: both.rate("fingerpost_refused_total"),
            failed: (both.growth(&hashequiv("requests_total"), &failed)
                + both.growth("fingerpost_hg_commands_total", &failed))
                / seconds,
            cache_bytes: gauge(&hashequiv("cache_bytes")),
            cache_limit_bytes: gauge(&hashequiv("cache_limit_bytes")),
            commits: writes.commits,
            commit: writes.commit,
            group: writes.group,
            write_queue: writes.waiting,
            database_up: now.value("fingerpost_postgresql_up").map(|it| it > 0.0),
            upstream_up: now.value(&hashequiv("upstream_up")).map(|it| it > 0.0),
            processor: both.rate("fingerpost_process_cpu_seconds_total"),
            memory_bytes: gauge("fingerpost_process_resident_memory_bytes"),
            commands: both.commands(),
        }
    }

    /// For programs; names end with their unit.
    pub(super) fn to_json(&self) -> Value {
        let latency = |it: Latency| json!({"p50_seconds": it.p50, "p99_seconds": it.p99});
        let commands = self.commands.iter().map(|it| {
            json!({
                "command": it.name, "per_second": it.rate, "failed_per_second": it.failed,
                "latency": latency(it.latency),
            })
        });
        json!({
            "version": self.version, "ready": self.ready, "up_seconds": self.up_seconds,
            "lookups_per_second": self.lookups, "known_ratio": self.known,
            "memory_ratio": self.from_memory, "lookup": latency(self.lookup),
            "reports_per_second": self.reports, "report": latency(self.report),
            "connections": self.connections, "connections_limit": self.connections_limit,
            "refused_per_second": self.refused, "failed_per_second": self.failed,
            "cache_bytes": self.cache_bytes, "cache_limit_bytes": self.cache_limit_bytes,
            "commits_per_second": self.commits, "commit": latency(self.commit),
            "group_jobs": self.group, "write_queue": self.write_queue,
            "database_up": self.database_up,
            "upstream_up": self.upstream_up, "processor_cores": self.processor,
            "memory_bytes": self.memory_bytes, "commands": commands.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BEFORE: &str = "\
fingerpost_build_info{version=\"1.2.3\"} 1
fingerpost_ready 1
fingerpost_hashequiv_unihashes_found_total 100
fingerpost_hashequiv_unihashes_unknown_total 50
fingerpost_hashequiv_cache_hits_total 1000
fingerpost_hashequiv_requests_total{command=\"report\",outcome=\"ok\"} 10
fingerpost_hashequiv_requests_total{command=\"report\",outcome=\"failed\"} 0
fingerpost_hashequiv_request_duration_seconds_count{command=\"report\"} 10
fingerpost_hashequiv_request_duration_seconds_bucket{le=\"0.5\",command=\"report\"} 10
fingerpost_hashequiv_request_duration_seconds_bucket{le=\"1.0\",command=\"report\"} 10
fingerpost_hashequiv_request_duration_seconds_bucket{le=\"+Inf\",command=\"report\"} 10
";
    const NOW: &str = "\
fingerpost_build_info{version=\"1.2.3\"} 1
fingerpost_ready 1
fingerpost_process_start_time_seconds 20.5
fingerpost_hashequiv_unihashes_found_total 130
fingerpost_hashequiv_unihashes_unknown_total 60
fingerpost_hashequiv_cache_hits_total 8
fingerpost_hashequiv_cache_misses_total 8
fingerpost_hashequiv_requests_total{command=\"get\",outcome=\"ok\"} 0
fingerpost_hashequiv_requests_total{command=\"report\",outcome=\"ok\"} 18
fingerpost_hashequiv_requests_total{command=\"report\",outcome=\"failed\"} 2
fingerpost_hashequiv_request_duration_seconds_count{command=\"report\"} 20
fingerpost_hashequiv_request_duration_seconds_bucket{le=\"0.5\",command=\"report\"} 15
fingerpost_hashequiv_request_duration_seconds_bucket{le=\"1.0\",command=\"report\"} 20
fingerpost_hashequiv_request_duration_seconds_bucket{le=\"+Inf\",command=\"report\"} 20
fingerpost_hg_commands_total{command=\"heads\",outcome=\"ok\"} 4
";

    fn figures() -> Figures {
        let start = Instant::now();
        let before = Scrape::new(BEFORE, start, Timestamp(0));
        let now = Scrape::new(NOW, start + Duration::from_secs(2), Timestamp(60_000_000));
        Figures::between(&before, &now)
    }

    #[test]
    fn rates_and_parts_are_those_between_the_two_looks() {
        let figures = figures();
        assert_eq!(
            (figures.version.as_str(), figures.ready),
            ("1.2.3", Some(true))
        );
        assert_eq!((figures.lookups, figures.known), (20.0, Some(0.75)));
        assert_eq!((figures.failed, figures.up_seconds), (1.0, Some(39.5)));
        assert_eq!(figures.lookup, Latency::default());
        assert_eq!((figures.upstream_up, figures.group), (None, None));
        // Started anew, this one counts from 0.
        assert_eq!(figures.from_memory, Some(0.5));
    }

    #[test]
    fn writes_are_those_of_postgresql_where_it_is() {
        let page = |done: u32, reports: u32| {
            let labels = "database=\"primary\",work=\"report\"";
            format!(
                "fingerpost_postgresql_up 0\n\
                 fingerpost_postgresql_connections_waited_for{{database=\"primary\"}} 3\n\
                 fingerpost_postgresql_jobs_total{{{labels},outcome=\"done\"}} {done}\n\
                 fingerpost_postgresql_jobs_total{{{labels},outcome=\"failed\"}} 7\n\
                 fingerpost_postgresql_jobs_total{{work=\"look_up\",outcome=\"done\"}} {reports}\n\
                 fingerpost_hashequiv_reports_total {reports}\n"
            )
        };
        let start = Instant::now();
        let before = Scrape::new(&page(1, 10), start, Timestamp(0));
        let now = Scrape::new(&page(3, 40), start + Duration::from_secs(2), Timestamp(0));
        let figures = Figures::between(&before, &now);
        assert_eq!((figures.commits, figures.group), (1.0, Some(15.0)));
        assert_eq!(
            (figures.write_queue, figures.database_up),
            (3.0, Some(false))
        );
    }

    #[test]
    fn commands_that_were_asked_are_there_the_busiest_first() {
        let figures = figures();
        let report = Latency {
            p50: Some(0.5),
            p99: Some(0.99),
        };
        let named: Vec<_> = figures
            .commands
            .iter()
            .map(|it| (it.name.as_str(), it.rate, it.failed, it.latency))
            .collect();
        assert_eq!(
            named,
            [
                ("report", 5.0, 1.0, report),
                ("hg heads", 2.0, 0.0, Latency::default())
            ]
        );
        assert_eq!(figures.report, report);
        let json = figures.to_json();
        assert_eq!(json["commands"][0]["latency"]["p99_seconds"], 0.99);
        assert_eq!(json["memory_ratio"], 0.5);
    }

    #[test]
    fn quantiles_are_prometheus_ones() {
        let inf = f64::INFINITY;
        let check = |buckets: &[(f64, f64)], part, expected| {
            assert_eq!(quantile(buckets, part), expected, "{buckets:?} {part}");
        };
        check(&[], 0.5, None);
        check(&[(1.0, 0.0), (inf, 0.0)], 0.5, None);
        check(&[(1.0, 4.0), (2.0, 4.0), (inf, 4.0)], 0.5, Some(0.5));
        check(&[(1.0, 0.0), (2.0, 4.0), (inf, 4.0)], 0.5, Some(1.5));
        check(&[(1.0, 0.0), (2.0, 0.0), (inf, 4.0)], 0.5, Some(2.0));
        check(&[(inf, 4.0)], 0.5, Some(0.0));
    }
}
