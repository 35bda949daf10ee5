//! Whether the server can do its work, for `/readyz` and as a number.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::Shutdown;
use crate::http::Readiness;

/// What the service says of itself, unless the server is stopping.
#[derive(Clone)]
pub(crate) struct Ready {
    pub(crate) readiness: Readiness,
    pub(crate) shutdown: Shutdown,
}

impl Ready {
    /// `Ok` may hold a sentence about what does not work, `Err` holds one why not.
    pub(crate) fn state(&self) -> Result<Option<String>, String> {
        if self.shutdown.is_stopping() {
            return Err("the server is shutting down".to_owned());
        }
        (self.readiness)()
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

impl Collector for Ready {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let ready = ConstGauge::new(i64::from(self.state().is_ok()));
        let help = "Whether the server can do its work, as /readyz says.";
        ready.encode(encoder.encode_descriptor("ready", help, None, ready.metric_type())?)
    }
}
