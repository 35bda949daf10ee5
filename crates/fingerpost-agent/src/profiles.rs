//! Profiles: what a build may do here is decided by who connects, not by what it says.
//!
//! The kernel tells the user and the group of whoever uses a Unix socket. Nobody tells
//! them of a TCP peer, so all of those have one profile.

mod settings;
mod sockets;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use fingerpost_net::{Peer, PeerAddress, Transport};

pub(crate) use self::settings::{ProfileSettings, read};
pub(crate) use self::sockets::SocketUsers;

/// What some builds may do, beside looking up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The operator's name for it, or that of a built-in one.
    pub name: String,
    /// Whether their reports go to the server. Those of others are answered and forgotten.
    pub reports: bool,
    /// Whether administration commands are passed on, with the login of whoever asks.
    pub administers: bool,
    /// The server's namespace that they work in; none: whichever the server chooses.
    pub namespace: Option<String>,
    /// Whether the agent signs for them.
    pub signs: bool,
}

impl Profile {
    /// A built-in one, which signs for nobody.
    pub(crate) fn built_in(name: &str, reports: bool, administers: bool) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            reports,
            administers,
            namespace: None,
            signs: false,
        })
    }

    /// Whether nothing that such a build says reaches the server, its login included.
    pub(crate) const fn only_reads(&self) -> bool {
        !self.reports && !self.administers
    }

    /// What a build is told that it may, which the server grants `said`.
    pub(crate) fn told(&self, mut said: Vec<String>) -> Vec<String> {
        if self.administers {
            return said;
        }
        let may = if self.reports { &BOTH[..] } else { &BOTH[..1] };
        if said.iter().any(|one| one == "@all") {
            return may.iter().map(|one| (*one).to_owned()).collect();
        }
        said.retain(|one| may.contains(&one.as_str()));
        said
    }
}

const BOTH: [&str; 2] = ["@read", "@report"];

/// Names of the built-in profiles, which no other one may have.
const DEFAULT: &str = "default";
const UNMAPPED: &str = "unmapped";
const LOOPBACK: &str = "loopback";

/// Whom the kernel names so is somebody whom the agent's user namespace does not know.
const NOBODY: u32 = 65534;

/// Which peers have which profile. The default is that of an agent without any
/// configuration: what its own user and root may is in the profile `default`.
#[derive(Clone, Debug)]
pub struct Profiles {
    chosen: Chosen,
    unmapped: Arc<Profile>,
    loopback: Arc<Profile>,
}

/// How the profile of a Unix peer is found.
#[derive(Clone, Debug)]
enum Chosen {
    /// By these, in order.
    Rules(Vec<Rule>),
    /// By who may use the socket: whoever else got there is unmapped.
    Sockets {
        /// The agent's user.
        own: u32,
        users: Vec<SocketUsers>,
        default: Arc<Profile>,
    },
}

/// Whose profile one is.
#[derive(Clone, Debug)]
struct Rule {
    profile: Arc<Profile>,
    /// With the members of the groups.
    users: HashSet<u32>,
    groups: HashSet<u32>,
}

impl Default for Profiles {
    fn default() -> Self {
        Self::built_in(rustix::process::geteuid().as_raw())
    }
}

impl Profiles {
    /// Those of an agent of user `own` for which none are configured.
    fn built_in(own: u32) -> Self {
        Self::with(Chosen::Sockets {
            own,
            users: Vec::new(),
            default: Profile::built_in(DEFAULT, true, true),
        })
    }

    fn of_rules(rules: Vec<Rule>) -> Self {
        Self::with(Chosen::Rules(rules))
    }

    fn with(chosen: Chosen) -> Self {
        Self {
            chosen,
            unmapped: Profile::built_in(UNMAPPED, false, false),
            // Any user of the host may connect there, and nobody can tell which one did.
            loopback: Profile::built_in(LOOPBACK, false, false),
        }
    }

    /// The same with `profile` for peers of TCP.
    fn with_loopback(mut self, profile: Arc<Profile>) -> Self {
        self.loopback = profile;
        self
    }

    /// The same for an agent on these sockets.
    pub(crate) fn on(mut self, sockets: Vec<SocketUsers>) -> Self {
        if let Chosen::Sockets { users, .. } = &mut self.chosen {
            *users = sockets;
        }
        self
    }

    /// Of all that there are by name.
    fn find(&self, name: &str) -> Option<&Arc<Profile>> {
        let built_in = [&self.unmapped, &self.loopback];
        let of_rules: Vec<_> = match &self.chosen {
            Chosen::Rules(rules) => rules.iter().map(|rule| &rule.profile).collect(),
            Chosen::Sockets { default, .. } => vec![default],
        };
        let mut all = built_in.into_iter().chain(of_rules);
        all.find(|profile| profile.name == name)
    }

    /// One for each of these namespaces.
    #[cfg(test)]
    pub(crate) fn within(namespaces: &[&str]) -> Self {
        let rule = |namespace: &&str| Rule {
            profile: Arc::new(Profile {
                namespace: Some((*namespace).to_owned()),
                ..Profile::clone(&Profile::built_in(namespace, true, true))
            }),
            users: HashSet::new(),
            groups: HashSet::new(),
        };
        Self::of_rules(namespaces.iter().map(rule).collect())
    }

    /// The server's namespaces that they name, each once.
    pub(crate) fn namespaces(&self) -> BTreeSet<&str> {
        let rules = match &self.chosen {
            Chosen::Rules(rules) => &rules[..],
            Chosen::Sockets { .. } => &[],
        };
        let named = rules.iter();
        named
            .filter_map(|rule| rule.profile.namespace.as_deref())
            .collect()
    }

    /// Whether the agent signs what builds of this profile reported.
    pub(crate) fn signs(&self, name: &str) -> bool {
        self.find(name).is_some_and(|profile| profile.signs)
    }

    /// The profile of a peer.
    pub fn of(&self, peer: &Peer) -> Arc<Profile> {
        let profile = match peer.address {
            PeerAddress::Unix { uid: NOBODY, .. } | PeerAddress::Unnamed => &self.unmapped,
            PeerAddress::Unix { uid, gid, .. } => self.of_user(uid, gid, &peer.listener),
            PeerAddress::Tcp(_) => &self.loopback,
        };
        // Whatever a profile says: nothing that a web page or another user of the host
        // could have sent administers, and nobody is signed for who is not known.
        let is_unknown = matches!(peer.address, PeerAddress::Tcp(_));
        let may_administer = peer.transport == Transport::Unix;
        if (profile.administers && !may_administer) || (profile.signs && is_unknown) {
            return Arc::new(Profile {
                administers: profile.administers && may_administer,
                signs: profile.signs && !is_unknown,
                ..Profile::clone(profile)
            });
        }
        Arc::clone(profile)
    }

    fn of_user(&self, uid: u32, gid: u32, listener: &str) -> &Arc<Profile> {
        match &self.chosen {
            Chosen::Rules(rules) => {
                let mut rules = rules.iter();
                let rule =
                    rules.find(|rule| rule.users.contains(&uid) || rule.groups.contains(&gid));
                rule.map_or(&self.unmapped, |rule| &rule.profile)
            }
            Chosen::Sockets {
                own,
                users,
                default,
            } => {
                let mut sockets = users.iter();
                let is_user = uid == 0
                    || uid == *own
                    || sockets.any(|socket| socket.is_of(listener) && socket.has(uid, gid));
                if is_user { default } else { &self.unmapped }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn unix(uid: u32, gid: u32) -> Peer {
        peer(PeerAddress::Unix {
            uid,
            gid,
            pid: None,
        })
    }

    pub(super) fn peer(address: PeerAddress) -> Peer {
        let transport = match address {
            PeerAddress::Tcp(_) => Transport::Tcp,
            _ => Transport::Unix,
        };
        Peer {
            address,
            proxy: None,
            transport,
            listener: "unix:///a.sock".into(),
            listener_name: None,
            tls: false,
            certificate: None,
        }
    }

    fn rule(name: &str, users: &[u32], groups: &[u32]) -> Rule {
        Rule {
            profile: Arc::new(Profile {
                signs: true,
                ..Profile::clone(&Profile::built_in(name, true, true))
            }),
            users: users.iter().copied().collect(),
            groups: groups.iter().copied().collect(),
        }
    }

    #[test]
    fn the_first_rule_counts_and_whoever_has_none_only_reads() {
        let rules = vec![
            rule("a", &[1000], &[]),
            rule("b", &[1000, 1001, 65534], &[2000]),
        ];
        let profiles = Profiles::of_rules(rules);
        let check = |peer: Peer, name: &str| assert_eq!(profiles.of(&peer).name, name);
        check(unix(1000, 2000), "a");
        check(unix(1001, 1), "b");
        check(unix(1002, 2000), "b");
        check(unix(1002, 1000), UNMAPPED);
        // Root has no right of its own where profiles are configured.
        check(unix(0, 0), UNMAPPED);
        check(unix(65534, 2000), UNMAPPED);
        check(peer(PeerAddress::Unnamed), UNMAPPED);
        let unmapped = profiles.of(&unix(65534, 65534));
        assert!(unmapped.only_reads() && !unmapped.signs);
    }

    #[test]
    fn without_any_the_agents_user_and_root_have_all_but_signatures() {
        let profiles = Profiles::built_in(990);
        for uid in [0, 990] {
            let profile = profiles.of(&unix(uid, 65534));
            assert_eq!(profile.name, DEFAULT);
            assert!(profile.reports && profile.administers && !profile.signs);
        }
        assert_eq!(profiles.of(&unix(991, 990)).name, UNMAPPED);
    }

    #[test]
    fn whatever_its_profile_a_tcp_peer_neither_administers_nor_is_signed_for() {
        let tcp = || peer(PeerAddress::Tcp("127.0.0.1:9".parse().unwrap()));
        assert!(Profiles::built_in(7).of(&tcp()).only_reads());
        let rules = vec![rule("local", &[], &[])];
        let profile = Arc::clone(&rules[0].profile);
        let profiles = Profiles::of_rules(rules).with_loopback(profile);
        let web = Peer {
            transport: Transport::WebSocket,
            ..tcp()
        };
        for peer in [tcp(), web] {
            let profile = profiles.of(&peer);
            assert!(profile.reports && !profile.administers && !profile.signs);
            assert_eq!(profile.name, "local");
        }
    }

    #[test]
    fn a_websocket_of_a_known_user_does_not_administer() {
        let profiles = Profiles::of_rules(vec![rule("a", &[1000], &[])]);
        let web = Peer {
            transport: Transport::WebSocket,
            ..unix(1000, 1)
        };
        assert!(!profiles.of(&web).administers && profiles.of(&web).signs);
        assert!(profiles.of(&unix(1000, 1)).administers);
    }

    #[test]
    fn a_build_is_told_what_both_the_server_and_its_profile_grant() {
        let check = |profile: &Profile, said: &[&str], expected: &[&str]| {
            let said = said.iter().map(|one| (*one).to_owned()).collect();
            assert_eq!(profile.told(said), expected);
        };
        let all = Profile::built_in("a", true, true);
        let reports = Profile::built_in("b", true, false);
        let reads = Profile::built_in("c", false, false);
        check(&all, &["@all"], &["@all"]);
        check(&reports, &["@all"], &["@read", "@report"]);
        check(&reports, &["@read", "@db-admin"], &["@read"]);
        check(&reads, &["@read", "@report"], &["@read"]);
        check(&reads, &["@all"], &["@read"]);
    }
}
