//! TLS: what is checked of its keys together, and what the net makes of them.

use fingerpost_net::{ClientCertificates, TlsOptions};

use super::tree::{Config, Tls};
use super::{BadConfig, TlsMode, TlsVersion};

impl Tls {
    /// The files and what is asked of clients; `None` without a certificate.
    pub(crate) fn options(&self) -> Option<TlsOptions> {
        let (certificate, key) = self.certificate.as_ref().zip(self.key.as_ref())?;
        let clients = match (self.client_certificates, &self.client_ca) {
            (TlsMode::Off, _) | (_, None) => ClientCertificates::Off,
            (TlsMode::Optional, Some(file)) => ClientCertificates::Optional(file.clone()),
            (TlsMode::Required, Some(file)) => ClientCertificates::Required(file.clone()),
        };
        Some(TlsOptions {
            clients,
            version_min: match self.version_min {
                TlsVersion::V12 => fingerpost_net::TlsVersion::V12,
                TlsVersion::V13 => fingerpost_net::TlsVersion::V13,
            },
            ..TlsOptions::new(certificate, key)
        })
    }
}

impl Config {
    /// Checks keys that need each other. What is in the files is checked where
    /// they are used.
    pub(super) fn check_tls_together(&self) -> Result<(), BadConfig> {
        let refuse = |why: &str| Err(BadConfig(why.to_owned()));
        let tls = &self.tls;
        if tls.certificate.is_some() != tls.key.is_some() {
            return refuse("tls.certificate and tls.key need each other");
        }
        if (tls.client_certificates == TlsMode::Off) != tls.client_ca.is_none() {
            return refuse(
                "tls.client_ca and tls.client_certificates = \"optional\" or \"required\" need \
                 each other",
            );
        }
        if tls.client_ca.is_some() && tls.certificate.is_none() {
            return refuse("tls.client_ca needs tls.certificate");
        }
        let further = self.server.listeners.iter();
        for (name, listener) in further.clone() {
            if listener.bind.is_empty() {
                let why = format!("server.listeners.{name}.bind names no address to listen on");
                return Err(BadConfig(why));
            }
        }
        let further = further.map(|(name, table)| (format!("server.listeners.{name}"), table.tls));
        let asked = |mode| matches!(mode, Some(TlsMode::Optional | TlsMode::Required));
        let mut all = std::iter::once(("server".to_owned(), self.server.tls)).chain(further);
        match all.find(|(_, mode)| asked(*mode)) {
            Some((place, _)) if tls.certificate.is_none() => Err(BadConfig(format!(
                "{place}.tls needs tls.certificate and tls.key"
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: &str = "[tls]\ncertificate = 'c'\nkey = 'k'\n";

    fn check(text: &str) -> Result<Option<TlsOptions>, String> {
        let config: Config = toml::from_str(text).unwrap();
        let checked = config.check_tls_together();
        checked.map_err(|error| error.to_string())?;
        Ok(config.tls.options())
    }

    #[test]
    fn without_a_certificate_there_is_no_tls() {
        assert!(check("[server]\ntls = 'off'").unwrap().is_none());
        let refused = check("[server]\ntls = 'optional'").unwrap_err();
        assert_eq!(refused, "server.tls needs tls.certificate and tls.key");
        let refused = check("[server.listeners.x]\nbind = [':1']\ntls = 'required'").unwrap_err();
        assert!(
            refused.starts_with("server.listeners.x.tls needs "),
            "{refused}"
        );
        assert!(check("[tls]\nkey = 'k'").is_err());
    }

    #[test]
    fn authorities_of_clients_are_there_when_they_are_asked() {
        assert!(check(&format!("{PAIR}client_certificates = 'optional'")).is_err());
        assert!(check(&format!("{PAIR}client_ca = 'ca'")).is_err());
        let both = format!("{PAIR}client_certificates = 'required'\nclient_ca = 'ca'\n");
        let options = check(&both).unwrap().unwrap();
        assert_eq!(options.clients, ClientCertificates::Required("ca".into()));
    }

    #[test]
    fn a_further_listener_has_an_address() {
        let refused = check("[server.listeners.plain]\ntls = 'off'").unwrap_err();
        assert!(refused.contains("server.listeners.plain.bind"), "{refused}");
    }

    #[test]
    fn versions_are_texts() {
        let options = check(&format!("{PAIR}version_min = '1.3'")).unwrap();
        assert_eq!(
            options.unwrap().version_min,
            fingerpost_net::TlsVersion::V13
        );
        assert!(toml::from_str::<Config>("[tls]\nversion_min = '1.1'").is_err());
    }
}
