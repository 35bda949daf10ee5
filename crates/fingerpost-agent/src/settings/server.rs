//! Which servers an agent asks, and as whom.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::str::FromStr;

use fingerpost_hashequiv_client::http::{
    ClientCertificate, HttpCredential, HttpOptions, OidcSource, ServerUrl,
};
use fingerpost_hashequiv_client::{ClientOptions, Credentials};
use fingerpost_net::{Address, ParseAddressError};
use fingerpost_program::exit::{Exit, OrExit as _, failure};
use fingerpost_program::secret::Secret;
use fingerpost_signatures::Policy;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Settings;
use crate::server::{is_namespace, within};

/// A server that an agent asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerAddress {
    /// Any hash equivalence server, over BitBake's protocol.
    Native(Address),
    /// One of Fingerpost's, over HTTP.
    Http(ServerUrl),
}

/// Where a job finds what its CI system says about it, as an operator writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Oidc(OidcSource);

/// One server by whichever protocol, or several by HTTP.
pub(crate) struct Servers {
    /// For what builds ask as themselves.
    pub(crate) native: ClientOptions,
    pub(crate) http: Option<HttpOptions>,
}

impl Settings {
    /// Which servers are asked.
    ///
    /// # Errors
    ///
    /// There is none; several are not all of HTTP; what is shown to them contradicts itself.
    pub(super) fn servers(&self) -> anyhow::Result<Servers> {
        let servers = self.server.as_deref().unwrap_or_default();
        let Some(first) = servers.first() else {
            let why = "which server? fingerpost agent --server ADDR, as BB_HASHSERVE would name \
                       it or as https://HOST";
            return Err(wrong(why));
        };
        let urls = servers.iter().map(|server| match server {
            ServerAddress::Http(url) => Some(url.clone()),
            ServerAddress::Native(_) => None,
        });
        let urls: Option<Vec<_>> = urls.collect();
        if urls.is_none() && servers.len() > 1 {
            return Err(wrong("several servers are asked only over https://"));
        }
        let mut native = ClientOptions::to(first.native()?);
        native.credentials = self.credentials()?;
        if let Some(namespace) = &self.namespace {
            if !is_namespace(namespace) {
                return Err(wrong(&format!(
                    "namespace is {namespace:?}, and names of namespaces are letters, digits, \
                     - _ and ."
                )));
            }
            native.address = Self::in_namespace(native.address, namespace)?;
        }
        let http = match urls {
            Some(urls) => Some(self.http(urls, native.credentials.clone())?),
            None => {
                self.refuse_what_needs_http()?;
                None
            }
        };
        Ok(Servers { native, http })
    }

    fn http(
        &self,
        urls: Vec<ServerUrl>,
        login: Option<Credentials>,
    ) -> anyhow::Result<HttpOptions> {
        let named = urls.iter().filter_map(ServerUrl::namespace);
        let is_other = |named: &&str| self.namespace.as_deref().is_some_and(|own| own != *named);
        if let Some(named) = named.into_iter().find(is_other) {
            return Err(wrong(&format!(
                "the server's URL names the namespace {named:?} already: leave one of both out"
            )));
        }
        let exposed = urls.iter().find(|url| url.is_exposed()).cloned();
        let mut http = HttpOptions::to(urls);
        http.namespace.clone_from(&self.namespace);
        http.credential = match (login, &self.token_file, &self.oidc) {
            (None, None, None) => HttpCredential::None,
            (Some(Credentials { username, token }), None, None) => {
                HttpCredential::Basic { username, token }
            }
            (None, Some(file), None) => HttpCredential::BearerFile(file.clone()),
            (None, None, Some(Oidc(source))) => HttpCredential::Oidc(source.clone()),
            _ => return Err(wrong("one of username, token_file and oidc is enough")),
        };
        if let (Some(url), false) = (exposed, matches!(http.credential, HttpCredential::None)) {
            return Err(wrong(&format!(
                "what is shown to {url} could be read on the way: write https://"
            )));
        }
        http.client_certificate = match (&self.client_certificate, &self.client_key) {
            (None, None) => None,
            (Some(chain), Some(key)) => Some(ClientCertificate {
                chain: chain.clone(),
                key: key.clone(),
            }),
            _ => return Err(wrong("client_certificate and client_key need each other")),
        };
        Ok(http)
    }

    /// What a login is read from that cannot be read now, in sentences for the start of an
    /// agent. A file may come later. Opens files.
    pub(crate) fn missing_logins(&self) -> Vec<String> {
        let oidc = self.oidc.as_ref().map(|Oidc(source)| source);
        let of_oidc = match oidc {
            Some(OidcSource::File(file)) => Some(file),
            _ => None,
        };
        let files = [
            ("token_file", self.token_file.as_ref()),
            ("oidc", of_oidc),
            ("client_certificate", self.client_certificate.as_ref()),
            ("client_key", self.client_key.as_ref()),
        ];
        let unread = files.into_iter().filter_map(|(name, file)| {
            let (file, error) = (file?, File::open(file?).err()?);
            let file = file.display();
            Some(format!(
                "{name} {file}: {error}; until it can be read {UNANSWERED}"
            ))
        });
        let variable = match oidc {
            Some(OidcSource::Environment(name)) => {
                Some(name).filter(|name| std::env::var_os(name).is_none())
            }
            _ => None,
        };
        let unset = variable.map(|name| format!("oidc: there is no variable {name}: {UNANSWERED}"));
        unread.chain(unset).collect()
    }

    /// What BitBake's protocol has no place for must not be thought to be in effect.
    fn refuse_what_needs_http(&self) -> anyhow::Result<()> {
        let set = [
            ("token_file", self.token_file.is_some()),
            ("oidc", self.oidc.is_some()),
            ("client_certificate", self.client_certificate.is_some()),
            ("client_key", self.client_key.is_some()),
            ("publishers", self.publishers.is_some()),
            (
                "signatures",
                self.signatures.is_some_and(|policy| policy != Policy::Off),
            ),
            ("sign_with", self.sign_with.is_some()),
        ];
        match set.iter().find(|(_, is_set)| *is_set) {
            Some((name, _)) => Err(wrong(&format!(
                "{name} needs a server over HTTP: write https://HOST"
            ))),
            None => Ok(()),
        }
    }

    fn in_namespace(address: Address, namespace: &str) -> anyhow::Result<Address> {
        if !address.is_websocket() {
            return Err(wrong(&format!(
                "the namespace {namespace} can be asked for over HTTP and by WebSocket: write \
                 https://HOST or wss://HOST in place of {address}"
            )));
        }
        Ok(within(address, namespace))
    }

    fn credentials(&self) -> anyhow::Result<Option<Credentials>> {
        match (&self.username, &self.password_file) {
            (None, None) => Ok(None),
            (Some(username), Some(file)) => Ok(Some(Credentials {
                username: username.clone(),
                token: secret(file)?,
            })),
            _ => Err(wrong("username and password_file need each other")),
        }
    }
}

/// What comes of a login that is missing.
const UNANSWERED: &str = "the server answers nothing, and reports wait";

fn secret(file: &Path) -> anyhow::Result<String> {
    let failed = format!("password_file: cannot read {}", file.display());
    let token = Secret::read(file).or_exit(Exit::Configuration, failed)?;
    Ok(token.reveal().to_owned())
}

fn wrong(why: &str) -> anyhow::Error {
    failure(Exit::Configuration, why)
}

impl ServerAddress {
    /// Where BitBake's protocol is spoken: by WebSocket on the port of HTTP.
    pub(crate) fn native(&self) -> anyhow::Result<Address> {
        match self {
            Self::Native(address) => Ok(address.clone()),
            Self::Http(url) => {
                let text = url.to_string();
                // http:// becomes ws://, https:// becomes wss://.
                let text = text.replacen("http", "ws", 1);
                let odd = || format!("{url} cannot be asked by WebSocket");
                text.parse().map_err(|_| wrong(&odd()))
            }
        }
    }
}

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_http = text.starts_with("https://") || text.starts_with("http://");
        match is_http {
            true => text.parse().map(Self::Http).map_err(say),
            false => text.parse().map(Self::Native).map_err(|error| match error {
                ParseAddressError::Form(_) => format!(
                    "`{text}` names no server; expected https://HOST[:PORT], HOST:PORT, \
                     ws://HOST[:PORT] or unix://PATH"
                ),
                error => say(error),
            }),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native(address) => address.fmt(f),
            Self::Http(url) => url.fmt(f),
        }
    }
}

impl FromStr for Oidc {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let source = match (kind, rest) {
            ("github", audience) if !audience.is_empty() => OidcSource::GithubActions {
                audience: audience.to_owned(),
            },
            ("env", name) if !name.is_empty() => OidcSource::Environment(name.to_owned()),
            ("file", path) if !path.is_empty() => OidcSource::File(path.into()),
            _ => return Err("expected github:AUDIENCE, env:VARIABLE or file:PATH".to_owned()),
        };
        Ok(Self(source))
    }
}

fn say(error: impl fmt::Display) -> String {
    error.to_string()
}

impl<'de> Deserialize<'de> for Oidc {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A server, or a list of them.
pub(super) fn servers<'de, D>(from: D) -> Result<Option<Vec<ServerAddress>>, D::Error>
where
    D: Deserializer<'de>,
{
    struct OneOrMany;

    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<ServerAddress>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the address of a server, or a list of them")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![text.parse().map_err(E::custom)?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut servers = Vec::new();
            while let Some(text) = list.next_element::<String>()? {
                servers.push(text.parse().map_err(serde::de::Error::custom)?);
            }
            Ok(servers)
        }
    }

    from.deserialize_any(OneOrMany).map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{flags, options, refusal};

    #[test]
    fn servers_of_http_are_asked_by_websocket_for_what_builds_ask_as_themselves() {
        let check = |words: &[&str], native: &str, urls: &[&str], namespace: Option<&str>| {
            let options = options(&flags(words)).unwrap();
            assert_eq!(options.server.address.to_string(), native);
            let http = options.http.unwrap();
            let found: Vec<_> = http.urls.iter().map(ToString::to_string).collect();
            assert_eq!(found, urls);
            assert_eq!(http.namespace.as_deref(), namespace);
        };
        let one = ["--server", "https://h"];
        check(&one, "wss://h:443", &["https://h"], None);
        let two = ["--server", "http://h:80/x,https://i", "--namespace", "main"];
        let native = "ws://h:80/x/ns/main";
        check(&two, native, &["http://h/x", "https://i"], Some("main"));
    }

    #[test]
    fn a_login_that_is_not_there_yet_is_named() {
        let there = tempfile::NamedTempFile::new().unwrap();
        let path = there.path().to_str().unwrap();
        let missing = |words: &[&str]| {
            let https = ["--server", "https://h"];
            flags(&[&https[..], words].concat()).missing_logins()
        };
        assert!(missing(&["--token-file", path]).is_empty());
        let both = ["--client-certificate", "/nope/c", "--client-key", path];
        for (words, name) in [
            (&["--token-file", "/nope/t"][..], "token_file /nope/t: "),
            (&both, "client_certificate /nope/c: "),
            (&["--oidc", "file:/nope/o"], "oidc /nope/o: "),
            (
                &["--oidc", "env:FINGERPOST_NOPE"],
                "no variable FINGERPOST_NOPE",
            ),
        ] {
            let told = missing(words);
            assert!(told.len() == 1 && told[0].contains(name), "{told:?}");
        }
    }

    #[test]
    fn what_is_no_server_is_told_with_the_forms_of_one() {
        for text in ["hashes.example.com", "ftp://h", "/run/x.sock"] {
            let told = text.parse::<super::ServerAddress>().unwrap_err();
            assert!(told.contains("https://HOST[:PORT], HOST:PORT"), "{told}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let check = |words: &[&str], expect: &str| {
            let said = refusal(&flags(words));
            assert!(said.contains(expect), "{said}");
        };
        check(&["--server", "h:1,https://i"], "asked only over https://");
        let https = ["--server", "https://h"];
        let with = |more: &[&'static str]| [&https[..], more].concat();
        check(&with(&["--client-key", "/k"]), "need each other");
        check(
            &with(&["--token-file", "/t", "--oidc", "env:X"]),
            "is enough",
        );
        let plain = ["--server", "http://h", "--token-file", "/t"];
        check(&plain, "could be read on the way");
        check(&with(&["--namespace", "a/b"]), "names of namespaces are");
        let twice = ["--server", "https://h/ns/a", "--namespace", "b"];
        check(&twice, "names the namespace \"a\" already");
        let line = ["--server", "h:1"];
        let with = |more: &[&'static str]| [&line[..], more].concat();
        check(
            &with(&["--token-file", "/t"]),
            "token_file needs a server over HTTP",
        );
        check(
            &with(&["--signatures", "require"]),
            "signatures needs a server over HTTP",
        );
        check(
            &with(&["--namespace", "main"]),
            "write https://HOST or wss://HOST",
        );
    }
}
