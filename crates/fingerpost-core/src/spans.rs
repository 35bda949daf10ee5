//! Spans of requests, which are for traces alone.

/// The target of spans of requests. Log lines name what they are about in fields of
/// their own; these spans are only made where something collects traces, and cost a
/// look at a flag elsewhere.
pub const SPANS: &str = "fingerpost::spans";
