//! What a client says about content redirects, out of what the server offers.

use std::collections::BTreeSet;

use crate::redirect::{Location, RedirectOffer, RedirectTarget};
use crate::request::RedirectRequest;

/// What a client can do at the places that a server redirects to. Nothing in
/// it has an order: what is sent stands in the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Following {
    /// Protocols that it speaks.
    pub protocols: Vec<Vec<u8>>,
    /// Versions of TLS that it speaks.
    pub tlsversions: Vec<Vec<u8>>,
    /// Whether it sends the server's name when it sets up TLS.
    pub sni: bool,
    /// Hashes that it checks.
    pub hashes: Vec<Vec<u8>>,
    /// Content codings of HTTP that it undoes.
    pub encodings: Vec<Vec<u8>>,
}

impl Default for Following {
    /// HTTP and HTTPS, TLS 1.2 and 1.3 with a server's name, SHA-256 and SHA-1,
    /// and `zstd` with a window of at most 8 MiB.
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|&name| name.into()).collect();
        Self {
            protocols: names(&["http", "https"]),
            tlsversions: names(&["1.2", "1.3"]),
            sni: true,
            hashes: names(&["sha256", "sha1"]),
            encodings: names(&["zstd"]),
        }
    }
}

impl Following {
    /// What hg 6.0.3 can do: no TLS 1.3, and no content coding.
    pub fn stock() -> Self {
        Self {
            tlsversions: [&b"1.0"[..], b"1.1", b"1.2"].map(Vec::from).into(),
            encodings: Vec::new(),
            ..Self::default()
        }
    }

    /// What to send with each request: the targets that the client can use but
    /// those named in `without`, and the hashes that it checks, in the server's
    /// order. There may be no target left; stock clients send the empty list then.
    pub fn choose(&self, offer: &RedirectOffer, without: &BTreeSet<Vec<u8>>) -> RedirectRequest {
        let usable = offer
            .targets
            .iter()
            .filter(|target| !without.contains(&target.name) && self.can_use(target));
        let hashes = offer.hashes.iter();
        RedirectRequest {
            targets: usable.map(|target| target.name.clone()).collect(),
            hashes: hashes
                .filter(|hash| self.hashes.contains(hash))
                .cloned()
                .collect(),
            encodings: self.encodings.clone(),
        }
    }

    /// Whether the client can fetch from a target. Where it is says nothing.
    pub fn can_use(&self, target: &RedirectTarget) -> bool {
        self.protocols.contains(&target.protocol)
            && (self.sni || target.snirequired != Some(true))
            && (target.tlsversions.is_empty()
                || target
                    .tlsversions
                    .iter()
                    .any(|version| self.tlsversions.contains(version)))
    }
}

impl RedirectOffer {
    /// The target, of those with these names, that a location most likely
    /// belongs to, for no location says it: the one with the longest URI that its
    /// URL begins with, else the first one of its protocol, else the first one.
    pub fn target_of(&self, location: &Location, names: &[Vec<u8>]) -> Option<&RedirectTarget> {
        let named = || {
            let targets = self.targets.iter();
            targets.filter(|target| names.contains(&target.name))
        };
        let covered = |target: &RedirectTarget| {
            let uris = target.uris.iter();
            let covering = uris.filter(|uri| !uri.is_empty() && location.url.starts_with(uri));
            covering.map(Vec::len).max().unwrap_or(0)
        };
        let speaks = |target: &RedirectTarget| {
            let rest = location.url.strip_prefix(&target.protocol[..]);
            rest.is_some_and(|rest| rest.starts_with(b"://"))
        };
        // The first of equals, which `max_by_key` would not give.
        named().min_by_key(|target| {
            let distance = usize::MAX - covered(target);
            (distance, !speaks(target))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, protocol: &str, uri: &str) -> RedirectTarget {
        RedirectTarget {
            name: name.into(),
            protocol: protocol.into(),
            uris: vec![uri.into()],
            ..RedirectTarget::default()
        }
    }

    fn offer(targets: Vec<RedirectTarget>) -> RedirectOffer {
        RedirectOffer {
            targets,
            hashes: [&b"sha512"[..], b"sha1", b"sha256"].map(Vec::from).into(),
        }
    }

    #[test]
    fn what_the_client_cannot_do_is_left_out() {
        let can = Following::default();
        let cannot_name = Following {
            sni: false,
            ..Following::default()
        };
        let with_tls = |versions: &[&str]| RedirectTarget {
            tlsversions: versions.iter().map(|&version| version.into()).collect(),
            ..target("t", "https", "https://t/")
        };
        let with_sni = |required| RedirectTarget {
            snirequired: Some(required),
            ..target("t", "https", "https://t/")
        };
        assert!(can.can_use(&target("t", "http", "")));
        assert!(can.can_use(&with_tls(&["1.3"])));
        assert!(can.can_use(&with_tls(&["1.1", "1.2"])));
        assert!(!can.can_use(&with_tls(&["1.0", "1.1"])));
        assert!(!can.can_use(&target("t", "ftp", "http://t/")));
        assert!(can.can_use(&with_sni(true)));
        assert!(!cannot_name.can_use(&with_sni(true)));
        assert!(cannot_name.can_use(&with_sni(false)));
    }

    #[test]
    fn the_order_is_the_servers() {
        let offer = offer(vec![
            target("z", "https", ""),
            target("ftp", "ftp", ""),
            target("b", "http", ""),
            target("a", "https", ""),
        ]);
        let without = BTreeSet::from([b"b".to_vec()]);
        let chosen = Following::default().choose(&offer, &without);
        assert_eq!(chosen.targets, [b"z", b"a"]);
        assert_eq!(chosen.hashes, [&b"sha1"[..], b"sha256"]);
        assert_eq!(chosen.encodings, [b"zstd"]);
        let all: BTreeSet<_> = offer.targets.iter().map(|t| t.name.clone()).collect();
        assert!(Following::default().choose(&offer, &all).targets.is_empty());
    }

    #[test]
    fn a_location_is_of_the_target_whose_uri_it_begins_with() {
        let offer = offer(vec![
            target("first", "http", ""),
            target("short", "https", "https://cdn/"),
            target("long", "https", "https://cdn/deep/"),
        ]);
        let all: Vec<_> = offer.targets.iter().map(|t| t.name.clone()).collect();
        let check = |url: &str, names: &[Vec<u8>], expected: Option<&str>| {
            let found = offer.target_of(&Location::new(url), names);
            let found = found.map(|target| target.name.as_slice());
            assert_eq!(found, expected.map(str::as_bytes), "{url}");
        };
        check("https://cdn/deep/x", &all, Some("long"));
        check("https://cdn/x", &all, Some("short"));
        check("https://cdn/deep/x", &all[..2], Some("short"));
        check("https://elsewhere/x", &all, Some("short"));
        check("ftp://elsewhere/x", &all, Some("first"));
        check("https://cdn/x", &[], None);
    }
}
