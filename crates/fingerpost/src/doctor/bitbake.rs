//! What a release of BitBake can do.

use std::fmt;

use super::variables::Variables;

/// A version of BitBake, as far as releases differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u32,
    minor: u32,
}

/// Releases of the Yocto Project with their BitBake, from the release manuals.
const RELEASES: [(&str, Version); 14] = [
    ("dunfell", Version::new(1, 46)),
    ("gatesgarth", Version::new(1, 48)),
    ("hardknott", Version::new(1, 50)),
    ("honister", Version::new(1, 52)),
    ("kirkstone", Version::new(2, 0)),
    ("langdale", Version::new(2, 2)),
    ("mickledore", Version::new(2, 4)),
    ("nanbield", Version::new(2, 6)),
    ("scarthgap", Version::SCARTHGAP),
    ("styhead", Version::new(2, 10)),
    ("walnascar", Version::new(2, 12)),
    ("whinlatter", Version::new(2, 16)),
    ("wrynose", Version::new(2, 18)),
    ("zeus", Version::new(1, 44)),
];

impl Version {
    const SCARTHGAP: Self = Self::new(2, 8);

    const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// That of the build, by its number or by the name of its release.
    pub(super) fn of(variables: &Variables) -> Option<Self> {
        if let Some(version) = variables.get("BB_VERSION").and_then(Self::parse) {
            return Some(version);
        }
        let names = variables.get("LAYERSERIES_CORENAMES")?;
        let known = names.split_whitespace().filter_map(|name| {
            let release = RELEASES.iter().find(|(known, _)| *known == name);
            release.map(|(_, version)| *version)
        });
        known.max()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        Some(Self { major, minor })
    }

    /// Whether it has a client for `ws://` and `wss://`, and logs in; 2.7 became 2.8.
    pub(super) fn knows_websocket_and_logins(self) -> bool {
        self >= Self::new(2, 7)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BitBake {}.{}", self.major, self.minor)?;
        match RELEASES.iter().find(|(_, version)| version == self) {
            Some((name, _)) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::variables::set;
    use super::*;

    #[test]
    fn the_number_counts_before_the_name() {
        let of = |values: &[(&str, &str)]| Version::of(&set(values)).map(|v| v.to_string());
        let number = ("BB_VERSION", "2.0.1");
        let name = ("LAYERSERIES_CORENAMES", "styhead walnascar");
        assert_eq!(of(&[number, name]), Some("BitBake 2.0 (kirkstone)".into()));
        assert_eq!(of(&[name]), Some("BitBake 2.12 (walnascar)".into()));
        assert_eq!(of(&[("BB_VERSION", "2.9.0")]), Some("BitBake 2.9".into()));
        assert_eq!(of(&[("LAYERSERIES_CORENAMES", "of-next-year")]), None);
    }

    #[test]
    fn websockets_came_with_scarthgap() {
        assert!(Version::SCARTHGAP.knows_websocket_and_logins());
        assert!(!Version::new(2, 6).knows_websocket_and_logins());
    }
}
