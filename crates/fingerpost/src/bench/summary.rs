//! The result of a run, for people and for scripts.

use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::tally::Tally;

/// What the server used.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerCost {
    pub(super) cpu: Duration,
    /// Whether it became idle in the time given; `None` if nobody waited.
    pub(super) settled: Option<bool>,
}

/// The figures of one run. Times in microseconds unless the name says
/// otherwise.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    requests: u64,
    seconds: f64,
    requests_per_second: f64,
    latency_p50_us: f64,
    latency_p99_us: f64,
    latency_p999_us: f64,
    latency_max_us: f64,
    wrong_answers: u64,
    broken_connections: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cpu_us_per_request: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cpu_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_settled: Option<bool>,
}

impl Summary {
    pub(super) fn new(tally: &Tally, elapsed: Duration, server: Option<ServerCost>) -> Self {
        let requests = tally.answers.max(1) as f64;
        let cpu = server.map(|server| server.cpu.as_secs_f64());
        Self {
            requests: tally.answers,
            seconds: elapsed.as_secs_f64(),
            requests_per_second: tally.answers as f64 / elapsed.as_secs_f64().max(1e-9),
            latency_p50_us: tally.quantile_us(0.5),
            latency_p99_us: tally.quantile_us(0.99),
            latency_p999_us: tally.quantile_us(0.999),
            latency_max_us: tally.max_us(),
            wrong_answers: tally.wrong,
            broken_connections: tally.broken,
            problem: tally.problem.clone(),
            server_cpu_us_per_request: cpu.map(|seconds| seconds * 1e6 / requests),
            server_cpu_seconds: cpu,
            server_settled: server.and_then(|server| server.settled),
        }
    }

    /// Whether every answer was right and every connection lasted.
    pub(super) const fn is_clean(&self) -> bool {
        self.requests > 0 && self.wrong_answers == 0 && self.broken_connections == 0
    }

    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if json {
            writeln!(out, "{}", serde_json::to_string(self)?)?;
        } else {
            write!(out, "{}", self.text())?;
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = format!(
            "requests   {} in {:.1} s: {:.0} per second\n\
             latency    p50 {:.0} µs, p99 {:.0} µs, p99.9 {:.0} µs, max {:.0} µs\n\
             errors     {} wrong answers, {} broken connections\n",
            self.requests,
            self.seconds,
            self.requests_per_second,
            self.latency_p50_us,
            self.latency_p99_us,
            self.latency_p999_us,
            self.latency_max_us,
            self.wrong_answers,
            self.broken_connections,
        );
        if let Some(problem) = &self.problem {
            text.push_str(&format!("first      {problem}\n"));
        }
        if let Some(cpu) = self.server_cpu_us_per_request {
            text.push_str(&format!(
                "server     {cpu:.2} µs of processor time per request\n"
            ));
        }
        if self.server_settled == Some(false) {
            text.push_str("server     was still busy when the wait for idleness ended\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_divided_by_requests() {
        let mut tally = Tally::new();
        for _ in 0..4 {
            tally.answered(Duration::from_micros(50));
        }
        let server = ServerCost {
            cpu: Duration::from_micros(20),
            settled: Some(true),
        };
        let summary = Summary::new(&tally, Duration::from_secs(2), Some(server));
        assert_eq!(summary.server_cpu_us_per_request, Some(5.0));
        assert_eq!(summary.requests_per_second, 2.0);
        assert!(summary.is_clean());
        assert!(summary.text().contains("server     5.00 µs"));
    }

    #[test]
    fn a_run_without_answers_is_not_clean() {
        assert!(!Summary::new(&Tally::new(), Duration::from_secs(1), None).is_clean());
    }
}
