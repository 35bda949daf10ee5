//! What is asked at each scrape. Names begin with `fingerpost_hashequiv_`.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::cache::UnihashCache;
use crate::upstream::Bounded;

/// The state of the cache, and of the upstream if there is one.
pub(crate) struct Gauges {
    cache: Arc<UnihashCache>,
    upstream: Option<Arc<Bounded>>,
}

impl Gauges {
    pub(crate) const fn new(cache: Arc<UnihashCache>, upstream: Option<Arc<Bounded>>) -> Self {
        Self { cache, upstream }
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let cache = &self.cache;
        let entries = ConstGauge::new(cache.len() as u64);
        let bytes = ConstGauge::new(cache.bytes());
        let limit = ConstGauge::new(cache.bytes_max());
        let evictions = ConstCounter::new(cache.evictions());
        let out = &mut encoder;
        put(out, "cache_entries", "Look-ups remembered now", &entries)?;
        put(out, "cache_bytes", "Memory that they take", &bytes)?;
        put(out, "cache_limit_bytes", "Memory they may take", &limit)?;
        let help = "Look-ups forgotten to make room for others";
        put(out, "cache_evictions", help, &evictions)?;
        if let Some(upstream) = &self.upstream {
            let help = "Whether the upstream is asked, or left alone because it is down";
            let up = ConstGauge::new(i64::from(upstream.is_up()));
            put(out, "upstream_up", help, &up)?;
        }
        Ok(())
    }
}

fn put(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    let name = format!("hashequiv_{name}");
    metric.encode(encoder.encode_descriptor(
        &name,
        &format!("{help}."),
        None,
        metric.metric_type(),
    )?)
}
