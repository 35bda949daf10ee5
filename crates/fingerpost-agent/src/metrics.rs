//! What is asked at each scrape. Names begin with `fingerpost_agent_`.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::FollowedStatus;
use crate::namespaces::Namespaces;
use crate::state::StateFigures;

/// Adds the metrics of an agent to a registry whose prefix is `fingerpost`.
pub(crate) fn register(registry: &mut Registry, agent: &Arc<Namespaces>) {
    registry.register_collector(Box::new(Figured(Arc::downgrade(agent))));
}

struct Figured(Weak<Namespaces>);

impl fmt::Debug for Figured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figured").finish_non_exhaustive()
    }
}

impl Collector for Figured {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(agent) = self.0.upgrade() else {
            return Ok(());
        };
        counters(&agent, &mut encoder)?;
        if let Some(status) = agent.followed_status() {
            followed(&status, &mut encoder)?;
        }
        if let Some(state) = agent.first.spool.state() {
            spool(&state.figures(), &mut encoder)?;
        }
        Ok(())
    }
}

fn counters(agent: &Namespaces, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let figures = &agent.first.figures;
    let counters: [(&str, &str, &AtomicU64); 15] = [
        (
            "requests",
            "Requests that are no lines of a stream",
            &figures.requests,
        ),
        ("lookups", "Tasks that builds looked up", &figures.lookups),
        (
            "lookups_local",
            "Of them, those that needed no server",
            &figures.answered_locally,
        ),
        (
            "lookups_asked",
            "Tasks that the server was asked for",
            &figures.asked,
        ),
        (
            "lookups_given_up",
            "Tasks that it did not answer for in time",
            &figures.given_up,
        ),
        (
            "reports",
            "Reports that the server answered at once",
            &figures.reports,
        ),
        (
            "requests_silent",
            "Requests that it did not answer in time",
            &figures.silent,
        ),
        (
            "requests_refused",
            "Requests that it refused, and no build was told",
            &figures.refused,
        ),
        (
            "reports_unspooled",
            "Reports that could not be kept for the server",
            &figures.unspooled,
        ),
        (
            "reports_not_passed_on",
            "Reports of builds whose profile may not report",
            &figures.readers.reports,
        ),
        (
            "logins_unconfirmed",
            "Logins that succeeded without the server's word",
            &figures.logins,
        ),
        (
            "lookups_snapshot",
            "Of those that needed no server, what the snapshot and its changes answered",
            &figures.by_snapshot,
        ),
        (
            "lookups_store",
            "Of those that needed no server, what answers of before on disk did",
            &figures.by_store,
        ),
        (
            "answers_disbelieved",
            "Answers that nobody signed who is believed",
            &figures.disbelieved,
        ),
        (
            "signatures",
            "Signatures of this host that the server took",
            &figures.signed,
        ),
    ];
    for (name, help, counter) in counters {
        put(
            out,
            name,
            help,
            &ConstCounter::new(counter.load(Ordering::Relaxed)),
        )?;
    }
    let up = |is_up: bool| ConstGauge::new(i64::from(is_up));
    let help = "Whether the server is asked, or left alone because it does not answer";
    put(out, "server_up", help, &up(agent.first.server.answers()))?;
    let help = "Whether reports are brought to it at once";
    put(
        out,
        "server_takes_reports",
        help,
        &up(agent.first.server.takes_reports()),
    )?;
    let help = "Whether a key ring is another file that cannot be read, and that of before counts";
    let failed = agent.first.figures.rings_failed.load(Ordering::Relaxed);
    put(out, "rings_failed", help, &up(failed))?;
    let entries = ConstGauge::new(agent.remembered());
    put(out, "remembered", "Answers in memory", &entries)
}

fn followed(status: &FollowedStatus, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let gauge = |value: u64| ConstGauge::new(value);
    let help = "How long ago the server told all that it deletes";
    if let Some(seconds) = status.current_seconds {
        put(out, "followed_age_seconds", help, &gauge(seconds))?;
    }
    let help = "How long ago the snapshot on this host was cut";
    if let Some(seconds) = status.snapshot_age_seconds {
        put(out, "snapshot_age_seconds", help, &gauge(seconds))?;
    }
    let rows = gauge(status.snapshot_rows);
    put(out, "snapshot_rows", "Rows of the snapshot", &rows)?;
    let bytes = gauge(status.snapshot_bytes);
    put(out, "snapshot_bytes", "Bytes of its shards", &bytes)?;
    let help = "Changes since the snapshot, in memory";
    put(out, "snapshot_changes", help, &gauge(status.changes))
}

fn spool(figures: &StateFigures, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let gauge = |value: u64| ConstGauge::new(value);
    let counter = |value: u64| ConstCounter::new(value);
    let help = "Reports that the server has not seen";
    put(
        out,
        "spooled_reports",
        help,
        &gauge(figures.spooled_reports),
    )?;
    put(
        out,
        "spooled_bytes",
        "What they take",
        &gauge(figures.spooled_bytes),
    )?;
    let age = figures.spooled_age.unwrap_or_default().as_secs();
    put(
        out,
        "spooled_age_seconds",
        "How long the first of them has waited",
        &gauge(age),
    )?;
    let help = "Reports that were brought to the server later";
    put(
        out,
        "spool_delivered",
        help,
        &counter(figures.delivered_total),
    )?;
    let help = "Reports that found the spool full";
    put(
        out,
        "spool_refused",
        help,
        &counter(figures.spool_refused_total),
    )?;
    put(
        out,
        "dead_letters",
        "Reports that became dead letters",
        &counter(figures.dead_total),
    )
}

fn put(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    let (name, help) = (format!("agent_{name}"), format!("{help}."));
    metric.encode(encoder.encode_descriptor(&name, &help, None, metric.metric_type())?)
}
