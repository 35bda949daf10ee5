//! A request for a resource that is a command.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use fingerpost_core::{Availability, Call, Encoded, Entry, Failure, Reply};
use fingerpost_hashequiv::HashEquiv;

use super::fields::Fields;
use super::problem::Problem;
use super::routes::{self, Route, Verb};
use super::{Caller, Shared, arguments, caching};

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
        let Asked {
            command,
            route,
            known,
            path,
        } = asked;
        let entry = &self.commands.entries()[command];
        if entry.declaration.availability == Availability::Writable && self.service.is_read_only() {
            return Err(Problem::new(StatusCode::FORBIDDEN, "read-only"));
        }
        let (parts, body) = request.into_parts();
        let mut query = arguments::parameters(parts.uri.query().unwrap_or_default())?;
        let fields = Fields::take(&mut query, known)?;
        let epoch = self.service.deletion_epoch();
        let body = match route.verb {
            Verb::Get | Verb::Delete => None,
            Verb::Post | Verb::Put => Some(self.json_body(&parts.headers, body).await?),
        };
        let argument = arguments::argument(entry.fields, route, path, query, body.as_deref())?;
        let encoded = self.run(entry, caller, &argument).await?;
        // Clients of this door do not have to know that null says so.
        if &*encoded.bytes == b"null" {
            let problem = Problem::new(StatusCode::NOT_FOUND, route.absent);
            return Err(problem);
        }
        let bytes = match route.shows_progress {
            true => self.with_progress(encoded.bytes),
            false => encoded.bytes,
        };
        let bytes = fields.of_object(bytes);
        let mut response = (StatusCode::OK, Body::from(bytes.clone())).into_response();
        let headers = response.headers_mut();
        let media_type = header::HeaderValue::from_static(encoded.media_type);
        headers.insert(header::CONTENT_TYPE, media_type);
        if route.is_looked_up {
            return Ok(caching::conditional(
                &parts.headers,
                response,
                caching::tag(epoch, &bytes),
                self.anybody_may(route.command),
            ));
        }
        headers.insert(header::CACHE_CONTROL, caching::NO_STORE);
        Ok(response)
    }

    fn with_progress(&self, answer: Bytes) -> Bytes {
        let jobs = self.service.running_jobs();
        routes::with_progress(&answer, &jobs).map_or(answer, Bytes::from)
    }

    /// Runs a command as every door does.
    pub(super) async fn run(
        &self,
        entry: &Entry<HashEquiv>,
        caller: &Caller,
        argument: &str,
    ) -> Result<Encoded, Problem> {
        let call = Call {
            service: &self.service,
            principal: &caller.principal,
            peer: &caller.peer,
        };
        let started = std::time::Instant::now();
        let called = entry.call(call, argument).await;
        self.service.requests().record(1, started.elapsed());
        let reply = called.map(|called| called.reply);
        match reply {
            Ok(Reply::Object(encoded) | Reply::Encoded(encoded)) => Ok(encoded),
            Ok(Reply::Objects(_) | Reply::Redirect(_)) => {
                let why = Failure::internal("a command of this door answers one object");
                Err(Problem::of(&why, entry.declaration.name, caller))
            }
            Err(failure) => Err(Problem::of(&failure, entry.declaration.name, caller)),
        }
    }
}
