//! The look-up of one task that memory knows, which is what is asked most.

use std::time::Instant;

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use fingerpost_core::{Entry, Principal};
use fingerpost_hashequiv::HashEquiv;
use fingerpost_hashequiv_proto::types::{decode_hex, encode_hex};
use fingerpost_net::{ShortRequest, Shortcut, request_id};

use super::call::{Asked, answered};
use super::routes::LOOKED_UP;
use super::{Caller, JSON, JsonDoor, Shared, caching, epoch};

/// The one resource without its last two parts.
const PREFIX: &str = "/v1/unihashes/";
/// Longer answers may be compressed, which is not done here.
const METHOD_BYTES_MAX: usize = 256;

impl Shortcut for JsonDoor {
    fn takes_path(&self, path: &str) -> bool {
        path.starts_with(PREFIX)
    }

    fn answer(&self, request: &ShortRequest<'_>) -> Option<Response> {
        self.0.known(request)
    }
}

impl Shared {
    /// The answer to somebody who shows no login, at a part of the router's price.
    fn known(&self, request: &ShortRequest<'_>) -> Option<Response> {
        let started = Instant::now();
        let path = request.uri.path();
        let (method, taskhash) = path.strip_prefix(PREFIX)?.split_once('/')?;
        // What is written another way is the router's to understand.
        let is_plain = method.len() <= METHOD_BYTES_MAX && !method.contains('%');
        let is_anonymous = !request.headers.contains_key(header::AUTHORIZATION)
            && request.peer.certificate.is_none();
        if !is_plain || !is_anonymous || request.uri.query().is_some_and(|it| !it.is_empty()) {
            return None;
        }
        let listener = request.peer.listener_name.as_deref();
        let place = self.placement.of_request(path, request.host(), listener)?;
        let service = &place.service;
        let epoch = service.epoch_in_history();
        let entry = &self.commands.entries()[self.looked_up];
        let bytes = self.remembered(entry, (service, &service.anonymous()), method, taskhash)?;
        let mut response = found(service, epoch.number, request.headers, bytes, true);
        epoch::tell(&epoch, response.headers_mut());
        request_id::tell(&self.ids.of(request.headers), response.headers_mut());
        let (status, took) = (response.status(), started.elapsed());
        self.metrics.count_known(service.namespace(), status, took);
        Some(response)
    }

    /// What the command would answer, without an argument that is written and read
    /// again. `None`: it has to be asked.
    fn remembered(
        &self,
        entry: &Entry<HashEquiv>,
        (service, principal): (&HashEquiv, &Principal),
        method: &str,
        taskhash: &str,
    ) -> Option<Bytes> {
        let started = Instant::now();
        let facts = &entry.declaration;
        let may = self.guards.admission.is_free(facts.cost) && principal.allows(facts.access.needs);
        if !may || !service.cache_is_fresh() || !method.bytes().all(stands_for_itself) {
            return None;
        }
        let digits = taskhash.as_bytes();
        let within = service.method(method.as_bytes())?;
        let unihash = service.cached_unihash(within, &decode_hex(digits)?)?;
        let metrics = service.metrics();
        metrics.cache_hits.inc();
        metrics.unihashes_found.inc();
        let parts: [&[u8]; 7] = [
            b"{\"taskhash\": \"",
            digits,
            b"\", \"method\": \"",
            method.as_bytes(),
            b"\", \"unihash\": \"",
            &encode_hex(&unihash),
            b"\"}",
        ];
        service.requests().record(1, started.elapsed());
        Some(Bytes::from(parts.concat()))
    }
}

/// The answer of the router to a known look-up, and before there is one.
pub(super) fn answer(
    shared: &Shared,
    asked: &Asked<'_>,
    caller: &Caller,
    (headers, query): (&HeaderMap, Option<&str>),
) -> Option<Response> {
    if asked.route.path != LOOKED_UP || !query.is_none_or(str::is_empty) {
        return None;
    }
    let [(_, method), (_, taskhash)] = asked.path else {
        return None;
    };
    let (entry, service) = (&shared.commands.entries()[asked.command], caller.service());
    let epoch = service.deletion_epoch();
    let bytes = shared.remembered(entry, (service, &caller.principal), method, taskhash)?;
    Some(found(
        service,
        epoch,
        headers,
        bytes,
        caller.anybody_may(entry),
    ))
}

/// An answer that was right in `epoch`, which was read before it.
fn found(
    service: &HashEquiv,
    epoch: u64,
    headers: &HeaderMap,
    bytes: Bytes,
    anybody: bool,
) -> Response {
    let tag = caching::tag(service.namespace(), epoch, &bytes);
    caching::conditional(headers, answered(bytes, JSON), tag, anybody)
}

/// Whether JSON writes a byte as it is.
const fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}
