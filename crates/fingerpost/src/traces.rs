//! Traces for OpenTelemetry, in programs that were built with them.

#[cfg(not(feature = "otlp"))]
mod absent;
#[cfg(feature = "otlp")]
mod live;

#[cfg(not(feature = "otlp"))]
pub(crate) use absent::{Traces, around};
#[cfg(feature = "otlp")]
pub(crate) use live::{Traces, around};
