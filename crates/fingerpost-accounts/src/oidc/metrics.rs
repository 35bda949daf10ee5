//! What is shown of issuers' keys. Names begin with `fingerpost_accounts_oidc_`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;

use super::Verifier;

/// The keys of each issuer, as they are when it is asked for.
#[derive(Debug)]
pub(super) struct KeysCollector(pub(super) Verifier);

/// One of those that are configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuerLabel {
    issuer: String,
}

impl Collector for KeysCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let age = "Seconds since the keys of an issuer were fetched; since the start, if they never were.";
        let count = "Keys of an issuer that can verify a token now.";
        let all: Vec<_> = self.0.issuers_keys().collect();
        let mut show = |name, help, figure: fn(&(&str, KeysState)) -> i64| {
            let kind = ConstGauge::new(0_i64).metric_type();
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for one in &all {
                let issuer = one.0.to_owned();
                let gauge = ConstGauge::new(figure(one));
                gauge.encode(metric.encode_family(&IssuerLabel { issuer })?)?;
            }
            Ok(())
        };
        show("accounts_oidc_keys_age_seconds", age, |one| {
            one.1.age_seconds
        })?;
        show("accounts_oidc_keys", count, |one| one.1.usable)
    }
}

/// How it is with one issuer's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeysState {
    /// Since they were fetched.
    pub(super) age_seconds: i64,
    /// How many there are.
    pub(super) usable: i64,
}
