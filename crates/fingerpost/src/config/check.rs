//! What is checked beyond the types of values.

use std::ops::RangeInclusive;

use fingerpost_hashequiv::namespace::DEFAULT_NAMESPACE;

use super::BadConfig;
use super::tree::Config;

impl Config {
    /// Checks what types cannot: ranges, and keys that depend on each other.
    pub(super) fn check(&self) -> Result<(), BadConfig> {
        let refuse = |text: &str| Err(BadConfig(text.to_owned()));
        self.check_database()?;
        if self.upstream.miss_seconds > MISS_SECONDS_MAX {
            return refuse("upstream.miss_seconds is at most 30");
        }
        if self.upstream.timeout_ms == 0 || self.upstream.timeout_ms > UPSTREAM_TIMEOUT_MS_MAX {
            return refuse("upstream.timeout_ms is 1 to 20000: clients give up after 30 seconds");
        }
        if self.limits.line_bytes < LINE_BYTES_MIN {
            return refuse("limits.line_bytes is at least 65536, since clients send such lines");
        }
        if self.limits.handshake_seconds == 0 {
            return refuse("limits.handshake_seconds is at least 1");
        }
        if self.limits.message_mib == 0 || self.limits.pending_kib == 0 {
            return refuse("limits.message_mib and limits.pending_kib are at least 1");
        }
        if self.limits.message_seconds == 0 || self.limits.write_stall_seconds == 0 {
            return refuse("limits.message_seconds and limits.write_stall_seconds are at least 1");
        }
        if self.server.stop_seconds > STOP_SECONDS_MAX {
            return refuse("server.stop_seconds is at most 5");
        }
        self.accounts.check()?;
        self.check_oidc()?;
        let is_name = |name: &String| {
            let fits =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            !name.is_empty() && name.bytes().all(fits)
        };
        if !self.server.host_names.iter().all(is_name) {
            return refuse("server.host_names are names of hosts, without scheme and port");
        }
        self.check_rates()?;
        self.check_traces()?;
        self.check_redirects()?;
        let minutes = self.hashequiv.lookup_cache_dump_minutes;
        check_range("hashequiv.lookup_cache_dump_minutes", minutes, 0..=1440)?;
        let snapshots = &self.snapshots;
        check_range("snapshots.every_hours", snapshots.every_hours, 0..=8760)?;
        check_range("snapshots.keep", snapshots.keep, 1..=100)?;
        self.check_retention()?;
        self.hg.check()
    }

    fn check_rates(&self) -> Result<(), BadConfig> {
        let rates = &self.rates;
        for (key, number) in [
            ("rates.cheap_per_address", rates.cheap_per_address),
            ("rates.cheap_per_user", rates.cheap_per_user),
            ("rates.reports_per_address", rates.reports_per_address),
            ("rates.reports_per_user", rates.reports_per_user),
            ("rates.dear_per_address", rates.dear_per_address),
            ("rates.dear_per_user", rates.dear_per_user),
            ("rates.bad_logins_per_address", rates.bad_logins_per_address),
        ] {
            check_range(key, number, 0..=RATE_MAX)?;
        }
        check_range("rates.burst_seconds", rates.burst_seconds, 1..=3600)?;
        check_range(
            "rates.reports_at_once",
            rates.reports_at_once,
            1..=NUMBER_MAX,
        )?;
        check_range("rates.dear_at_once", rates.dear_at_once, 1..=NUMBER_MAX)
    }

    fn check_snapshots(&self) -> Result<(), BadConfig> {
        let snapshots = &self.snapshots;
        if snapshots.every_hours > 0 && snapshots.directory.is_none() {
            return Err(BadConfig(
                "snapshots.every_hours needs snapshots.directory".to_owned(),
            ));
        }
        let known = self.namespaces();
        let is_known = |name: &String| {
            name == DEFAULT_NAMESPACE || known.iter().any(|known| known.name == *name)
        };
        match snapshots.namespaces.iter().find(|name| !is_known(name)) {
            None => Ok(()),
            Some(name) => Err(BadConfig(format!(
                "snapshots.namespaces: '{name}' is not configured"
            ))),
        }
    }

    fn check_traces(&self) -> Result<(), BadConfig> {
        let endpoint = &self.traces.endpoint;
        if endpoint.is_empty() {
            return Ok(());
        }
        if !cfg!(feature = "otlp") {
            return Err(BadConfig(
                "traces.endpoint is set, and this program was built without traces \
                 (`cargo build --features otlp`)"
                    .to_owned(),
            ));
        }
        let authority = endpoint.strip_prefix("http://").unwrap_or_default();
        if authority.is_empty() || authority.trim_end_matches('/').contains(['/', '?', '#']) {
            return Err(BadConfig(
                "traces.endpoint is http://HOST:PORT, usually http://127.0.0.1:4318".to_owned(),
            ));
        }
        check_range("traces.one_in", self.traces.one_in, 1..=NUMBER_MAX)
    }

    /// Checks keys that need each other and may come from different places.
    pub(super) fn check_together(&self) -> Result<(), BadConfig> {
        let pairs = [
            (
                "accounts.admin_",
                &self.accounts.admin_username,
                &self.accounts.admin_password,
            ),
            (
                "upstream.",
                &self.upstream.username,
                &self.upstream.password,
            ),
        ];
        for (keys, username, password) in pairs {
            if username.is_some() != password.is_some() {
                let why = format!("{keys}username and {keys}password need each other");
                return Err(BadConfig(why));
            }
        }
        if self.upstream.username.is_some() && self.upstream.address.0.is_none() {
            return Err(BadConfig(
                "upstream.username needs upstream.address".to_owned(),
            ));
        }
        let listeners = self.server.listeners.values();
        let mut proxied = listeners.map(|one| one.proxy_protocol);
        if (self.server.proxy_protocol || proxied.any(|one| one))
            && self.server.trusted_proxies.is_empty()
        {
            return Err(BadConfig(
                "proxy_protocol needs server.trusted_proxies: nobody else may connect".to_owned(),
            ));
        }
        self.check_database_together()?;
        self.check_accounts_together()?;
        self.check_tls_together()?;
        self.check_namespaces()?;
        self.check_snapshots()?;
        self.check_retention_together()?;
        self.check_redirects_together()?;
        self.hg.check_together()
    }
}

/// Refuses a number of `key` that is out of its range.
pub(super) fn check_range(
    key: &str,
    number: u64,
    range: RangeInclusive<u64>,
) -> Result<(), BadConfig> {
    match range.contains(&number) {
        true => Ok(()),
        false => {
            let (least, most) = range.into_inner();
            Err(BadConfig(format!("{key} is {least} to {most}")))
        }
    }
}

/// So that no number overflows when it is turned into bytes or milliseconds.
pub(super) const NUMBER_MAX: u64 = 1_000_000;
const RATE_MAX: u64 = 100_000_000;
const MISS_SECONDS_MAX: u64 = 30;
const UPSTREAM_TIMEOUT_MS_MAX: u64 = 20_000;
const LINE_BYTES_MIN: u64 = 65_536;
const STOP_SECONDS_MAX: u64 = 5;
