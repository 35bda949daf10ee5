//! The section `[hg]`: its checks, and what it says about repositories.

use std::collections::BTreeMap;

use fingerpost_hg::site::{OwnRules, SiteConfig, TrustPolicy};

use super::BadConfig;
use super::check::{NUMBER_MAX, check_range};
use super::tree::Hg;

impl Hg {
    /// Checks what types cannot: ranges, names, and keys that need each other.
    pub(super) fn check(&self) -> Result<(), BadConfig> {
        let refuse = |text: &str| Err(BadConfig(text.to_owned()));
        check_range(
            "hg.compression_level",
            self.compression_level,
            1..=COMPRESSION_LEVEL_MAX,
        )?;
        let at_least_one = [
            ("body_mib", self.body_mib),
            ("answers_at_once", self.answers_at_once),
            ("wait_seconds", self.wait_seconds),
            ("answer_seconds", self.answer_seconds),
            ("request_mib", self.request_mib),
            ("text_mib", self.text_mib),
            ("verified_mib", self.verified_mib),
            ("open_repositories", self.open_repositories),
            ("idle_seconds", self.idle_seconds),
            ("pushkey_seconds", self.pushkey_seconds),
        ];
        for (key, number) in at_least_one {
            check_range(&format!("hg.{key}"), number, 1..=NUMBER_MAX)?;
        }
        if self.hg_program.as_ref().is_some_and(|hg| !hg.is_absolute()) {
            return refuse("hg.hg_program is a full path, from the root");
        }
        if !self.fallback_url.as_deref().is_none_or(is_printable_url) {
            return refuse("hg.fallback_url is a URL in one line");
        }
        self.site(BTreeMap::new())
            .check()
            .map_err(|bad| BadConfig(bad.to_string()))
    }

    /// Checks keys that may come from different places.
    pub(super) fn check_together(&self) -> Result<(), BadConfig> {
        if self.pushkey && self.hg_program.is_none() {
            return Err(BadConfig("hg.pushkey needs hg.hg_program".to_owned()));
        }
        Ok(())
    }

    /// Which repositories are served where and to whom. `environment` is for
    /// includes in Mercurial's own files.
    pub(crate) fn site(&self, environment: BTreeMap<String, String>) -> SiteConfig {
        let rules = self.rules.iter().map(|(name, rules)| {
            let rules = OwnRules {
                read: rules.read.clone(),
                write: rules.write.clone(),
            };
            (name.clone(), rules)
        });
        SiteConfig {
            prefix: self.prefix.clone(),
            hgweb_config: self.hgweb_config.clone(),
            hgrc: self.hgrc.clone(),
            repositories: self.repositories.clone(),
            collections: self.collections.clone(),
            rules: rules.collect(),
            trusted_users: self.trusted_users.clone(),
            trusted_groups: self.trusted_groups.clone(),
            follow_symlinks: self.follow_symlinks,
            environment,
            ..SiteConfig::new(TrustPolicy::of_this_process())
        }
    }

    /// Whether anything is to be served.
    pub(crate) fn is_used(&self) -> bool {
        self.hgweb_config.is_some() || !self.repositories.is_empty() || !self.collections.is_empty()
    }
}

const COMPRESSION_LEVEL_MAX: u64 = 19;

/// Whether clients can be told of a URL in one line.
pub(crate) fn is_printable_url(url: &str) -> bool {
    !url.is_empty() && !url.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn refusal(text: &str) -> String {
        let config: Config = toml::from_str(text).unwrap();
        let checked = config.check().and_then(|()| config.check_together());
        checked.unwrap_err().to_string()
    }

    #[test]
    fn ranges_are_checked_by_name() {
        for (line, why) in [
            ("compression_level = 0", "hg.compression_level is 1 to 19"),
            ("compression_level = 20", "hg.compression_level is 1 to 19"),
            ("body_mib = 0", "hg.body_mib is 1 to 1000000"),
            ("text_mib = 1000001", "hg.text_mib is 1 to 1000000"),
            (
                "hg_program = 'hg'",
                "hg.hg_program is a full path, from the root",
            ),
            (
                "fallback_url = \"a\\nb\"",
                "hg.fallback_url is a URL in one line",
            ),
            ("pushkey = true", "hg.pushkey needs hg.hg_program"),
            ("prefix = 'a//b'", "hg.prefix has an empty component"),
        ] {
            assert_eq!(refusal(&format!("[hg]\n{line}\n")), why);
        }
    }

    #[test]
    fn names_are_checked_before_anything_is_opened() {
        let twice = refusal("[hg.repositories]\na = '/x'\n'/a' = '/y'\n");
        assert!(
            twice.starts_with("hg.repositories.a: a repository of this name"),
            "{twice}"
        );
        let rule = refusal("[hg.rules]\na = {}\n");
        assert_eq!(rule, "hg.rules.a is for a repository that nothing names");
        let trusted = refusal("[hg]\ntrusted_users = ['no such user']\n");
        assert!(
            trusted.starts_with("hg.trusted_users: no such user is neither"),
            "{trusted}"
        );
    }

    #[test]
    fn rules_and_places_reach_the_site() {
        let text = "[hg]\nprefix = '/hg'\n[hg.repositories]\na = '/x'\n[hg.collections]\nb = '/y'\n\
                    [hg.rules]\n'b/c' = { read = ['alice'] }\n";
        let config: Config = toml::from_str(text).unwrap();
        let site = config.hg.site(BTreeMap::new());
        assert!(config.hg.is_used() && !Config::default().hg.is_used());
        assert_eq!(
            site.rules["b/c"].read.as_deref(),
            Some(&["alice".to_owned()][..])
        );
        assert_eq!((site.repositories.len(), site.collections.len()), (1, 1));
        site.check().unwrap();
    }
}
