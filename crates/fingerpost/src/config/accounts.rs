//! Accounts: what is checked of their keys.

use super::BadConfig;
use super::tree::{Accounts, Config};

/// What the names of certificates begin with.
const KINDS: [&str; 4] = ["uri:", "email:", "dns:", "cn:"];

impl Accounts {
    /// Checks what types cannot.
    pub(super) fn check(&self) -> Result<(), BadConfig> {
        for (name, user) in &self.certificates {
            let refuse = |why: &str| Err(BadConfig(format!("accounts.certificates.{name}{why}")));
            let has_kind = KINDS.iter().any(|kind| {
                let rest = name.strip_prefix(kind);
                rest.is_some_and(|rest| !rest.is_empty())
            });
            if !has_kind {
                return refuse(
                    " is no name of a certificate: uri:..., email:..., dns:... or cn:...",
                );
            }
            if user.is_empty() {
                return refuse(" names no user");
            }
        }
        Ok(())
    }
}

impl Config {
    /// Checks keys that need each other.
    pub(super) fn check_accounts_together(&self) -> Result<(), BadConfig> {
        match self.accounts.certificates.is_empty() || self.tls.client_ca.is_some() {
            true => Ok(()),
            false => Err(BadConfig(
                "accounts.certificates needs tls.client_ca".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn check(text: &str, why: &str) {
        let config: Config = toml::from_str(text).unwrap();
        let checked = config.check().and_then(|()| config.check_together());
        let said = checked.err().map(|bad| bad.to_string()).unwrap_or_default();
        assert_eq!(said, why, "{text}");
    }

    #[test]
    fn certificates_have_names_and_an_authority() {
        let table = |line: &str| {
            format!(
                "[tls]\ncertificate = 'c'\nkey = 'k'\nclient_certificates = 'optional'\n\
                 client_ca = 'ca'\n[accounts.certificates]\n{line}\n"
            )
        };
        check(&table("'dns:a.example' = 'ci'\n'cn:x y' = 'ann'"), "");
        check(
            &table("'a.example' = 'ci'"),
            "accounts.certificates.a.example is no name of a certificate: uri:..., email:..., \
             dns:... or cn:...",
        );
        check(
            &table("'dns:a' = ''"),
            "accounts.certificates.dns:a names no user",
        );
        check(
            "[accounts.certificates]\n'dns:a' = 'ci'\n",
            "accounts.certificates needs tls.client_ca",
        );
    }
}
