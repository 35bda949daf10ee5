//! Mercurial repositories of the server, as configured.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use fingerpost_accounts::Logins;
use fingerpost_core::{Clock, SystemClock};
use fingerpost_hg::pushkey::PushkeyProgram;
use fingerpost_hg::site::Catalogue;
use fingerpost_hg::{Limits, Mercurial, MercurialOptions};
use fingerpost_hg_front::{FrontOptions, HgFront};
use fingerpost_net::{Guards, Metrics};

use super::cache::Answers;
use super::service::{MIB, size};
use crate::config::{Config, Hg, Sources};
use crate::exit::{Exit, OrExit};

/// What answers for the configured repositories; `None` if there are none. Answers
/// are remembered in `answers`.
pub(super) fn front(
    config: &Config,
    logins: Logins,
    guards: &Guards,
    answers: Option<&Answers>,
    metrics: &Metrics,
) -> anyhow::Result<Option<Router>> {
    let hg = &config.hg;
    if !hg.is_used() {
        return Ok(None);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let environment: BTreeMap<_, _> = Sources::process_environment().into_iter().collect();
    let catalogue = Catalogue::open(hg.site(environment), clock.now())
        .or_exit(Exit::Configuration, "The repositories cannot be served")?;
    tell_what_is_refused(&catalogue, &*clock);
    let mut options = mercurial_options(hg);
    if config.server.read_only {
        options.pushkey = None;
    }
    let mercurial = Mercurial::new(options, Arc::clone(&clock));
    let front = HgFront::new(
        Arc::new(catalogue),
        Arc::new(mercurial),
        Some(logins),
        clock,
        front_options(config),
    )
    .guarded(guards.clone());
    let front = match answers {
        Some(answers) => front.remembering(answers.cache.clone()),
        None => front,
    };
    metrics.register(|registry| front.register_metrics(registry));
    Ok(Some(front.router()))
}

/// Names in the log each repository that is refused by what its configuration
/// says. What its store says is found out when it is first asked for.
fn tell_what_is_refused(catalogue: &Catalogue, clock: &dyn Clock) {
    let listing = catalogue.list(clock.now());
    for problem in &listing.problems {
        tracing::warn!("{problem}");
    }
    let mut served = 0;
    for listed in &listing.repositories {
        let repository = listed.id.as_str();
        match &listed.state {
            Ok(_) => served += 1,
            Err(refusal) => {
                let why = refusal.sentence();
                tracing::warn!(repository, "{repository} is not served: {why}");
            }
        }
    }
    tracing::info!(
        served,
        "{served} Mercurial repositories are there to be served over protocol v2"
    );
}

fn mercurial_options(hg: &Hg) -> MercurialOptions {
    let text_bytes_max = hg.text_mib.saturating_mul(MIB);
    MercurialOptions {
        limits: Limits {
            text_bytes_max,
            chunk_bytes_max: text_bytes_max.saturating_add(64 * MIB),
            ..Limits::default()
        },
        request_bytes_max: size(hg.request_mib.saturating_mul(MIB)),
        verified_bytes_max: size(hg.verified_mib.saturating_mul(MIB)),
        repositories_max: size(hg.open_repositories),
        epoch: hg.epoch,
        idle: Duration::from_secs(hg.idle_seconds),
        pushkey: hg
            .hg_program
            .as_ref()
            .filter(|_| hg.pushkey)
            .map(|program| PushkeyProgram {
                hg: program.clone(),
                timeout: Duration::from_secs(hg.pushkey_seconds),
            }),
        ..MercurialOptions::default()
    }
}

fn front_options(config: &Config) -> FrontOptions {
    let hg = &config.hg;
    FrontOptions {
        body_bytes_max: size(hg.body_mib.saturating_mul(MIB)),
        answers_max: size(hg.answers_at_once),
        wait: Duration::from_secs(hg.wait_seconds),
        answer_time: Duration::from_secs(hg.answer_seconds),
        piece_time: Duration::from_secs(config.limits.write_stall_seconds),
        compression_level: i32::try_from(hg.compression_level).unwrap_or(i32::MAX),
        fallback_url: hg.fallback_url.clone(),
        redirected_from: size(config.redirect.from_answers),
        ..FrontOptions::default()
    }
}
