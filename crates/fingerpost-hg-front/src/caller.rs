//! Who asks, as far as an answer depends on it.

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use fingerpost_accounts::Login;
use fingerpost_core::{Audience, Follower, Following, Permission, PermissionSet, Principal};
use fingerpost_hg::site::{Decision, Operation};
use fingerpost_hg_proto::CommandRequest;
use fingerpost_net::Peer;

use crate::front::Asking;
use crate::redirecting::Follows;

/// Who asks.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// The peer's address, for the log.
    pub(crate) peer: String,
    client: Follower,
    audience: Audience,
    /// Whether it is sent elsewhere at all.
    may_follow: bool,
}

impl Caller {
    /// The caller with what the repository's rules and the URL allow.
    pub(crate) fn new(asking: &Asking, writes: bool, may_follow: bool) -> Self {
        let mut allowed = PermissionSet::of(&[Permission::Pull]);
        if writes {
            allowed.insert(Permission::Push);
        }
        let nobody = Principal::anonymous(allowed);
        let principal = match &asking.login {
            Some(login) => named(&nobody, login, allowed),
            None => nobody,
        };
        let access = &asking.repository.settings().access;
        let is_open = [Operation::Read, Operation::Pull]
            .into_iter()
            .all(|operation| access.decide(None, operation) == Decision::Allowed);
        let peer = asking.parts.extensions.get::<Peer>();
        Self {
            principal,
            peer: peer.map_or_else(String::new, Peer::to_string),
            client: follower(&asking.parts),
            audience: match is_open {
                true => Audience::Anyone,
                false => Audience::Caller,
            },
            may_follow,
        }
    }

    /// How a request of this caller follows redirects; `None` if it does not.
    pub(crate) fn follows(&self, request: &CommandRequest) -> Option<Follows> {
        let redirect = request.redirect.as_ref()?;
        (self.may_follow && !redirect.targets.is_empty()).then(|| Follows {
            following: Following {
                client: Follower {
                    // Whoever says what it can undo there is no stock client, and
                    // asks again when a target fails.
                    is_stock: redirect.encodings.is_empty(),
                    ..self.client.clone()
                },
                targets: redirect.targets.clone(),
                audience: self.audience,
            },
            encodings: redirect.encodings.clone(),
            hashes: redirect.hashes.clone(),
        })
    }
}

/// Whoever logged in, with what the repository's rules allow.
fn named(nobody: &Principal, login: &Login, allowed: PermissionSet) -> Principal {
    let named = match login {
        Login::User { name, .. } => nobody.login(name, allowed),
        Login::Acting(grant) => nobody.act_for(&grant.user, allowed),
    };
    named.showing(login.credential())
}

/// The client, as far as it matters to where it is sent.
pub(crate) fn follower(parts: &Parts) -> Follower {
    let peer = parts.extensions.get::<Peer>();
    Follower {
        address: peer.and_then(Peer::ip),
        is_stock: is_stock(&parts.headers),
    }
}

/// Whether a client is to be told of targets as stock clients are, which fail when a
/// target does. All but ours.
fn is_stock(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT);
    !agent.is_some_and(|agent| agent.as_bytes().starts_with(OUR_AGENT))
}

const OUR_AGENT: &[u8] = b"fingerpost/";
