//! Proxies as the environment names them: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
//! `NO_PROXY`, in small letters too, which go first.

mod exempt;

use std::fmt;

use fingerpost_net::Host;
use reqwest::Url;

use self::exempt::Exempt;

/// Which connections go through which proxy. Those to this host never do.
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<Setting>,
    https: Option<Setting>,
    exempt: Exempt,
}

/// What a variable says.
type Setting = Result<Url, BadProxy>;

/// A variable names a proxy that is not spoken to. Its value is not told: it may hold a
/// password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is no http:// or https:// URL of a proxy")]
pub struct BadProxy {
    variable: String,
}

impl Proxies {
    /// None at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Those of this process.
    pub fn of_process() -> Self {
        Self::from_environment(|name| std::env::var(name).ok())
    }

    /// Those that variables name. A web server runs `cgi` programs with
    /// `HTTP_PROXY` set to what a client sent, so that it does not count there.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let names = [name.to_owned(), name.to_ascii_uppercase()];
            names.into_iter().find_map(|name| {
                let value = variable(&name).filter(|value| !value.trim().is_empty())?;
                Some((name, value))
            })
        };
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let all = || either("all_proxy");
        let http = either("http_proxy").filter(|(name, _)| !is_cgi || name == "http_proxy");
        let read = |(name, value): (String, String)| parse(name, value.trim());
        Self {
            http: http.or_else(all).map(read),
            https: either("https_proxy").or_else(all).map(read),
            exempt: either("no_proxy")
                .map_or_else(Exempt::default, |(_, hosts)| Exempt::parse(&hosts)),
        }
    }

    /// The proxy to a host for `https` or `http`.
    pub(crate) fn to(
        &self,
        is_encrypted: bool,
        host: &str,
        port: u16,
    ) -> Result<Option<&Url>, BadProxy> {
        let setting = match is_encrypted {
            true => &self.https,
            false => &self.http,
        };
        match setting {
            Some(_) if self.exempt.has(host, port) => Ok(None),
            Some(Ok(proxy)) => Ok(Some(proxy)),
            Some(Err(bad)) => Err(bad.clone()),
            None => Ok(None),
        }
    }

    /// The proxy to a WebSocket: one that is meant for encryption goes first, since it
    /// makes a way and does not look into it (RFC 6455, section 4.1).
    pub(crate) fn to_websocket(
        &self,
        is_encrypted: bool,
        host: &Host,
        port: u16,
    ) -> Result<Option<&Url>, BadProxy> {
        let name = host.to_resolve();
        match self.to(true, &name, port)? {
            None if !is_encrypted => self.to(false, &name, port),
            proxy => Ok(proxy),
        }
    }

    /// The proxy to what a URL of HTTP names.
    pub(crate) fn to_url(&self, url: &Url) -> Result<Option<&Url>, BadProxy> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        self.to(url.scheme() == "https", host, port)
    }
}

/// Not even the names of users of proxies.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").finish_non_exhaustive()
    }
}

fn parse(variable: String, value: &str) -> Setting {
    let url = match value.contains("://") {
        true => Url::parse(value),
        false => Url::parse(&format!("http://{value}")),
    };
    let is_spoken = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    url.ok().filter(is_spoken).ok_or(BadProxy { variable })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_environment(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[track_caller]
    fn check(variables: &[(&str, &str)], url: &str, expect: Option<&str>) {
        let proxies = proxies(variables);
        let found = proxies.to_url(&Url::parse(url).unwrap()).unwrap();
        assert_eq!(found.map(Url::as_str), expect);
    }

    #[test]
    fn each_scheme_has_its_variable_and_all_is_the_rest() {
        let both = [("HTTPS_PROXY", "http://s:1"), ("http_proxy", "plain:2")];
        check(&both, "https://farm.example/", Some("http://s:1/"));
        check(&both, "http://farm.example/", Some("http://plain:2/"));
        let all = [("ALL_PROXY", "http://all:3"), ("https_proxy", "")];
        check(&all, "https://farm.example/", Some("http://all:3/"));
        let twice = [("https_proxy", "http://a:1"), ("HTTPS_PROXY", "http://b:1")];
        check(&twice, "https://farm.example/", Some("http://a:1/"));
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil:1")];
        check(&cgi, "http://farm.example/", None);
        check(&[], "https://farm.example/", None);
    }

    #[test]
    fn this_host_and_exempt_ones_are_asked_directly() {
        let set = [("https_proxy", "http://s:1"), ("NO_PROXY", "farm.example")];
        for direct in ["localhost", "127.0.0.5", "[::1]", "farm.example"] {
            check(&set, &format!("https://{direct}/"), None);
        }
        check(&set, "https://other.example/", Some("http://s:1/"));
    }

    #[test]
    fn what_is_not_spoken_is_told_without_its_password() {
        let proxies = proxies(&[("all_proxy", "socks5://u:hunter2@s:1")]);
        let url = Url::parse("https://farm.example/").unwrap();
        let error = proxies.to_url(&url).unwrap_err().to_string();
        assert_eq!(error, "all_proxy is no http:// or https:// URL of a proxy");
        assert!(!format!("{proxies:?}").contains("hunter2"));
    }
}
