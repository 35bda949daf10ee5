//! Workload tokens: a CI system says who a job is, and rules say what it may.
//!
//! [`Verifier`] takes the token of a job, a JWT that the CI system signed, and
//! yields a [`Workload`]. It trusts issuers by their exact URL, and of each the
//! keys only that a [`KeySource`] gives, [`HttpKeys`] as a rule. Nothing in a
//! token says where a key is. Rules see claims after everything else was checked.

mod algorithm;
mod cache;
mod claims;
mod fetch;
mod json;
mod jws;
mod keys;
mod metrics;
mod refusal;
mod rules;
mod settings;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod verifier;

pub use self::algorithm::Algorithm;
pub use self::fetch::{HttpKeys, HttpKeysOptions};
pub use self::keys::{FetchError, KEYS_BYTES_MAX, KeySet, KeySource};
pub use self::refusal::Refusal;
pub use self::settings::{BadIssuer, Issuer, IssuerSettings, RuleSettings};
pub use self::verifier::{Verifier, Workload};
