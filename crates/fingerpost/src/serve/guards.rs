//! Limits of requests and the audit log, as configured.

use std::sync::Arc;

use fingerpost_core::SystemClock;
use fingerpost_net::audit::{Audit, AuditOptions};
use fingerpost_net::{Admission, AdmissionOptions, Guards, Rates};

use super::service::size;
use crate::config::Config;
use crate::exit::{Exit, OrExit};

/// What stands between the doors and the service.
pub(super) fn guards(config: &Config) -> anyhow::Result<Guards> {
    Ok(Guards {
        admission: Arc::new(Admission::new(admission_options(config))),
        audit: audit(config)?,
    })
}

fn admission_options(config: &Config) -> AdmissionOptions {
    let rates = &config.rates;
    let pair = |per_address, per_user| Rates {
        per_address: number(per_address),
        per_user: number(per_user),
    };
    AdmissionOptions {
        cheap: pair(rates.cheap_per_address, rates.cheap_per_user),
        reports: pair(rates.reports_per_address, rates.reports_per_user),
        dear: pair(rates.dear_per_address, rates.dear_per_user),
        burst_seconds: number(rates.burst_seconds),
        reports_at_once: size(rates.reports_at_once),
        dear_at_once: size(rates.dear_at_once),
        ..AdmissionOptions::default()
    }
}

/// A rate as configured.
pub(super) fn number(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn audit(config: &Config) -> anyhow::Result<Audit> {
    let Some(file) = &config.audit.file else {
        return Ok(Audit::default());
    };
    let options = AuditOptions {
        file: file.clone(),
        reports: config.audit.reports,
    };
    let started = Audit::start(&options, Arc::new(SystemClock));
    let why = format!("cannot write the audit log {}", file.display());
    started.or_exit(Exit::Io, &why)
}
