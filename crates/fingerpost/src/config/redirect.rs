//! Stores of answers and redirect targets: what is checked of them.

use fingerpost_content::UrlSigner;

use super::check::{NUMBER_MAX, check_range};
use super::tables::{ObjectPlace, RedirectTarget};
use super::{BadConfig, Cache, Config, Secret};

/// Stores that are there by themselves.
const OWN_STORES: [&str; 3] = ["memory", "disk", "valkey"];
/// A clone of a large repository over a slow line: a URL outlives it.
const STOCK_LIFETIME_MINUTES_MIN: u64 = 120;
/// What S3 and Google sign for at most, and what our own disk keeps.
const WEEK_MINUTES: u64 = 7 * 24 * 60;

impl Cache {
    /// The stores in the order in which they are asked.
    pub(crate) fn order(&self) -> Vec<String> {
        let is_there = |name: &&str| match *name {
            "memory" => self.memory_mib > 0,
            "disk" => self.disk_directory.is_some(),
            _ => self.valkey_url.is_some(),
        };
        match self.tiers.is_empty() {
            true => {
                let there = OWN_STORES.iter().copied().filter(|name| is_there(name));
                there.map(str::to_owned).collect()
            }
            false => self.tiers.clone(),
        }
    }

    /// Whether the store of this name has its entries compressed.
    pub(crate) fn is_compressed(&self, name: &str) -> bool {
        self.compressed.iter().any(|compressed| compressed == name)
    }

    /// Checks that what is compressed is there.
    fn check_compressed(&self) -> Result<(), BadConfig> {
        let order = self.order();
        for (place, name) in self.compressed.iter().enumerate() {
            let why = match name.as_str() {
                _ if self.compressed[..place].contains(name) => "it is there twice",
                // It may be there for redirects alone.
                "disk" if self.disk_directory.is_some() => continue,
                _ if order.contains(name) => continue,
                _ => "it is none of cache.tiers",
            };
            return Err(BadConfig(format!("cache.compressed: {name}: {why}")));
        }
        Ok(())
    }

    /// Checks keys that need each other.
    fn check_together(&self) -> Result<(), BadConfig> {
        for (place, tier) in self.tiers.iter().enumerate() {
            let why = match tier.as_str() {
                _ if self.tiers[..place].contains(tier) => "it is there twice",
                "memory" if self.memory_mib == 0 => "cache.memory_mib is 0",
                "disk" if self.disk_directory.is_none() => "it needs cache.disk_directory",
                "valkey" if self.valkey_url.is_none() => "it needs cache.valkey_url",
                name if OWN_STORES.contains(&name) || self.objects.contains_key(name) => continue,
                _ => "there is no such store",
            };
            return Err(BadConfig(format!("cache.tiers: {tier}: {why}")));
        }
        self.check_compressed()?;
        let secret = self.secret.as_ref().map(Secret::reveal);
        for (is_shared, key) in [
            (self.valkey_url.is_some(), "cache.valkey_url"),
            (!self.objects.is_empty(), "cache.objects"),
        ] {
            if is_shared && secret.is_none() {
                return Err(BadConfig(format!("{key} needs cache.secret")));
            }
        }
        if secret.is_some_and(|secret| secret.len() < SECRET_BYTES_MIN) {
            return Err(BadConfig("cache.secret has at least 16 bytes".to_owned()));
        }
        Ok(())
    }
}

/// Fewer can be guessed.
const SECRET_BYTES_MIN: usize = 16;

impl Config {
    /// Checks what types cannot, of stores and targets alone.
    pub(super) fn check_redirects(&self) -> Result<(), BadConfig> {
        for (name, place) in &self.cache.objects {
            check_place(name, place)?;
        }
        for (name, target) in &self.redirect.targets {
            check_target(name, target)?;
        }
        let redirect = &self.redirect;
        for (key, number, most) in [
            ("presence_minutes", redirect.presence_minutes, NUMBER_MAX),
            ("probe_ms", redirect.probe_ms, NUMBER_MAX),
            ("probe_failures", redirect.probe_failures, NUMBER_MAX),
            ("answers_at_once", redirect.answers_at_once, ANSWERS_MAX),
        ] {
            check_range(&format!("redirect.{key}"), number, 1..=most)?;
        }
        Ok(())
    }

    /// Checks keys that need each other.
    pub(super) fn check_redirects_together(&self) -> Result<(), BadConfig> {
        self.cache.check_together()?;
        self.check_paths()?;
        for (name, target) in &self.redirect.targets {
            let refuse = |why: String| BadConfig(format!("redirect.targets.{name}{why}"));
            match &target.objects {
                Some(store) => self.check_objects_of(target, store).map_err(refuse)?,
                None => self.check_own().map_err(refuse)?,
            }
            let kept = target
                .deleted_after_days
                .map(|days| days.saturating_mul(24 * 60));
            let wanted = target.lifetime_minutes + self.redirect.presence_minutes;
            if kept.is_some_and(|kept| kept < 2 * wanted) {
                let why = ".deleted_after_days is less than two lifetimes of a URL and \
                           redirect.presence_minutes";
                return Err(refuse(why.to_owned()));
            }
        }
        Ok(())
    }

    /// Checks the store of a target.
    fn check_objects_of(&self, target: &RedirectTarget, store: &str) -> Result<(), String> {
        let Some(place) = self.cache.objects.get(store) else {
            return Err(format!(" has objects {store:?}, which cache.objects lacks"));
        };
        let signs = !target.public && target.stock_clients == Some(true);
        if signs && !signs_for_good(place) {
            let why = " is for stock clients, and its credential may end before a URL does: use a \
                       key";
            return Err(why.to_owned());
        }
        Ok(())
    }

    /// Checks what a target needs that is this server.
    fn check_own(&self) -> Result<(), String> {
        match self.cache.disk_directory {
            Some(_) => Ok(()),
            None => Err(" is this server itself, which needs cache.disk_directory".to_owned()),
        }
    }

    /// Checks that no repository lies where answers are served.
    fn check_paths(&self) -> Result<(), BadConfig> {
        let mut targets = self.redirect.targets.values();
        if targets.all(|target| target.objects.is_some()) {
            return Ok(());
        }
        let repositories = self.hg.repositories.keys();
        let mut paths = repositories.chain(self.hg.collections.keys());
        let is_ours =
            |path: &&String| format!("/{}/", path.trim_matches('/')).starts_with(UrlSigner::PATH);
        match paths.find(is_ours) {
            None => Ok(()),
            Some(path) => Err(BadConfig(format!(
                "hg.repositories and hg.collections cannot have the path {path}: answers that \
                 clients are redirected to are there"
            ))),
        }
    }
}

/// Each has a connection and up to 512 KiB.
const ANSWERS_MAX: u64 = 100_000;

fn check_place(name: &str, place: &ObjectPlace) -> Result<(), BadConfig> {
    let refuse = |why: &str| Err(BadConfig(format!("cache.objects.{name} {why}")));
    if OWN_STORES.contains(&name) {
        return refuse("has a name that stands for another store");
    }
    if !place.url.contains("://") {
        return refuse("needs a url, s3://BUCKET for example");
    }
    Ok(())
}

/// Whether what signs URLs of this place is known not to end: a key, and none that
/// a role gave for some hours.
fn signs_for_good(place: &ObjectPlace) -> bool {
    let has = |names: &[&str]| {
        let mut options = place.options.keys().chain(place.option_files.keys());
        options.any(|option| names.contains(&option.to_ascii_lowercase().as_str()))
    };
    match place.url.split("://").next() {
        Some("s3") => {
            has(&["aws_access_key_id", "access_key_id"])
                && !has(&["aws_session_token", "aws_token", "session_token", "token"])
        }
        Some("gs") => has(&[
            "google_service_account",
            "service_account",
            "google_service_account_path",
            "service_account_path",
            "google_service_account_key",
            "service_account_key",
        ]),
        Some("az") => has(&[
            "azure_storage_account_key",
            "azure_storage_access_key",
            "azure_storage_master_key",
            "account_key",
            "access_key",
            "master_key",
        ]),
        _ => true,
    }
}

fn check_target(name: &str, target: &RedirectTarget) -> Result<(), BadConfig> {
    let path = format!("redirect.targets.{name}");
    let refuse = |why: &str| Err(BadConfig(format!("{path}{why}")));
    let Some(stock_clients) = target.stock_clients else {
        return refuse(" must say whether it is for stock_clients: they abort when it fails");
    };
    if target.public && (target.objects.is_none() || target.url.is_none()) {
        return refuse(".public needs objects and url");
    }
    if target.url.is_some() != (target.objects.is_none() || target.public) {
        return refuse(" needs either url, or objects, or both and public");
    }
    let least = if stock_clients {
        STOCK_LIFETIME_MINUTES_MIN
    } else {
        2
    };
    // A URL is the same one for a while: signed for twice as long, or good for half
    // as long again.
    let most = match target.objects {
        Some(_) => WEEK_MINUTES / 2,
        None => WEEK_MINUTES / 3 * 2,
    };
    check_range(
        &format!("{path}.lifetime_minutes"),
        target.lifetime_minutes,
        least..=most,
    )?;
    if target.mib_max == 0 || target.mib_max > NUMBER_MAX || target.kib_min > NUMBER_MAX {
        return refuse(".mib_max is 1 to 1000000, and kib_min at most that");
    }
    for network in &target.networks {
        if network.parse::<ipnet::IpNet>().is_err() {
            return refuse(&format!(
                ".networks: {network} is no network, 10.0.0.0/8 is one"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, why: &str) {
        let config: Config = toml::from_str(text).unwrap();
        let checked = config.check().and_then(|()| config.check_together());
        let said = checked
            .err()
            .map_or_else(String::new, |bad| bad.to_string());
        assert_eq!(said, why, "{text}");
    }

    #[test]
    fn stores_are_named_and_configured() {
        let object = "secret = 'long enough for this'\n[cache.objects.s3]\nurl = 's3://b'\n";
        check("[cache]\ntiers = ['memory']\n", "");
        check(&format!("[cache]\ntiers = ['memory', 's3']\n{object}"), "");
        for (tiers, why) in [
            ("'disk'", "disk: it needs cache.disk_directory"),
            ("'valkey'", "valkey: it needs cache.valkey_url"),
            ("'memory', 'memory'", "memory: it is there twice"),
            ("'tape'", "tape: there is no such store"),
        ] {
            let text = format!("[cache]\ntiers = [{tiers}]\n");
            check(&text, &format!("cache.tiers: {why}"));
        }
        let place = "[cache.objects.s3]\nurl = 's3://b'\n";
        check(place, "cache.objects needs cache.secret");
        check(
            "[cache.objects.disk]\n",
            "cache.objects.disk has a name that stands for another store",
        );
        check(
            "[cache.objects.a]\n",
            "cache.objects.a needs a url, s3://BUCKET for example",
        );
    }

    #[test]
    fn what_is_compressed_is_one_of_the_stores() {
        let directory = "disk_directory = '/x'\n";
        for (lines, compressed, why) in [
            ("", "'memory'", ""),
            (directory, "'disk', 'memory'", ""),
            ("tiers = ['memory']\ndisk_directory = '/x'\n", "'disk'", ""),
            ("", "'disk'", "disk: it is none of cache.tiers"),
            (directory, "'valkey'", "valkey: it is none of cache.tiers"),
            (directory, "'disk', 'disk'", "disk: it is there twice"),
            (
                "tiers = ['memory']\n",
                "'tape'",
                "tape: it is none of cache.tiers",
            ),
        ] {
            let why = match why {
                "" => String::new(),
                why => format!("cache.compressed: {why}"),
            };
            let text = format!("[cache]\n{lines}compressed = [{compressed}]\n");
            check(&text, &why);
        }
    }

    #[test]
    fn targets_say_whom_they_are_for_and_where() {
        let own = |lines: &str| {
            format!(
                "[cache]\ndisk_directory = '/x'\n[redirect.targets.t]\nurl = 'http://us'\n{lines}\n"
            )
        };
        check(&own("stock_clients = true"), "");
        check(
            &own(""),
            "redirect.targets.t must say whether it is for stock_clients: they abort when it fails",
        );
        for (line, why) in [
            ("public = true", ".public needs objects and url"),
            (
                "objects = 's3'",
                " needs either url, or objects, or both and public",
            ),
            ("lifetime_minutes = 119", ".lifetime_minutes is 120 to 6720"),
            (
                "networks = ['x']",
                ".networks: x is no network, 10.0.0.0/8 is one",
            ),
            (
                "mib_max = 0",
                ".mib_max is 1 to 1000000, and kib_min at most that",
            ),
        ] {
            let text = own(&format!("stock_clients = true\n{line}"));
            check(&text, &format!("redirect.targets.t{why}"));
        }
        check(
            &format!(
                "[hg.repositories]\n'content/x' = '/y'\n{}",
                own("stock_clients = true")
            ),
            "hg.repositories and hg.collections cannot have the path content/x: answers that \
             clients are redirected to are there",
        );
        check(
            &own("stock_clients = true\ndeleted_after_days = 1"),
            "redirect.targets.t.deleted_after_days is less than two lifetimes of a URL and redirect.presence_minutes",
        );
        check(
            "[redirect.targets.t]\nstock_clients = false\nurl = 'http://us'\n",
            "redirect.targets.t is this server itself, which needs cache.disk_directory",
        );
        let signed = |options: &str| {
            format!(
                "[cache]\nsecret = 'long enough for this'\n[cache.objects.s]\nurl = 's3://b'\n\
                 options = {{ {options} }}\n[redirect.targets.t]\nstock_clients = true\nobjects = 's'\n"
            )
        };
        let key = "aws_access_key_id = 'a', aws_secret_access_key = 'b'";
        check(&signed(key), "");
        let why = "redirect.targets.t is for stock clients, and its credential may end before a URL \
                   does: use a key";
        check(&signed(""), why);
        check(&signed(&format!("{key}, aws_session_token = 'c'")), why);
        for number in [0, 100_001] {
            check(
                &format!("[redirect]\nanswers_at_once = {number}\n"),
                "redirect.answers_at_once is 1 to 100000",
            );
        }
        check(
            "[redirect.targets.t]\nstock_clients = false\nobjects = 's3'\n",
            "redirect.targets.t has objects \"s3\", which cache.objects lacks",
        );
    }
}
