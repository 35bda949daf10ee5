//! Where a server shows its metrics.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use fingerpost_net::{Address, Host};
use reqwest::{Client, Url};

use crate::config::Config;
use crate::exit::{Exit, OrExit, failure};

/// The page, and the socket if it is not one of TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    url: Url,
    socket: Option<PathBuf>,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with("http://") && !text.starts_with("https://") {
            let address = text.parse::<Address>().map_err(|error| error.to_string())?;
            return Self::of(&address);
        }
        let mut url = Url::parse(text).map_err(|error| error.to_string())?;
        if matches!(url.path(), "" | "/") {
            url.set_path(PAGE);
        }
        Ok(Self { url, socket: None })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(path) => write!(f, "unix://{}", path.display()),
            // Without a login that may be in it.
            None => write!(
                f,
                "{}{}",
                self.url.origin().ascii_serialization(),
                self.url.path()
            ),
        }
    }
}

impl Place {
    /// Where the server with this configuration has its metrics.
    pub(crate) fn configured(config: &Config) -> anyhow::Result<Self> {
        let everywhere = config.server.bind.first();
        let everywhere = everywhere.filter(|_| config.metrics.everywhere);
        let address = config.metrics.bind.0.as_ref().or(everywhere);
        let none = || {
            failure(
                Exit::Usage,
                "metrics are on no configured address; give a URL",
            )
        };
        let place = Self::of(&address.ok_or_else(none)?.0);
        place.map_err(|why| failure(Exit::Usage, why))
    }

    fn of(address: &Address) -> Result<Self, String> {
        let (authority, socket) = match address {
            Address::Unix(path) => ("localhost".to_owned(), Some(path.clone())),
            Address::Tcp { port: 0, .. } | Address::WebSocket { port: 0, .. } => {
                return Err("the port is taken at the server's start; give a URL".to_owned());
            }
            Address::Tcp { host, port } | Address::WebSocket { host, port, .. } => {
                let host = match host {
                    Host::Any => "127.0.0.1".to_owned(),
                    Host::Name(name) => name.clone(),
                    Host::V6(address) => format!("[{address}]"),
                };
                (format!("{host}:{port}"), None)
            }
        };
        let url = format!("http://{authority}{PAGE}");
        let url = Url::parse(&url).map_err(|error| error.to_string())?;
        Ok(Self { url, socket })
    }

    /// The page, of at most 16 MiB, within 10 s.
    pub(crate) async fn fetch(&self) -> anyhow::Result<String> {
        let fetching = self.try_fetch();
        let page = fetching.await.map_err(reqwest::Error::without_url);
        if let Err(error) = &page
            && let Some(status) = error.status()
        {
            let why = format!("{self} answers {status}: no metrics of Fingerpost are there");
            return Err(failure(Exit::Unavailable, why));
        }
        let page = page.or_exit(Exit::Unavailable, format!("{self} does not answer"))?;
        page.ok_or_else(|| failure(Exit::BadData, format!("{self} is too long for metrics")))
    }

    async fn try_fetch(&self) -> reqwest::Result<Option<String>> {
        // Another part of the process may have chosen it already: the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A server's metrics are near, and no business of a proxy.
        let mut client = Client::builder().timeout(PATIENCE).no_proxy();
        if let Some(path) = &self.socket {
            client = client.unix_socket(path.clone());
        }
        let asking = client.build()?.get(self.url.clone()).send();
        let mut answer = asking.await?.error_for_status()?;
        let mut page = Vec::new();
        while let Some(bytes) = answer.chunk().await? {
            if page.len() + bytes.len() > PAGE_BYTES_MAX {
                return Ok(None);
            }
            page.extend_from_slice(&bytes);
        }
        Ok(Some(String::from_utf8_lossy(&page).into_owned()))
    }
}

const PAGE: &str = "/metrics";
const PATIENCE: Duration = Duration::from_secs(10);
const PAGE_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_url_or_an_address() {
        let check = |text: &str, shown: &str| {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.to_string(), shown);
        };
        check("http://h:9686", "http://h:9686/metrics");
        check("https://h/", "https://h/metrics");
        check("http://me:word@h/own/page", "http://h/own/page");
        check("h:9686", "http://h:9686/metrics");
        check(":9686", "http://127.0.0.1:9686/metrics");
        check("[::1]:9686", "http://[::1]:9686/metrics");
        check("ws://h:8686", "http://h:8686/metrics");
        check("unix:///run/x", "unix:///run/x");
        for wrong in ["", "h", "h:0", "ftp://h"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_an_address_for_metrics_it_is_the_servers_own() {
        let mut config = Config::default();
        let place = |config: &Config| Place::configured(config).map(|place| place.to_string());
        assert_eq!(place(&config).unwrap(), "http://127.0.0.1:9686/metrics");
        config.metrics.bind.0 = None;
        assert_eq!(place(&config).unwrap(), "http://127.0.0.1:8686/metrics");
        config.metrics.everywhere = false;
        assert!(place(&config).is_err());
    }
}
