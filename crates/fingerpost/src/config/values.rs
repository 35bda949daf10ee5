//! Values that are more than text: they are checked while they are read, so
//! that an error names the line.

use fingerpost_core::{Permission, PermissionSet};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An address to listen on or to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) fingerpost_net::Address);

impl Address {
    /// `127.0.0.1:PORT`.
    pub(crate) fn local(port: u16) -> Self {
        Self(fingerpost_net::Address::Tcp {
            host: fingerpost_net::Host::Name("127.0.0.1".to_owned()),
            port,
        })
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// An address, or none when the text is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MaybeAddress(pub(crate) Option<Address>);

impl<'de> Deserialize<'de> for MaybeAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse()
            .map(|address| Self(Some(Address(address))))
            .map_err(D::Error::custom)
    }
}

impl Serialize for MaybeAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(address) => address.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }
}

/// When a report is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// Once it survives a power cut.
    Full,
    /// Once it survives a crash of the server.
    Relaxed,
}

/// Where proxies are whose word is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProxyNetwork(pub(crate) fingerpost_net::ProxyNetwork);

impl<'de> Deserialize<'de> for ProxyNetwork {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for ProxyNetwork {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The headers that tell of a proxy's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ForwardedBy {
    /// Those that most write.
    XForwarded,
    /// That of RFC 7239.
    Forwarded,
}

/// How far TLS, or the certificate of a client, is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TlsMode {
    /// Not at all.
    Off,
    /// It may be there.
    Optional,
    /// It must be there.
    Required,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V13,
}

/// Who may read and who may write; what is not there is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadWrite {
    /// Who may read and pull.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) read: Option<Vec<String>>,
    /// Who may push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) write: Option<Vec<String>>,
}

/// What clients may do without a login. Never `@user-admin` or `@all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnonymousPermissions(pub(crate) PermissionSet);

impl<'de> Deserialize<'de> for AnonymousPermissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let set =
            PermissionSet::parse_names(names.iter().map(String::as_str)).map_err(|unknown| {
                D::Error::custom(format!(
                    "unknown permission {}; known are @none, @read, @report, @db-admin",
                    unknown.join(", ")
                ))
            })?;
        for refused in [Permission::UserAdmin, Permission::All] {
            if set.contains(refused) {
                return Err(D::Error::custom(format!(
                    "{refused} cannot be given to anonymous clients"
                )));
            }
        }
        Ok(Self(set))
    }
}

impl Serialize for AnonymousPermissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.stored().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_clients_never_administer_users() {
        let parse = |json: &str| serde_json::from_str::<AnonymousPermissions>(json);
        let set = parse(r#"["@read", "@none"]"#).unwrap();
        assert_eq!(set.0.stored(), ["@read"]);
        for refused in ["@user-admin", "@all"] {
            let json = format!("[{refused:?}]");
            let error = parse(&json).unwrap_err().to_string();
            assert!(
                error.contains("cannot be given to anonymous clients"),
                "{error}"
            );
        }
        assert!(
            parse(r#"["@wrong"]"#)
                .unwrap_err()
                .to_string()
                .contains("@wrong")
        );
    }
}
