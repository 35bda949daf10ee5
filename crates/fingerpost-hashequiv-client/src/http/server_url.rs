//! Where a server is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

/// The URL of a Fingerpost server: `https://HOST[:PORT][/PREFIX][/ns/NAMESPACE]`, or
/// `http://`. A prefix is what a proxy in front of the server takes off. A login has no
/// place in it.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// Without a slash at its end.
    base: Url,
    namespace: Option<String>,
}

/// Why a text is no [`ServerUrl`]. The text is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadServerUrl {
    /// No URL at all, or of another scheme.
    #[error("a server is named as https://HOST[:PORT] or http://HOST[:PORT]")]
    Form,
    /// `user:password@`.
    #[error("a server's URL has no login in it: name a credential instead")]
    Login,
    /// `?` or `#`.
    #[error("a server's URL has no query and no fragment")]
    Query,
    /// `/v1`.
    #[error("a server's URL ends before `/v1`")]
    Api,
}

impl FromStr for ServerUrl {
    type Err = BadServerUrl;

    fn from_str(text: &str) -> Result<Self, BadServerUrl> {
        let base = Url::parse(text.trim()).map_err(|_| BadServerUrl::Form)?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(BadServerUrl::Form);
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(BadServerUrl::Login);
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(BadServerUrl::Query);
        }
        Self::of(base)
    }
}

impl ServerUrl {
    /// Takes the namespace off the end of a path.
    fn of(mut base: Url) -> Result<Self, BadServerUrl> {
        let path = base.path().trim_end_matches('/').to_owned();
        let (above, last) = path.rsplit_once('/').unwrap_or_default();
        if last == "v1" {
            return Err(BadServerUrl::Api);
        }
        let namespace = above
            .strip_suffix("/ns")
            .map(|prefix| {
                let name = fingerpost_net::percent_decoded(last).ok_or(BadServerUrl::Form)?;
                Ok((prefix, name))
            })
            .transpose()?;
        let (prefix, namespace) = match namespace {
            Some((prefix, name)) => (prefix, Some(name)),
            None => (&*path, None),
        };
        base.set_path(prefix);
        Ok(Self { base, namespace })
    }

    /// The namespace that it names.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Whether others can read on the way what is sent there: plain HTTP to another host.
    pub fn is_exposed(&self) -> bool {
        let is_here = match self.base.host_str() {
            Some("localhost") => true,
            Some(host) => {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let address: Result<IpAddr, _> = host.parse();
                address.is_ok_and(|address| address.is_loopback())
            }
            None => false,
        };
        self.base.scheme() == "http" && !is_here
    }

    /// The same server in a namespace, whichever it names.
    #[must_use]
    pub fn within(self, namespace: &str) -> Self {
        let namespace = Some(namespace.to_owned());
        Self { namespace, ..self }
    }

    /// The same server in a namespace, unless it names one.
    #[must_use]
    pub(super) fn in_namespace(mut self, namespace: Option<&str>) -> Self {
        self.namespace = self.namespace.or_else(|| namespace.map(str::to_owned));
        self
    }

    /// The URL of a resource below `/v1`.
    pub(super) fn resource<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            if let Some(namespace) = &self.namespace {
                segments.extend(["ns", namespace]);
            }
            segments.push("v1").extend(path);
        }
        url
    }

    /// Where it is, without a path.
    pub(super) const fn base(&self) -> &Url {
        &self.base
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.as_str().trim_end_matches('/'))?;
        match &self.namespace {
            Some(namespace) => write!(f, "/ns/{namespace}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, path: &[&str], expect: &str) {
        let url: ServerUrl = text.parse().unwrap();
        assert_eq!(url.resource(path.iter().copied()).as_str(), expect);
    }

    #[test]
    fn prefixes_and_namespaces_are_kept() {
        check(
            "https://farm.example",
            &["ping"],
            "https://farm.example/v1/ping",
        );
        check("http://[::1]:8080/", &["ping"], "http://[::1]:8080/v1/ping");
        check(
            "https://farm.example/hash/ns/kirkstone/",
            &["outputs", "a/b", "ü?"],
            "https://farm.example/hash/ns/kirkstone/v1/outputs/a%2Fb/%C3%BC%3F",
        );
        let url: ServerUrl = "https://farm.example/ns/a%20b".parse().unwrap();
        assert_eq!(url.namespace(), Some("a b"));
        let plain: ServerUrl = "https://farm.example".parse().unwrap();
        let named = plain.in_namespace(Some("x"));
        assert_eq!(named.to_string(), "https://farm.example/ns/x");
        assert_eq!(url.clone().in_namespace(Some("x")), url);
        let other = url.within("x");
        assert_eq!(other.to_string(), "https://farm.example/ns/x");
    }

    #[test]
    fn plain_http_to_another_host_can_be_read_on_the_way() {
        let check = |text: &str, expect: bool| {
            assert_eq!(
                text.parse::<ServerUrl>().unwrap().is_exposed(),
                expect,
                "{text}"
            );
        };
        check("http://farm.example", true);
        check("http://192.0.2.1:8686", true);
        check("https://farm.example", false);
        check("http://localhost:8686", false);
        check("http://127.0.0.1", false);
        check("http://[::1]:8686", false);
    }

    #[test]
    fn what_is_no_server_is_refused_without_repeating_it() {
        let check = |text: &str, expect| {
            let error = text.parse::<ServerUrl>().unwrap_err();
            assert_eq!(error, expect, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        };
        check("farm.example:8686", BadServerUrl::Form);
        check("wss://farm.example", BadServerUrl::Form);
        check("https://u:hunter2@farm.example", BadServerUrl::Login);
        check("https://farm.example/?a=hunter2", BadServerUrl::Query);
        check("https://farm.example/v1", BadServerUrl::Api);
    }
}
