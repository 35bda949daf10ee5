//! A place that answers may be redirected to, as it is configured.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{Clock, EntryName, RedirectTarget, Timestamp};
use ipnet::IpNet;

use crate::{ObjectStore, Presigner, PublicBase, SecretUrl, UrlSigner};

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
    /// Bytes of the shortest answer that is worth a redirect.
    pub entry_bytes_min: u64,
    /// Bytes of the longest answer that it has.
    pub entry_bytes_max: u64,
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
    /// At our own content endpoint, by URLs that we sign. Whoever redirects
    /// there knows that the entry is in our own stores.
    Own(Own),
}

/// Our own content endpoint.
#[derive(Clone)]
pub struct Own {
    /// Where clients reach this server: `https://fingerpost:8686`.
    pub base: PublicBase,
    /// Signs, and checks when the client comes.
    pub signer: UrlSigner,
    /// How long a URL is good.
    pub lifetime: Duration,
    /// What the time of day is.
    pub clock: Arc<dyn Clock>,
}

/// How a target's health is found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Not at all; it is taken for healthy.
    Nothing,
    /// By an entry of our own that is uploaded, and fetched as clients would
    /// fetch it. For a target with an object store.
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
        if self.probe == Probe::Entry && self.place.store().is_none() {
            return Err(format!("{name}: our own endpoint is probed by a URL"));
        }
        Ok(())
    }

    pub(crate) fn is_for(&self, peer: IpAddr, stock: bool) -> bool {
        // A peer of IPv4 on a socket of IPv6 is one of IPv4.
        let peer = peer.to_canonical();
        let reachable =
            self.networks.is_empty() || self.networks.iter().any(|net| net.contains(&peer));
        reachable && (self.stock_clients || !stock)
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

/// Who may see an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A caller who did not say who they are would get the same.
    Anyone,
    /// The caller, and others who may do as much.
    Caller,
}

impl Where {
    /// Where answers are uploaded to, unless it is this server.
    pub(crate) fn store(&self) -> Option<&Arc<ObjectStore>> {
        match self {
            Self::Presigned { store, .. } | Self::Public { store, .. } => Some(store),
            Self::Own(_) => None,
        }
    }
}

impl Own {
    pub(crate) fn url(&self, name: &EntryName) -> SecretUrl {
        let micros = i64::try_from(self.lifetime.as_micros()).unwrap_or(i64::MAX);
        let expires = Timestamp(self.clock.now().0.saturating_add(micros));
        let path = self.signer.path_and_query(name, None, expires);
        let base = self.base.as_str().trim_end_matches('/');
        SecretUrl::new(format!("{base}{}", path.expose()))
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
