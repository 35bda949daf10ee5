//! What stands between the door and the repositories: wrong logins are counted, and
//! changes and denials are told to the audit log.

use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use fingerpost_accounts::Login;
use fingerpost_core::{Entry, Failure, Origin};
use fingerpost_hg::RepositoryView;
use fingerpost_hg_proto::Args;
use fingerpost_hg_proto::cbor::Value;
use fingerpost_net::audit::{AuditOutcome, Event};
use fingerpost_net::{Crowded, Guards, Peer};
use serde_json::value::{RawValue, to_raw_value};
use tokio::runtime::Handle;

use crate::caller::Caller;
use crate::refusal::Refusal;

/// What is known of a request before it is worked on.
pub(crate) struct Came {
    host: Origin,
    peer: String,
    path: String,
    shows_login: bool,
    /// Who it turned out to be, once that was looked at.
    pub(crate) login: Option<Login>,
}

impl Came {
    pub(crate) fn of(parts: &Parts) -> Self {
        let peer = parts.extensions.get::<Peer>();
        Self {
            host: peer.map_or(Origin::Unknown, Peer::host),
            peer: peer.map_or_else(String::new, Peer::to_string),
            path: parts.uri.path().to_owned(),
            shows_login: parts.headers.contains_key(header::AUTHORIZATION),
            login: None,
        }
    }
}

/// Whether a login of there may be looked at.
pub(crate) fn may_log_in(guards: &Guards, came: &Came) -> Result<(), Refusal> {
    if !came.shows_login {
        return Ok(());
    }
    let may = guards.admission.may_log_in(&came.host);
    may.map_err(|crowded| match crowded {
        Crowded::Rate(wait) => Refusal::busy(wait),
        Crowded::Places => Refusal::busy(SOON),
    })
}

/// A login that was looked at is wrong.
pub(crate) fn login_failed(guards: &Guards, came: &Came) {
    guards.admission.login_failed(&came.host);
}

/// Tells of a request that was denied. One without a login that is asked for one
/// is on its way to it.
pub(crate) async fn denied(guards: &Guards, came: &Came, refusal: &Refusal) {
    let is_denial = match refusal.status {
        StatusCode::UNAUTHORIZED => came.shows_login || !refusal.asks_for_login(),
        status => status == StatusCode::FORBIDDEN,
    };
    if !is_denial || !guards.audit.is_on() {
        return;
    }
    let credential = came.login.as_ref().map(Login::credential);
    let event = Event {
        door: DOOR,
        request_id: "",
        peer: &came.peer,
        user: came.login.as_ref().map(Login::name),
        credential: credential.as_ref(),
        namespace: Some(&came.path),
        command: "request",
        argument: None,
        outcome: AuditOutcome::Denied("permission"),
    };
    guards.audit.record(&event).await;
}

/// Tells of a command that ended, if that is for the log. Blocks.
pub(crate) fn called(
    guards: &Guards,
    entry: &Entry<RepositoryView>,
    (repository, caller): (&str, &Caller),
    args: &Args,
    failure: Option<&Failure>,
    runtime: &Handle,
) {
    let outcome = guards.audit.outcome(entry.declaration.effect, failure);
    let Some(outcome) = outcome else { return };
    let argument = shown(args);
    let event = Event {
        door: DOOR,
        request_id: "",
        peer: &caller.peer,
        user: caller.principal.name(),
        credential: caller.principal.credential(),
        namespace: Some(repository),
        command: entry.declaration.name,
        argument: argument.as_deref(),
        outcome,
    };
    guards.audit.record_blocking(&event, runtime);
}

/// The arguments that are texts, cut: no command of a repository takes a secret.
fn shown(args: &Args) -> Option<Box<RawValue>> {
    let texts = args.iter().filter_map(|(name, value)| match value {
        Value::Bytes(bytes) => Some((text(name), text(bytes).into())),
        _ => None,
    });
    let texts: serde_json::Map<String, serde_json::Value> = texts.take(ARGS_MAX).collect();
    to_raw_value(&texts).ok()
}

fn text(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(ARG_BYTES_MAX)];
    String::from_utf8_lossy(cut).into_owned()
}

const DOOR: &str = "hg";
const ARGS_MAX: usize = 8;
const ARG_BYTES_MAX: usize = 200;
const SOON: std::time::Duration = std::time::Duration::from_secs(5);
