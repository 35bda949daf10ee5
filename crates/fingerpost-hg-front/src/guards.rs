//! What stands between the door and the repositories: changes and denials are told to
//! the audit log.

use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use fingerpost_accounts::Login;
use fingerpost_core::Entry;
use fingerpost_hg::RepositoryView;
use fingerpost_hg_proto::Args;
use fingerpost_hg_proto::cbor::Value;
use fingerpost_net::audit::{AuditOutcome, Ended, Event};
use fingerpost_net::{Guards, Peer};
use serde_json::value::{RawValue, to_raw_value};
use tokio::runtime::Handle;

use crate::caller::Caller;
use crate::refusal::Refusal;

/// What is known of a request before it is worked on.
pub(crate) struct Came {
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
            peer: peer.map_or_else(String::new, Peer::to_string),
            path: parts.uri.path().to_owned(),
            shows_login: parts.headers.contains_key(header::AUTHORIZATION),
            login: None,
        }
    }
}

/// Tells of a request that was denied. One without a login that is asked for one
/// is on its way to it.
pub(crate) async fn denied(guards: &Guards, came: &Came, refusal: &Refusal) {
    let code = match refusal.status {
        StatusCode::UNAUTHORIZED if came.login.is_none() && refusal.asks_for_login() => {
            match came.shows_login {
                true => "wrong-login",
                false => return,
            }
        }
        StatusCode::UNAUTHORIZED => "permission",
        StatusCode::FORBIDDEN if refusal.is_for_plaintext() => "plaintext-login",
        StatusCode::FORBIDDEN => "permission",
        StatusCode::TOO_MANY_REQUESTS => "too-many-failed-logins",
        _ => return,
    };
    if !guards.audit.is_on() {
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
        outcome: AuditOutcome::Denied(code),
    };
    guards.audit.record(&event).await;
}

/// Tells of a command that ended, if that is for the log. Blocks.
pub(crate) fn called(
    guards: &Guards,
    entry: &Entry<RepositoryView>,
    (repository, caller): (&str, &Caller),
    args: &Args,
    ended: Ended<'_>,
    runtime: &Handle,
) {
    let outcome = guards.audit.outcome(entry.declaration.effect, ended);
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
