//! Fuzz targets: plain functions over bytes that panic when something that
//! must always hold does not.

use crate::forwarded::fuzz_forwarded;
use crate::proxied::fuzz_proxied;
use crate::{Address, detect};

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target with its name, for runners.
pub const TARGETS: [(&str, Target); 4] = [
    ("detect", fuzz_detect),
    ("address", fuzz_address),
    ("forwarded", fuzz_forwarded),
    ("proxied", fuzz_proxied),
];

/// A verdict about a connection never changes with more bytes, and comes
/// within 24 of them.
pub fn fuzz_detect(data: &[u8]) {
    let verdict = detect(data);
    if data.len() >= 24 {
        assert!(verdict.is_some(), "undecided after {} bytes", data.len());
    }
    for end in 0..data.len().min(32) {
        let early = detect(&data[..end]);
        assert!(
            early.is_none() || early == verdict,
            "{early:?} became {verdict:?}"
        );
    }
}

/// An address that is taken means the same when it is shown and read again.
pub fn fuzz_address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_inputs_of_every_kind_hold() {
        let pieces = [
            "", "a", ":", "[", "]", "::1", "80", "/", "?", "ws://", "unix://", "GET ", "\0",
        ];
        for first in pieces {
            for second in pieces {
                for third in pieces {
                    let input = [first, second, third].concat();
                    for (_, target) in TARGETS {
                        target(input.as_bytes());
                    }
                }
            }
        }
    }
}
