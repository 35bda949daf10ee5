//! Names of requests, in answers and in the log.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const LEN_MAX: usize = 64;

/// Gives requests their names.
#[derive(Debug)]
pub struct RequestIds {
    /// Tells this run of the server from others.
    run: u64,
    count: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        // Keyed at random by the standard library.
        let run = RandomState::new().hash_one(());
        Self {
            run: run & 0xffff_ffff,
            count: AtomicU64::new(0),
        }
    }
}

impl RequestIds {
    /// The name that a request brought along, or a new one.
    pub fn of(&self, headers: &HeaderMap) -> String {
        let given = headers.get(HEADER).and_then(|given| given.to_str().ok());
        match given.filter(|given| is_name(given)) {
            Some(given) => given.to_owned(),
            None => {
                let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
                format!("{:x}-{number}", self.run)
            }
        }
    }
}

fn is_name(given: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=LEN_MAX).contains(&given.len()) && given.bytes().all(fits)
}

/// Adds a request's name to its answer.
pub fn tell(request_id: &str, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(HEADER, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_came_along_is_kept_if_it_is_one() {
        let ids = RequestIds::default();
        let of = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, given.parse().unwrap());
            ids.of(&headers)
        };
        assert_eq!(of("build-1.x_2"), "build-1.x_2");
        let long = "a".repeat(65);
        for wrong in ["", "a b", "a/b", &long] {
            assert_ne!(of(wrong), wrong);
        }
        assert_ne!(of(""), of(""));
    }
}
