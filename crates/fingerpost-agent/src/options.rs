//! What may be set about an agent.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use fingerpost_hashequiv_client::ClientOptions;
use fingerpost_hashequiv_client::http::{HttpCredential, HttpOptions, ServerUrl};
use fingerpost_signatures::{KeyRing, Policy, SigningKey, Trust};
use fingerpost_snapshot::Digest;

use crate::Profiles;
use crate::following::{FollowOptions, Publishers};

/// That of a server which puts nobody elsewhere.
const DEFAULT_NAMESPACE: &str = "default";

/// How an agent works. [`AgentOptions::to`] has the defaults.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The server, and the login if it wants one. Its waits and tries are not used.
    pub server: ClientOptions,
    /// That server over HTTP, and others that have the same to say. It is then asked for
    /// look-ups and reports, and followed: `server` is for what builds ask as themselves.
    pub http: Option<HttpOptions>,
    /// Whose answers are believed, and who signs reports. None: nobody looks at signatures.
    /// Needs `http`.
    pub trust: Option<TrustOptions>,
    /// Snapshots of the server's mappings on this host. Only with `http`.
    pub snapshots: SnapshotOptions,
    /// How old what is remembered may be while the server is away. 24 h.
    pub max_offline_age: Duration,
    /// Longest wait for the server's answer to a batch of look-ups. 2 s.
    pub lookup_deadline: Duration,
    /// Longest wait for the server's answer to a report. 2 s.
    pub report_deadline: Duration,
    /// Bytes of answers in memory. 16 MiB.
    pub memory_bytes: u64,
    /// Whether a build is told when the server refuses its login, which ends it. Off.
    pub strict_auth: bool,
    /// What which builds may do. The agent's own user and root everything, others look up.
    pub profiles: Profiles,
    /// Where reports are kept that the server has not seen, and snapshots.
    pub state: PathBuf,
    /// Bytes of those reports at most. 256 MiB.
    pub spool_bytes_max: u64,
    /// How long a report waits for the server at least. 30 days.
    pub spool_age_max: Duration,
}

/// Whose answers are believed, and who signs reports.
#[derive(Clone)]
pub struct TrustOptions {
    /// What is done with answers that nobody signed who is in the ring.
    pub policy: Policy,
    /// Who is believed.
    pub ring: KeyRing,
    /// Signs what builds report whose profile says so.
    pub signer: Option<SigningKey>,
    /// Namespaces that each falls back to, in their order.
    pub fallbacks: Vec<String>,
}

/// Snapshots of the server's mappings on this host.
#[derive(Clone)]
pub struct SnapshotOptions {
    /// Whether they are fetched. On.
    pub fetched: bool,
    /// Who must have signed them. None: whoever made them is believed.
    pub publishers: Option<KeyRing>,
    /// A larger one is not fetched. 4 GiB.
    pub bytes_max: u64,
}

impl AgentOptions {
    /// The defaults for a server, with reports kept in `state`.
    pub fn to(server: ClientOptions, state: PathBuf) -> Self {
        Self {
            server,
            http: None,
            trust: None,
            snapshots: SnapshotOptions::default(),
            max_offline_age: Duration::from_secs(24 * 3600),
            lookup_deadline: Duration::from_secs(2),
            report_deadline: Duration::from_secs(2),
            memory_bytes: 16 << 20,
            strict_auth: false,
            profiles: Profiles::default(),
            state,
            spool_bytes_max: 256 << 20,
            spool_age_max: Duration::from_secs(30 * 86_400),
        }
    }

    /// The namespace that builds without one of their own are put into, if it is known.
    pub(crate) fn namespace(&self) -> Option<&str> {
        let http = self.http.as_ref()?;
        let of_url = http.urls.first().and_then(ServerUrl::namespace);
        of_url.or(http.namespace.as_deref())
    }

    /// Whether a login is shown to the server.
    pub(crate) fn is_somebody(&self) -> bool {
        let shows = |http: &HttpOptions| {
            !matches!(http.credential, HttpCredential::None) || http.client_certificate.is_some()
        };
        self.server.credentials.is_some() || self.http.as_ref().is_some_and(shows)
    }

    /// What is believed and signed in a namespace, or in that of builds without one.
    pub(crate) fn trust_within(&self, namespace: Option<&str>) -> Option<Trust> {
        let trust = self.trust.as_ref()?;
        let own = namespace.or_else(|| self.namespace());
        let own = own.unwrap_or(DEFAULT_NAMESPACE).to_owned();
        let namespaces = std::iter::once(own).chain(trust.fallbacks.iter().cloned());
        let (ring, signer) = (trust.ring.clone(), trust.signer.clone());
        Some(Trust::new(trust.policy, ring, signer, namespaces.collect()))
    }

    /// By what answers in a namespace are judged, as a digest of policy, keys and namespaces;
    /// empty: nobody judges them.
    pub(crate) fn judge(&self, namespace: Option<&str>) -> String {
        let Some(trust) = self.trust.as_ref() else {
            return String::new();
        };
        if trust.policy == Policy::Off {
            return String::new();
        }
        let keys = trust.ring.keys().iter();
        let keys: Vec<_> = keys
            .map(|key| format!("{} {} {:?}", key.id(), key.state(), key.public()))
            .collect();
        let own = namespace.or_else(|| self.namespace());
        let all = format!("{} {own:?} {:?} {keys:?}", trust.policy, trust.fallbacks);
        Digest::of(all.as_bytes()).to_string()
    }

    /// How a namespace is followed.
    pub(crate) fn follow(&self, namespace: Option<&str>) -> FollowOptions {
        let mut follow = FollowOptions::in_directory(self.state.join("snapshots"));
        follow.namespace = namespace.or_else(|| self.namespace()).map(str::to_owned);
        follow.snapshots = self.snapshots.fetched;
        follow.publishers = Publishers::new(self.snapshots.publishers.clone());
        let looks = |trust: &TrustOptions| trust.policy != Policy::Off;
        follow.believes_changes = !self.trust.as_ref().is_some_and(looks);
        follow.snapshot_bytes_max = self.snapshots.bytes_max;
        follow.max_offline_age = self.max_offline_age;
        follow
    }
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self {
            fetched: true,
            publishers: None,
            bytes_max: 4 << 30,
        }
    }
}

impl fmt::Debug for TrustOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustOptions")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SnapshotOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotOptions")
            .field("fetched", &self.fetched)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use fingerpost_signatures::{Key, KeyName, State, UnixTime};

    use super::*;

    #[test]
    fn another_policy_or_ring_judges_otherwise() {
        let key = SigningKey::ed25519(&[1; 32]);
        let server = ClientOptions::to("wss://h".parse().unwrap());
        let mut options = AgentOptions::to(server, "/state".into());
        assert_eq!(options.judge(None), "");
        let mut ring = KeyRing::default();
        let name = KeyName::parse("ci").unwrap();
        ring.add(Key::signing(name, UnixTime::MAX, key.clone()))
            .unwrap();
        let mut judge = |policy, ring: &KeyRing, fallbacks: &[&str]| {
            options.trust = Some(TrustOptions {
                policy,
                ring: ring.clone(),
                signer: None,
                fallbacks: fallbacks.iter().map(|name| (*name).to_owned()).collect(),
            });
            options.judge(None)
        };
        assert_eq!(judge(Policy::Off, &ring, &[]), "");
        let required = judge(Policy::Require, &ring, &[]);
        assert_eq!(required, judge(Policy::Require, &ring, &[]));
        let mut others = vec![
            judge(Policy::Prefer, &ring, &[]),
            judge(Policy::Require, &ring, &["base"]),
            judge(Policy::Require, &KeyRing::default(), &[]),
        ];
        ring.set_state(key.id(), State::Revoked).unwrap();
        others.push(judge(Policy::Require, &ring, &[]));
        assert!(!others.contains(&required), "{others:?}");
    }

    #[test]
    fn what_is_signed_is_of_the_namespace_that_is_asked() {
        let key = SigningKey::ed25519(&[1; 32]);
        let server = ClientOptions::to("wss://h".parse().unwrap());
        let mut options = AgentOptions::to(server, "/state".into());
        options.trust = Some(TrustOptions {
            policy: Policy::Off,
            ring: KeyRing::default(),
            signer: Some(key),
            fallbacks: Vec::new(),
        });
        let check = |options: &AgentOptions, namespace: Option<&str>, expect: &str| {
            let trust = options.trust_within(namespace).unwrap();
            let settled = trust.settle(["m", "t", "o", "u"], "u", None, UnixTime::MAX);
            assert_eq!(settled.signed.unwrap().0.namespace, expect);
            let followed = options.follow(namespace).namespace;
            assert!(followed.is_none_or(|followed| followed == expect));
        };
        check(&options, None, DEFAULT_NAMESPACE);
        check(&options, Some("mine"), "mine");
        options.http = Some(HttpOptions::to(vec!["https://h/ns/main".parse().unwrap()]));
        check(&options, None, "main");
        check(&options, Some("mine"), "mine");
    }
}
