//! By what clients who remember answers notice that something was deleted.

use std::io::Write as _;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use fingerpost_hashequiv::changes::DeletionEpoch;

/// The header that tells it: 32 lower-case hex digits of the history, `/`, the number.
pub(super) const HEADER: HeaderName = HeaderName::from_static("fingerpost-deletion-epoch");

const HISTORY_DIGITS: usize = 32;
/// With the digits of the longest number.
const LEN_MAX: usize = HISTORY_DIGITS + 1 + 20;

/// Adds an epoch to an answer. It has to be read before the answer is looked for: then a
/// deletion meanwhile makes what is told too old, which costs a client a question, and
/// never too new.
pub(super) fn tell(epoch: &DeletionEpoch, headers: &mut HeaderMap) {
    let mut text = [0; LEN_MAX];
    let (history, mut number) = text.split_at_mut(HISTORY_DIGITS);
    let room = number.len();
    let is_written = faster_hex::hex_encode(&epoch.history, history).is_ok()
        && write!(number, "/{}", epoch.number).is_ok();
    let len = HISTORY_DIGITS + room - number.len();
    if is_written && let Ok(value) = HeaderValue::from_bytes(&text[..len]) {
        headers.insert(HEADER, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_told_in_one_form() {
        let check = |number, wanted: &str| {
            let history = std::array::from_fn(|place| place as u8 * 17);
            let mut headers = HeaderMap::new();
            tell(&DeletionEpoch { history, number }, &mut headers);
            assert_eq!(headers[HEADER], wanted);
        };
        check(0, "00112233445566778899aabbccddeeff/0");
        check(
            u64::MAX,
            "00112233445566778899aabbccddeeff/18446744073709551615",
        );
    }
}
