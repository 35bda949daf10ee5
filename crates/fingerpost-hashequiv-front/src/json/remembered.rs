//! The look-up of one task that memory knows, which is what is asked most.

use std::time::Instant;

use axum::body::Bytes;
use fingerpost_hashequiv_proto::types::{decode_hex, encode_hex};

use super::call::Asked;
use super::routes::LOOKED_UP;
use super::{Caller, Shared};

/// What the command would answer, at a part of its price: no argument is written and
/// read again. `None`: it has to be asked.
pub(super) fn answer(
    shared: &Shared,
    asked: &Asked<'_>,
    caller: &Caller,
    query: Option<&str>,
) -> Option<Bytes> {
    let started = Instant::now();
    if asked.route.path != LOOKED_UP || !query.is_none_or(str::is_empty) {
        return None;
    }
    let [(_, method), (_, taskhash)] = asked.path else {
        return None;
    };
    let declaration = &shared.commands.entries()[asked.command].declaration;
    let service = caller.service();
    let may = shared.guards.admission.is_free(declaration.cost)
        && caller.principal.allows(declaration.access.needs);
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

/// Whether JSON writes a byte as it is.
const fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}
