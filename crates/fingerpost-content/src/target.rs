//! A place that answers may be redirected to, as it is configured.

use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{
    Audience, CacherError, Certificates, Clock, Content, ContentCoding, EntryForm, Follower,
    RedirectTarget, SecretUrl, Timestamp,
};
use ipnet::IpNet;

use crate::{ObjectStore, OnDisk, Presigner, PublicBase, UrlSigner};

/// A redirect target and for whom it is.
#[derive(Clone, Debug)]
pub struct Target {
    /// What clients are told of it.
    pub advertised: RedirectTarget,
    /// Peers that can reach it; none named: all.
    pub networks: Vec<IpNet>,
    /// Targets with a lower one come first; those with the same in the order
    /// they are configured in.
    pub priority: u32,
    /// That anybody may see what lies there is meant, not an accident. A place
    /// without signatures is refused unless it says so.
    pub public: bool,
    /// Whether stock clients are sent there. They fail for good if the target
    /// does: they never ask again without a redirect.
    pub stock_clients: bool,
    /// Bytes of the shortest answer that is worth a redirect, without a coding.
    pub entry_bytes_min: u64,
    /// Bytes of the longest answer that it has, without a coding.
    pub entry_bytes_max: u64,
    /// The age from which what lies there does not count as being there: before
    /// something deletes it, with time for the URLs that were handed out. It is
    /// put again then. For a target with an object store.
    pub age_max: Option<Duration>,
    /// Its certificates, for clients that do not trust it anyway.
    pub certificates: Certificates,
    /// The place itself.
    pub place: Where,
    /// How it is found out whether it works.
    pub probe: Probe,
}

/// Where the answers of a target lie.
#[derive(Clone, Debug)]
pub enum Where {
    /// In an object store, by signed URLs.
    Presigned {
        /// Where answers are uploaded and looked for.
        store: Arc<ObjectStore>,
        /// Signs for that store.
        presigner: Arc<Presigner>,
    },
    /// In an object store that anybody may read, or a network before one. It
    /// takes what an anonymous caller of ours may see, and nothing else.
    Public {
        /// Where answers are uploaded and looked for.
        store: Arc<ObjectStore>,
        /// Where clients fetch them.
        base: PublicBase,
    },
    /// At our own content endpoint, by URLs that we sign, out of our store on
    /// disk.
    Own(Own),
}

/// Our own content endpoint.
#[derive(Clone)]
pub struct Own {
    /// Where clients reach this server: `https://fingerpost:8686`.
    pub base: PublicBase,
    /// Signs, and checks when the client comes.
    pub signer: UrlSigner,
    /// How long a URL is good at least. It is the same one for half of that, so
    /// that what stands in front of the endpoint can keep what it fetched, and
    /// then good for one and a half times as long.
    pub lifetime: Duration,
    /// What the time of day is.
    pub clock: Arc<dyn Clock>,
    /// Where the entries are. They stay there for as long as their URLs are good.
    pub disk: OnDisk,
}

/// How a target's health is found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Not at all; it is taken for healthy.
    Nothing,
    /// By an entry that is put there, and fetched as clients would fetch it.
    Entry,
    /// By a GET of this URL, which has to yield 2xx.
    Url(SecretUrl),
}

impl Target {
    /// A target for all clients and networks, which is not public and not
    /// probed, for answers from 64 KiB on.
    pub fn new(name: &str, protocol: &str, place: Where) -> Self {
        Self {
            advertised: RedirectTarget {
                name: name.to_owned(),
                protocol: protocol.to_owned(),
                ..RedirectTarget::default()
            },
            networks: Vec::new(),
            priority: 0,
            public: false,
            stock_clients: true,
            entry_bytes_min: 64 << 10,
            entry_bytes_max: u64::MAX,
            age_max: None,
            certificates: Certificates::default(),
            place,
            probe: Probe::Nothing,
        }
    }

    /// # Errors
    ///
    /// A sentence about what is wrong in the configuration of the target.
    pub fn check(&self) -> Result<(), String> {
        let RedirectTarget { name, protocol, .. } = &self.advertised;
        if name.is_empty() {
            return Err("a redirect target has no name".to_owned());
        }
        if !["http", "https"].contains(&protocol.as_str()) {
            return Err(format!(
                "{name}: clients know http and https, not {protocol}"
            ));
        }
        let base = match &self.place {
            Where::Presigned { .. } => None,
            Where::Public { .. } if !self.public => {
                return Err(format!(
                    "{name}: anybody can read what lies there; say `public` if that is meant"
                ));
            }
            Where::Public { base, .. } => Some(base),
            Where::Own(own) if own.lifetime < Duration::from_secs(1) => {
                return Err(format!("{name}: the lifetime of URLs is below a second"));
            }
            Where::Own(own) => Some(&own.base),
        };
        if base.is_some_and(|base| base.protocol() != protocol) {
            return Err(format!("{name}: the URL is not one of {protocol}"));
        }
        if self.place.store().is_some_and(|store| !store.is_plain()) {
            return Err(format!("{name}: clients cannot open what is sealed"));
        }
        Ok(())
    }

    pub(crate) fn is_for(&self, client: &Follower) -> bool {
        // A peer of IPv4 on a socket of IPv6 is one of IPv4.
        let address = client.address.map(|address| address.to_canonical());
        let reaches = |net: &IpNet| address.is_some_and(|address| net.contains(&address));
        let reachable = self.networks.is_empty() || self.networks.iter().any(reaches);
        reachable && (self.stock_clients || !client.is_stock)
    }

    pub(crate) fn takes(&self, len: u64) -> bool {
        (self.entry_bytes_min..=self.entry_bytes_max).contains(&len)
    }

    /// Whether an answer for these eyes may lie there: without a signature only
    /// what anybody may see, and only where that is meant.
    pub(crate) const fn may_show(&self, audience: Audience) -> bool {
        match (&self.place, audience) {
            (Where::Presigned { .. } | Where::Own(_), _) => true,
            (Where::Public { .. }, Audience::Anyone) => self.public,
            (Where::Public { .. }, Audience::Caller) => false,
        }
    }
}

impl Where {
    /// What clients are told of where it is; `None` if it is where a cloud has it.
    pub fn base_url(&self) -> Option<&str> {
        match self {
            Self::Presigned { store, .. } => store.client_endpoint(),
            Self::Public { base, .. } => Some(base.as_str()),
            Self::Own(own) => Some(own.base.as_str()),
        }
    }

    /// Whether whoever fetches an entry in this coding is told of it.
    pub(crate) fn carries(&self, coding: Option<ContentCoding>) -> bool {
        match (coding, self.store()) {
            (None, _) | (Some(_), None) => true,
            (Some(_), Some(store)) => store.tells_codings(),
        }
    }

    /// Where answers are uploaded to, unless it is this server.
    pub(crate) const fn store(&self) -> Option<&Arc<ObjectStore>> {
        match self {
            Self::Presigned { store, .. } | Self::Public { store, .. } => Some(store),
            Self::Own(_) => None,
        }
    }
}

impl Own {
    /// A URL of the entry if it is there, where it stays until the URL ends.
    pub(crate) async fn find(&self, form: &EntryForm) -> Result<Option<SecretUrl>, CacherError> {
        let expires = self.expiry(self.clock.now());
        match self.disk.pin(&form.name, expires).await? {
            true => Ok(Some(self.url(form, expires))),
            false => Ok(None),
        }
    }

    /// Puts an entry there.
    pub(crate) async fn publish(
        &self,
        form: &EntryForm,
        content: Arc<dyn Content>,
    ) -> Result<(), CacherError> {
        self.disk.store().store(&form.name, content).await
    }

    fn url(&self, form: &EntryForm, expires: Timestamp) -> SecretUrl {
        let path = self.signer.path_and_query(&form.name, form.coding, expires);
        let base = self.base.as_str().trim_end_matches('/');
        SecretUrl::new(format!("{base}{}", path.expose()))
    }

    /// The end of the URLs that are handed out now: the same for all in the same
    /// half of a lifetime.
    fn expiry(&self, now: Timestamp) -> Timestamp {
        let half = i64::try_from(self.lifetime.as_micros() / 2).unwrap_or(i64::MAX);
        let halves = now.0.div_euclid(half.max(1)).saturating_add(3);
        Timestamp(halves.saturating_mul(half.max(1)))
    }
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own")
            .field("base", &self.base)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use fingerpost_core::{EntryName, ManualClock};

    use super::*;
    use crate::Disk;

    #[tokio::test]
    async fn a_url_stays_the_same_for_half_a_lifetime_and_its_entry_there() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp(1_000_000_000_000)));
        let disk = Disk::open(directory.path(), 1 << 20, Arc::clone(&clock) as _).unwrap();
        let own = Own {
            base: PublicBase::new("http://us:8686").unwrap(),
            signer: UrlSigner::new(b"secret"),
            lifetime: Duration::from_secs(1000),
            clock: Arc::clone(&clock) as _,
            disk: OnDisk::plain(Arc::new(disk)),
        };
        let form = EntryForm {
            name: EntryName::from_hex(&"ab".repeat(32)).unwrap(),
            coding: None,
            plain_len: 3,
        };
        assert_eq!(own.find(&form).await.unwrap(), None);
        let content = Arc::new(bytes::Bytes::from_static(b"abc"));
        own.publish(&form, content).await.unwrap();
        let first = own.find(&form).await.unwrap().unwrap();
        clock.advance_micros(499_000_000);
        assert_eq!(own.find(&form).await.unwrap().unwrap(), first);
        clock.advance_micros(1_000_000);
        assert_ne!(own.find(&form).await.unwrap().unwrap(), first);
        for seconds in [0, 1, 499, 500, 12_345] {
            let now = Timestamp(seconds * 1_000_000);
            let left = own.expiry(now).0 - now.0;
            assert!((1_000_000_000..=1_500_000_000).contains(&left), "{left}");
        }
    }
}
