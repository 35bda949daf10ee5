//! Logins as a door gets them: how somebody came, and what they show.

use fingerpost_core::Origin;

use crate::basic::basic_credentials;
use crate::{Login, LoginError, Logins};

/// Through which door somebody came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// BitBake's protocol, on whatever transport.
    Native,
    /// JSON over HTTP.
    Json,
    /// Mercurial's protocol.
    Mercurial,
}

impl Door {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Native, Self::Json, Self::Mercurial];

    /// A word for counters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Json => "json",
            Self::Mercurial => "hg",
        }
    }
}

/// How somebody came, as far as logins depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// Through which door.
    pub door: Door,
    /// Whether nobody else can read what is sent on the way: it is encrypted, or
    /// does not leave this host.
    pub is_private: bool,
    /// The name in the certificate that they showed, with its kind in front:
    /// `dns:builder.example`.
    pub certificate: Option<&'a str>,
    /// From where, as near as is known, see [`Origin::host`]: who fails there again
    /// and again has to wait.
    pub origin: Origin,
}

impl Logins {
    /// Who sends a request with these values of the header `Authorization`: as
    /// they log in, else as their certificate says. `None` is an anonymous
    /// caller; one whose login is wrong is never taken for that. Counted.
    pub async fn of_request<'h>(
        &self,
        way: Way<'_>,
        authorization: impl IntoIterator<Item = &'h [u8]>,
    ) -> Result<Option<Login>, LoginError> {
        let mut headers = authorization.into_iter();
        let found = match (headers.next(), headers.next()) {
            (None, _) => self.by_certificate(way).await,
            (Some(header), None) => self.by_authorization(way, header).await.map(Some),
            // Which of them counts is a question that others answer otherwise.
            (Some(_), Some(_)) => Err(LoginError::Wrong("form")),
        };
        self.note(way.door, &found);
        found
    }

    /// Whom a connection belongs to before anything was said on it: the user whom
    /// its certificate stands for. Counted.
    pub async fn of_connection(&self, way: Way<'_>) -> Result<Option<Login>, LoginError> {
        let found = self.by_certificate(way).await;
        self.note(way.door, &found);
        found
    }

    /// A name with something secret, on a way that was [admitted](Self::admit).
    /// Counted.
    pub async fn of_name(
        &self,
        (door, origin): (Door, Origin),
        name: &str,
        secret: &str,
    ) -> Result<Login, LoginError> {
        let found = self.by_name(&origin, name, secret).await.map(Some);
        self.note(door, &found);
        found?.ok_or(LoginError::Wrong("user"))
    }

    /// Refuses to take a password or token that others could have read on its
    /// way, unless the operator wants it. Nothing is looked up. Counted.
    pub fn admit(&self, way: Way<'_>) -> Result<(), LoginError> {
        if self.is_admitted(way) {
            return Ok(());
        }
        let refused = Err(LoginError::Plaintext);
        self.note(way.door, &refused);
        Err(LoginError::Plaintext)
    }

    const fn is_admitted(&self, way: Way<'_>) -> bool {
        way.is_private || self.plaintext
    }

    /// The value of a header `Authorization`, `Basic` or `Bearer`.
    async fn by_authorization(&self, way: Way<'_>, header: &[u8]) -> Result<Login, LoginError> {
        if !self.is_admitted(way) {
            return Err(LoginError::Plaintext);
        }
        if let Some(token) = bearer_token(header) {
            return self.by_token(&way.origin, token).await;
        }
        let (name, secret) = basic_credentials(header).ok_or(LoginError::Wrong("form"))?;
        self.by_name(&way.origin, &name, &secret).await
    }

    fn note(&self, door: Door, found: &Result<Option<Login>, LoginError>) {
        match found {
            Ok(None) => {}
            Ok(Some(_)) => self.metrics.count(door, "ok", ""),
            Err(error) => {
                let (outcome, reason) = error.labels();
                self.metrics.count(door, outcome, reason);
            }
        }
    }
}

/// The token out of `Bearer {token}`; `None` if it is another scheme. RFC 6750.
pub(crate) fn bearer_token(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(7)?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"Bearer ");
    is_bearer.then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use fingerpost_core::Permission::{Read, Report};
    use fingerpost_core::{Credential, PermissionSet};

    use super::*;
    use crate::testing::World;
    use crate::tokens::NewToken;
    use crate::{LoginOptions, Namespaces};

    const BUILDER: PermissionSet = PermissionSet::of(&[Read, Report]);
    const HERE: Way<'_> = Way {
        door: Door::Json,
        is_private: true,
        certificate: None,
        origin: Origin::User(0),
    };
    const BEHIND_NAT: Way<'_> = Way {
        origin: Origin::Host(Ipv4Addr::new(192, 0, 2, 1)),
        ..HERE
    };

    async fn token(logins: &Logins, name: &str) -> String {
        let new = NewToken {
            user: "ci".to_owned(),
            name: name.to_owned(),
            permissions: PermissionSet::of(&[Read]),
            namespaces: Namespaces::All,
            expires: None,
        };
        let (token, _) = logins.tokens.create(new).await.unwrap();
        token.reveal().to_owned()
    }

    fn logins(world: &World) -> Logins {
        let options = LoginOptions {
            certificates: [("dns:builder".to_owned(), "ci".to_owned())].into(),
            ..LoginOptions::default()
        };
        Logins::new(world.store.clone(), world.clock.clone(), options).unwrap()
    }

    fn basic(name: &str, secret: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")))
    }

    async fn ask(logins: &Logins, way: Way<'_>, headers: &[&str]) -> String {
        let headers = headers.iter().map(|header| header.as_bytes());
        match logins.of_request(way, headers).await {
            Ok(None) => "nobody".to_owned(),
            Ok(Some(login)) => login.name().to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn a_header_says_who_asks_or_is_refused() {
        let world = World::new();
        let secret = world.user("ci", BUILDER).await;
        let logins = logins(&world);
        let token = token(&logins, "reader").await;
        let right = basic("ci", secret.reveal());
        let (form, user) = ("the login is wrong: form", "the login is wrong: user");
        assert_eq!(ask(&logins, HERE, &[]).await, "nobody");
        for (header, expected) in [
            (right.as_str(), "ci"),
            (&basic("ci", &token), "ci"),
            (&format!("bearer  {token}"), "ci"),
            (&basic("ci", "wrong"), user),
            // A user's own token needs the name.
            (&format!("Bearer {}", secret.reveal()), form),
            ("Bearer", form),
            ("Bearer ", form),
            ("", form),
            ("Digest x", form),
            ("Basic ???", form),
        ] {
            assert_eq!(ask(&logins, HERE, &[header]).await, expected, "{header}");
        }
        assert_eq!(ask(&logins, HERE, &[&right, &right]).await, form);
    }

    #[tokio::test]
    async fn what_others_can_read_is_not_looked_at() {
        let world = World::new();
        let secret = world.user("ci", BUILDER).await;
        let mut logins = logins(&world);
        let way = Way {
            is_private: false,
            ..HERE
        };
        let right = basic("ci", secret.reveal());
        let refused = LoginError::Plaintext.to_string();
        for header in [&right, "Bearer x", "Digest x"] {
            assert_eq!(ask(&logins, way, &[header]).await, refused);
        }
        assert_eq!(ask(&logins, way, &[]).await, "nobody");
        assert!(logins.admit(way).is_err() && logins.admit(HERE).is_ok());
        logins.plaintext = true;
        assert_eq!(ask(&logins, way, &[&right]).await, "ci");
    }

    #[tokio::test]
    async fn guesses_have_to_wait() {
        let world = World::new();
        let secret = world.user("ci", BUILDER).await;
        let logins = logins(&world);
        let (right, wrong) = (basic("ci", secret.reveal()), basic("ci", "guess"));
        for _ in 0..5 {
            ask(&logins, HERE, &[&wrong]).await;
        }
        assert!(ask(&logins, HERE, &[&right]).await.contains("too many"));
        let elsewhere = Way {
            origin: Origin::User(1),
            ..HERE
        };
        assert_eq!(ask(&logins, elsewhere, &[&right]).await, "ci");
        world.clock.advance_micros(1_000_000);
        assert_eq!(ask(&logins, HERE, &[&right]).await, "ci");
    }

    #[tokio::test]
    async fn one_builder_with_an_old_token_stops_nobody_else() {
        let world = World::new();
        let secrets = [
            world.user("ci", BUILDER).await,
            world.user("ann", BUILDER).await,
        ];
        let logins = logins(&world);
        let [old, new] = [token(&logins, "old").await, token(&logins, "new").await];
        logins.tokens.revoke("ci", &old[3..19]).await.unwrap();
        let (wrong, right) = (basic("ci", "an old one"), basic("ci", secrets[0].reveal()));
        assert_eq!(ask(&logins, BEHIND_NAT, &[&right]).await, "ci");
        for _ in 0..1000 {
            for refused in [&format!("Bearer {old}"), &wrong, "Bearer eyJ.a.b"] {
                let told = ask(&logins, BEHIND_NAT, &[refused]).await;
                assert!(
                    told.contains("wrong") || told.contains("too many"),
                    "{told}"
                );
            }
            world.clock.advance_micros(50_000);
        }
        // One that was right here lately goes, whoever else guesses at its user; and so
        // do those that were never seen.
        for (passes, whose) in [
            (right, "ci"),
            (format!("Bearer {new}"), "ci"),
            (basic("ci", &new), "ci"),
            (basic("ann", secrets[1].reveal()), "ann"),
        ] {
            assert_eq!(ask(&logins, BEHIND_NAT, &[&passes]).await, whose);
        }
        assert!(
            ask(&logins, BEHIND_NAT, &[&wrong])
                .await
                .contains("too many")
        );
    }

    #[tokio::test]
    async fn an_address_that_makes_names_up_is_bounded() {
        let world = World::new();
        let secret = world.user("ci", BUILDER).await;
        let logins = logins(&world);
        let (right, ann) = (
            basic("ci", secret.reveal()),
            world.user("ann", BUILDER).await,
        );
        assert_eq!(ask(&logins, BEHIND_NAT, &[&right]).await, "ci");
        let mut looked_at = 0;
        for number in 0..1000 {
            let told = ask(&logins, BEHIND_NAT, &[&basic(&format!("u{number}"), "x")]).await;
            looked_at += u32::from(told.contains("wrong"));
        }
        assert_eq!(looked_at, 100);
        assert_eq!(ask(&logins, BEHIND_NAT, &[&right]).await, "ci");
        let ann = basic("ann", ann.reveal());
        assert!(ask(&logins, BEHIND_NAT, &[&ann]).await.contains("too many"));
        let neighbour = Way {
            origin: Origin::Host(Ipv4Addr::new(192, 0, 2, 2)),
            ..HERE
        };
        assert_eq!(ask(&logins, neighbour, &[&ann]).await, "ann");
        world.clock.advance_micros(200_000);
        assert_eq!(ask(&logins, BEHIND_NAT, &[&ann]).await, "ann");
    }

    #[tokio::test]
    async fn what_was_right_and_is_not_any_more_is_a_guess() {
        let world = World::new();
        let before = world.user("ci", BUILDER).await;
        let logins = logins(&world);
        let before = basic("ci", before.reveal());
        assert_eq!(ask(&logins, HERE, &[&before]).await, "ci");
        world.accounts.refresh("ci").await.unwrap();
        for _ in 0..5 {
            assert!(ask(&logins, HERE, &[&before]).await.contains("wrong"));
        }
        assert!(ask(&logins, HERE, &[&before]).await.contains("too many"));
    }

    #[tokio::test]
    async fn a_certificate_stands_for_a_user_as_they_are_now() {
        let world = World::new();
        let logins = logins(&world);
        let way = |certificate| Way {
            certificate,
            ..HERE
        };
        let builder = way(Some("dns:builder"));
        // There is no such user yet.
        assert_eq!(logins.of_connection(builder).await.unwrap(), None);
        let secret = world.user("ci", BUILDER).await;
        world.user("ann", BUILDER).await;
        let login = logins.of_connection(builder).await.unwrap().unwrap();
        let nobody = fingerpost_core::Principal::anonymous(PermissionSet::NONE);
        let caller = login.principal(&nobody);
        assert!(caller.allows(&[Report]) && !caller.is_self(None));
        assert_eq!(login.credential(), Credential::Certificate);
        assert_eq!(ask(&logins, builder, &[]).await, "ci");
        for other in [Some("cn:builder"), Some("dns:builder.example"), None] {
            assert_eq!(logins.of_connection(way(other)).await.unwrap(), None);
        }
        // What is shown beside it counts, right or wrong.
        let wrong = basic("ann", secret.reveal());
        assert!(ask(&logins, builder, &[&wrong]).await.contains("wrong"));
        world
            .accounts
            .set_permissions("ci", PermissionSet::NONE)
            .await
            .unwrap();
        let login = logins.of_connection(builder).await.unwrap().unwrap();
        assert!(!login.principal(&nobody).allows(&[Read]));
    }
}
