//! Issuers of workload tokens: `[[oidc]]`, which there may be several of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fingerpost_accounts::oidc::{Algorithm, BadIssuer, Issuer, IssuerSettings, RuleSettings};

use super::BadConfig;
use super::keys::{Kind, Table, Value, keys};
use super::tree::Config;

keys! {
    /// An issuer.
    Oidc {
        /// The URL that its tokens have as `iss`, exactly. Must be set.
        issuer: String = String::new(), example "\"https://token.actions.githubusercontent.com\"";
        /// What its tokens may have as `aud`: names of this server that no other
        /// service accepts. Must be set.
        audiences: Vec<String> = Vec::new(), example "[\"https://hashes.example.com\"]";
        /// How its tokens may be signed: `RS256`, `RS384`, `RS512`, `PS256`, `PS384`,
        /// `PS512`, `ES256`, `ES384` or `EdDSA`.
        algorithms: Vec<Algorithm> = vec![Algorithm::RS256];
        /// Where its keys are. Without it, its discovery document says so.
        jwks_url: Option<String> = None, example "\"https://ci.example.com/keys\"";
        /// File with certificates of authorities, PEM, that may vouch for it beside
        /// those of the system: for an issuer whose certificate is of an authority
        /// of one's own. Read at the start.
        authority_certificates: Option<PathBuf> = None, example "\"/etc/fingerpost/ca.pem\"";
        /// How far its clock and ours may be apart, in seconds, 300 at most.
        leeway_seconds: u64 = 60;
        /// From `iat` to `exp` its tokens have this at most, in seconds.
        lifetime_seconds_max: u64 = 86_400;
        /// Bytes of a token at most, 32768 at most.
        token_bytes_max: u64 = 8192;
        /// Its keys are fetched again after so many seconds, 30 at least.
        refresh_seconds: u64 = 600;
        /// While it cannot be reached its keys go on for so many seconds.
        keep_keys_seconds: u64 = 86_400;
        /// What its jobs may: the first rule that matches says so. Must be set, in
        /// `[[oidc.rules]]`.
        rules: Vec<Rule> = Vec::new();
    }
}

keys! {
    /// What some jobs of the issuer may.
    Rule {
        /// Claims and what they must be: a text, perhaps with `*` at its end. Dots
        /// lead into objects. Match ids, which are never given again.
        r#match: BTreeMap<String, String> = BTreeMap::new(),
            example "{ repository_id = \"123456789\", event_name = \"push\", ref = \"refs/heads/main\" }";
        /// What they may. Without any: nothing, whatever later rules say.
        permissions: Vec<String> = Vec::new(), example "[\"@read\", \"@report\"]";
        /// The user whom they act for; need not exist. Must be set.
        user: String = String::new(), example "\"github\"";
        /// Namespaces in which the permissions hold. Without it: all.
        namespaces: Option<Vec<String>> = None, example "[\"main\"]";
    }
}

impl Value for Vec<Algorithm> {
    const KIND: Kind = Kind::List;
}

impl Value for Vec<Rule> {
    const KIND: Kind = Kind::Tables(&Table {
        keys: Rule::KEYS,
        defaults: || serde_json::to_value(Rule::default()).expect("a table is plain data"),
    });
}

/// What the list is about.
pub(super) const ABOUT: &[&str] = &[
    " CI systems whose jobs log in with the tokens that they get there: each is an",
    " `[[oidc]]`, and no two have one URL. docs/identity.md has examples.",
];

/// The keys of an issuer.
pub(super) static OIDC: Table = Table {
    keys: Oidc::KEYS,
    defaults: || serde_json::to_value(Oidc::default()).expect("a table is plain data"),
};

impl Oidc {
    /// The issuer, checked.
    pub(crate) fn issuer(&self) -> Result<Issuer, BadIssuer> {
        let rules = self.rules.iter().map(|rule| RuleSettings {
            matching: rule.r#match.clone(),
            permissions: rule.permissions.clone(),
            user: rule.user.clone(),
            namespaces: rule.namespaces.clone(),
        });
        Issuer::new(IssuerSettings {
            issuer: self.issuer.clone(),
            audiences: self.audiences.clone(),
            algorithms: self.algorithms.clone(),
            jwks_url: self.jwks_url.clone(),
            leeway_seconds: self.leeway_seconds,
            lifetime_seconds_max: self.lifetime_seconds_max,
            token_bytes_max: usize::try_from(self.token_bytes_max).unwrap_or(usize::MAX),
            refresh_seconds: self.refresh_seconds,
            keep_keys_seconds: self.keep_keys_seconds,
            rules: rules.collect(),
        })
    }
}

impl Config {
    /// Checks each issuer, and that there is one of each.
    pub(super) fn check_oidc(&self) -> Result<(), BadConfig> {
        for (place, oidc) in self.oidc.iter().enumerate() {
            let number = place + 1;
            let refuse = |key: &str, why: &str| BadConfig(format!("oidc[{number}].{key}: {why}"));
            oidc.issuer().map_err(|bad| refuse(&bad.key, &bad.why))?;
            let mut before = self.oidc[..place].iter();
            if before.any(|other| other.issuer == oidc.issuer) {
                return Err(refuse(
                    "issuer",
                    "there is an [[oidc]] with this URL already",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, why: &str) {
        let config: Config = toml::from_str(text).unwrap();
        let said = config.check().err().map(|bad| bad.to_string());
        let said = said.unwrap_or_default();
        assert!(
            said == why || (!why.is_empty() && said.starts_with(why)),
            "{said}"
        );
    }

    fn issuer(name: &str, lines: &str) -> String {
        format!(
            "[[oidc]]\nissuer = 'https://{name}'\naudiences = ['us']\n{lines}\n\
             [[oidc.rules]]\nmatch = {{ sub = 'a' }}\npermissions = ['@read']\nuser = 'ci'\n"
        )
    }

    #[test]
    fn the_first_thing_that_is_wrong_is_named() {
        let good = issuer("a", "");
        check(&good, "");
        check(&format!("{good}{}", issuer("b", "")), "");
        check(
            &format!("{good}{good}"),
            "oidc[2].issuer: there is an [[oidc]]",
        );
        check("[[oidc]]\n", "oidc[1].issuer: ");
        check(&issuer("a?b", ""), "oidc[1].issuer: ");
        check(
            &issuer("a", "refresh_seconds = 1"),
            "oidc[1].refresh_seconds: ",
        );
        check(&good.replace("'us'", ""), "oidc[1].audiences: ");
        check(
            &good.replace("@read", "@raed"),
            "oidc[1].rules[1].permissions: ",
        );
        check(&good.replace("'a'", "'*a'"), "oidc[1].rules[1].match.sub: ");
        check(
            &good
                .replace(
                    "[[oidc.rules]]",
                    "[[oidc.rules]]\nmatch = { a = 'b' }\nuser = 'x'\n[[oidc.rules]]",
                )
                .replace("'ci'", "''"),
            "oidc[1].rules[2].user: ",
        );
    }

    #[test]
    fn what_is_missing_is_what_the_issuer_takes_for_missing() {
        let text = "issuer = 'https://a'\naudiences = ['us']\nrules = []\n";
        let bare: IssuerSettings = toml::from_str(text).unwrap();
        let ours: Oidc = toml::from_str(text).unwrap();
        assert_eq!(ours.algorithms, bare.algorithms);
        let numbers = (bare.leeway_seconds, bare.lifetime_seconds_max);
        assert_eq!((ours.leeway_seconds, ours.lifetime_seconds_max), numbers);
        let numbers = (bare.refresh_seconds, bare.keep_keys_seconds);
        assert_eq!((ours.refresh_seconds, ours.keep_keys_seconds), numbers);
        assert_eq!(ours.token_bytes_max, bare.token_bytes_max as u64);
    }
}
