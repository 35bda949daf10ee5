//! A request for a resource that is a command.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use fingerpost_core::{Availability, Call, Encoded, Entry, Failure, Reply, SecretUrl};
use fingerpost_hashequiv::HashEquiv;
use fingerpost_net::audit::Ended;
use serde_json::{Map, Value};

use super::fields::Fields;
use super::problem::Problem;
use super::routes::{self, Route, Verb};
use super::{Caller, Shared, arguments, caching, remembered};
use crate::guards::{self, PATIENCE, Rate, Stopped};

/// What of a command is asked.
pub(super) struct Asked<'a> {
    /// Its place.
    pub(super) command: usize,
    pub(super) route: &'a Route,
    /// The fields of its answer.
    pub(super) known: &'a [String],
    pub(super) path: &'a [(String, String)],
}

impl Shared {
    pub(super) async fn call(
        &self,
        asked: Asked<'_>,
        caller: &Caller,
        request: Request,
    ) -> Result<Response, Problem> {
        let shown = (request.headers(), request.uri().query());
        if let Some(response) = remembered::answer(self, &asked, caller, shown) {
            return Ok(response);
        }
        let Asked {
            command,
            route,
            known,
            path,
        } = asked;
        let (entry, service) = (&self.commands.entries()[command], caller.service());
        let epoch = service.deletion_epoch();
        if entry.declaration.availability == Availability::Writable && service.is_read_only() {
            return Err(self.read_only(entry, caller).await);
        }
        if matches!(route.verb, Verb::Post | Verb::Put) {
            self.admit(entry, caller, path).await?;
        }
        let (parts, body) = request.into_parts();
        let is_head = parts.method == Method::HEAD;
        let mut query = arguments::parameters(parts.uri.query().unwrap_or_default())?;
        let fields = Fields::take(&mut query, known)?;
        let body = match route.verb {
            Verb::Get | Verb::Delete => None,
            Verb::Post | Verb::Put => Some(self.json_body(&parts.headers, body).await?),
        };
        let argument = arguments::argument(entry.fields, route, path, query, body.as_deref())?;
        let rate = Rate::Patience(Duration::ZERO);
        let reply = self.reply(entry, caller, &argument, rate).await?;
        if let Reply::Redirect(redirect) = &reply {
            return elsewhere(&redirect.location, is_head).ok_or_else(|| unfit(entry, caller));
        }
        let encoded = one_object(reply).ok_or_else(|| unfit(entry, caller))?;
        // Clients of this door do not have to know that null says so.
        if &*encoded.bytes == b"null" {
            let problem = Problem::new(StatusCode::NOT_FOUND, route.absent);
            return Err(problem);
        }
        let bytes = match route.shows_progress {
            true => with_progress(service, encoded.bytes),
            false => encoded.bytes,
        };
        let bytes = fields.of_object(bytes);
        let mut response = answered(bytes.clone(), encoded.media_type);
        if route.is_looked_up {
            return Ok(caching::conditional(
                &parts.headers,
                response,
                caching::tag(service.namespace(), epoch, &bytes),
                caller.anybody_may(entry),
            ));
        }
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, caching::NO_STORE);
        Ok(response)
    }

    /// Waits until the caller may have one more request of a command done.
    pub(super) async fn turn(
        &self,
        entry: &Entry<HashEquiv>,
        caller: &Caller,
    ) -> Result<(), Problem> {
        let cost = entry.declaration.cost;
        let turn = self.guards.admission.turn(cost, caller.asker(), PATIENCE);
        let Err(crowded) = turn.await else {
            return Ok(());
        };
        let failure = Stopped::Crowded(crowded).into();
        self.denied(entry, caller, &failure).await;
        Err(Problem::crowded(&crowded))
    }

    /// Refuses whoever may not ask at all, before their body is read.
    async fn admit(
        &self,
        entry: &Entry<HashEquiv>,
        caller: &Caller,
        path: &[(String, String)],
    ) -> Result<(), Problem> {
        let facts = &entry.declaration;
        // The argument says whether it is about the caller.
        if facts.access.self_service && caller.principal.name().is_some() {
            return Ok(());
        }
        let Err(denied) = entry.permit(&caller.principal) else {
            return Ok(());
        };
        let named: Map<_, _> = path
            .iter()
            .map(|(name, text)| (name.clone(), Value::from(text.as_str())))
            .collect();
        let argument = Value::Object(named).to_string();
        let tell = || caller.told.clone();
        guards::tell(&self.guards, entry, &argument, Ended::Failed(&denied), tell).await;
        Err(Problem::of(&denied, facts.name, caller))
    }

    /// Runs a command that answers one object, when [its turn](Shared::turn) has come.
    pub(super) async fn run(
        &self,
        entry: &Entry<HashEquiv>,
        caller: &Caller,
        argument: &str,
    ) -> Result<Encoded, Problem> {
        let reply = self.reply(entry, caller, argument, Rate::Paid).await?;
        one_object(reply).ok_or_else(|| unfit(entry, caller))
    }

    /// Runs a command as every door does.
    async fn reply(
        &self,
        entry: &Entry<HashEquiv>,
        caller: &Caller,
        argument: &str,
        rate: Rate,
    ) -> Result<Reply<Encoded>, Problem> {
        let call = Call {
            service: caller.service(),
            principal: &caller.principal,
            peer: &caller.told.peer,
            origin: caller.host,
        };
        let started = std::time::Instant::now();
        let asker = caller.asker();
        let working = guards::call(&self.guards, entry, asker, rate, call, argument);
        let called = working.await;
        caller.service().requests().record(1, started.elapsed());
        let crowded = match &called {
            Err(Stopped::Crowded(crowded)) => Some(*crowded),
            _ => None,
        };
        let called = called.map_err(Failure::from);
        let ended = guards::ended(called.as_ref());
        let tell = || caller.told.clone();
        guards::tell(&self.guards, entry, argument, ended, tell).await;
        if let Some(crowded) = crowded {
            return Err(Problem::crowded(&crowded));
        }
        let name = entry.declaration.name;
        let called = called.map_err(|failure| Problem::of(&failure, name, caller))?;
        Ok(called.reply)
    }

    /// Refuses a command that this server does not have because it only reads.
    pub(super) async fn read_only(&self, entry: &Entry<HashEquiv>, caller: &Caller) -> Problem {
        self.denied(entry, caller, &Failure::refused(READ_ONLY, ""))
            .await;
        Problem::new(StatusCode::FORBIDDEN, READ_ONLY)
    }

    /// Tells the audit log of a command that was not called.
    pub(super) async fn denied(
        &self,
        entry: &Entry<HashEquiv>,
        caller: &Caller,
        failure: &Failure,
    ) {
        let tell = || caller.told.clone();
        guards::tell(&self.guards, entry, "", Ended::Failed(failure), tell).await;
    }
}

const READ_ONLY: &str = "read-only";

fn one_object(reply: Reply<Encoded>) -> Option<Encoded> {
    match reply {
        Reply::Object(encoded) | Reply::Encoded(encoded) => Some(encoded),
        Reply::Objects(_) | Reply::Redirect(_) => None,
    }
}

/// The command answered what this resource cannot tell.
fn unfit(entry: &Entry<HashEquiv>, caller: &Caller) -> Problem {
    let why = Failure::internal("a command of this door answers one object");
    Problem::of(&why, entry.declaration.name, caller)
}

/// The answer lies elsewhere. Who only asks for the head is not sent there: a place may
/// be signed for GET alone. `None` if the place does not fit a header.
fn elsewhere(location: &SecretUrl, is_head: bool) -> Option<Response> {
    if is_head {
        let mut response = Response::default();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, caching::NO_STORE);
        return Some(response);
    }
    let location = HeaderValue::from_str(location.expose()).ok()?;
    Some(caching::redirected(location))
}

pub(super) fn answered(bytes: Bytes, media_type: &'static str) -> Response {
    let mut response = Response::new(Body::from(bytes));
    let media_type = HeaderValue::from_static(media_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    response
}

fn with_progress(service: &HashEquiv, answer: Bytes) -> Bytes {
    let jobs = service.running_jobs();
    routes::with_progress(&answer, &jobs).map_or(answer, Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_lies_elsewhere_is_a_redirect_but_for_head() {
        let place = SecretUrl::new("https://bucket.example/a?signature=b".to_owned());
        let sent = elsewhere(&place, false).unwrap();
        assert_eq!(sent.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(sent.headers()[header::LOCATION], place.expose());
        assert_eq!(sent.headers()[header::CACHE_CONTROL], "no-store");
        let told = elsewhere(&place, true).unwrap();
        assert_eq!(told.status(), StatusCode::OK);
        assert!(!told.headers().contains_key(header::LOCATION));
        let odd = SecretUrl::new("https://bucket.example/\n".to_owned());
        assert!(elsewhere(&odd, false).is_none());
    }
}
