//! Profiles as an operator writes them.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use fingerpost_net::Address;
use fingerpost_program::exit::{Exit, failure};
use serde::Deserialize;

use super::{DEFAULT, LOOPBACK, Profile, Profiles, Rule, UNMAPPED};
use crate::names::Names;
use crate::server::is_namespace;

/// A table `[[profiles]]` of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileSettings {
    name: String,
    #[serde(default)]
    users: Vec<Whom>,
    #[serde(default)]
    groups: Vec<Whom>,
    #[serde(default = "reading")]
    permissions: Vec<Permission>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    sign: bool,
}

/// A user or a group.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a name or a number is wanted")]
enum Whom {
    Number(u32),
    Name(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Permission {
    #[serde(rename = "@read")]
    Read,
    #[serde(rename = "@report")]
    Report,
    /// What is neither a look-up nor a report. It gives no right at the server.
    #[serde(rename = "@admin")]
    Admin,
}

fn reading() -> Vec<Permission> {
    vec![Permission::Read]
}

/// The profiles of an agent of user `own` that asks `server`. A user or group that the
/// host does not know is warned of: one file may be for many hosts and containers.
///
/// # Errors
///
/// Two have one name or that of a built-in one; one may not even read; the namespace of
/// one cannot be asked for; there is none of the name `loopback`.
pub(crate) fn read(
    settings: &[ProfileSettings],
    loopback: Option<&str>,
    names: &Names,
    own: u32,
    server: Option<&Address>,
) -> anyhow::Result<Profiles> {
    let mut seen = HashSet::from([DEFAULT, UNMAPPED, LOOPBACK]);
    for profile in settings {
        if !seen.insert(&profile.name) {
            let name = &profile.name;
            return Err(wrong(format!(
                "there is a profile {name:?} already: give this one another name"
            )));
        }
        profile.check(server)?;
    }
    let profiles = match settings.is_empty() {
        true => Profiles::built_in(own),
        false => {
            let rules = settings.iter().map(|profile| profile.rule(names));
            Profiles::of_rules(rules.collect())
        }
    };
    let Some(name) = loopback else {
        return Ok(profiles);
    };
    match profiles.find(name).cloned() {
        Some(profile) => Ok(profiles.with_loopback(profile)),
        None => Err(wrong(format!(
            "loopback_profile is {name:?}, and there is no profile of that name"
        ))),
    }
}

impl ProfileSettings {
    fn check(&self, server: Option<&Address>) -> anyhow::Result<()> {
        let name = &self.name;
        if !self.permissions.contains(&Permission::Read) {
            return Err(wrong(format!(
                "the profile {name:?} is without @read, and whoever reaches an agent may look up"
            )));
        }
        let Some(namespace) = &self.namespace else {
            return Ok(());
        };
        if !is_namespace(namespace) {
            return Err(wrong(format!(
                "the profile {name:?} has the namespace {namespace:?}, and names of namespaces \
                 are letters, digits, - _ and ."
            )));
        }
        // The other ways to reach a server have no path, which names the namespace.
        match server {
            Some(server) if !server.is_websocket() => Err(wrong(format!(
                "the profile {name:?} has the namespace {namespace:?}, for which the server must \
                 be asked by websocket: write ws://HOST or wss://HOST in place of {server}"
            ))),
            _ => Ok(()),
        }
    }

    fn rule(&self, names: &Names) -> Rule {
        let may = |permission| self.permissions.contains(&permission);
        let name = &self.name;
        let known = |kind: &str, whom: &Whom, find: &dyn Fn(&str) -> Option<u32>| {
            let number = whom.number(find);
            if number.is_none() {
                tracing::warn!(profile = %name, "this host knows no {kind} {whom}");
            }
            number
        };
        let users = self.users.iter();
        let users = users.filter_map(|whom| known("user", whom, &|name| names.user(name)));
        let groups = self.groups.iter();
        let groups = groups.filter_map(|whom| known("group", whom, &|name| names.group(name)));
        let groups: HashSet<u32> = groups.collect();
        let members = groups.iter().flat_map(|group| names.members(*group));
        Rule {
            users: users.chain(members).collect(),
            profile: Arc::new(Profile {
                name: name.clone(),
                reports: may(Permission::Report),
                administers: may(Permission::Admin),
                namespace: self.namespace.clone(),
                signs: self.sign,
            }),
            groups,
        }
    }
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl Whom {
    fn number(&self, find: impl Fn(&str) -> Option<u32>) -> Option<u32> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(name) => find(name).or_else(|| name.parse().ok()),
        }
    }
}

fn wrong(why: String) -> anyhow::Error {
    failure(Exit::Configuration, why)
}

#[cfg(test)]
mod tests {
    use fingerpost_net::PeerAddress;

    use super::super::tests::{peer, unix};
    use super::*;

    fn profiles(text: &str, loopback: Option<&str>, server: &str) -> anyhow::Result<Profiles> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            profiles: Vec<ProfileSettings>,
        }
        let file: File = toml::from_str(text)?;
        let names = Names::of(
            "builder:x:1000:1000\nann:x:1001:1001\n",
            "ci:x:2000:ann,nobody-knows\n",
        );
        read(
            &file.profiles,
            loopback,
            &names,
            990,
            Some(&server.parse()?),
        )
    }

    #[test]
    fn users_and_groups_are_names_or_numbers() {
        let text = "[[profiles]]\nname = 'ci'\nusers = ['builder', 7, '8', 'far']\n\
            groups = ['ci', 3000, 'gone']\npermissions = ['@read', '@report']\nsign = true\n\
            [[profiles]]\nname = 'rest'\ngroups = [4000]\n";
        let profiles = profiles(text, Some("rest"), "h:1").unwrap();
        let check = |uid, gid, name: &str| assert_eq!(profiles.of(&unix(uid, gid)).name, name);
        check(1000, 1, "ci");
        check(7, 1, "ci");
        check(8, 1, "ci");
        check(1001, 1, "ci");
        check(9, 2000, "ci");
        check(9, 3000, "ci");
        check(9, 4000, "rest");
        check(9, 1, UNMAPPED);
        check(990, 990, UNMAPPED);
        let ci = profiles.of(&unix(1000, 1));
        assert!(ci.reports && ci.signs && !ci.administers);
        let rest = profiles.of(&peer(PeerAddress::Tcp("127.0.0.1:9".parse().unwrap())));
        assert!(rest.only_reads() && rest.name == "rest");
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_sentence() {
        let check = |text: &str, loopback: Option<&str>, words: &str| {
            let error = profiles(text, loopback, "h:1").unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        let one = "[[profiles]]\nname = 'a'\n";
        check(&one.repeat(2), None, "there is a profile \"a\" already");
        let built_in = one.replace("'a'", "'unmapped'");
        check(&built_in, None, "there is a profile \"unmapped\" already");
        check(one, Some("b"), "there is no profile of that name");
        check(one, Some(DEFAULT), "there is no profile of that name");
        let unread = format!("{one}permissions = ['@report']\n");
        check(&unread, None, "is without @read");
        let all = format!("{one}permissions = ['@all']\n");
        check(&all, None, "unknown variant `@all`");
        let half = format!("{one}users = [1.5]\n");
        check(&half, None, "a name or a number is wanted");
        let place = format!("{one}namespace = 'main'\n");
        check(
            &place,
            None,
            "write ws://HOST or wss://HOST in place of h:1",
        );
        assert!(profiles(&place, None, "wss://h").is_ok());
        let odd = format!("{one}namespace = 'a/b'\n");
        let error = profiles(&odd, None, "wss://h").unwrap_err().to_string();
        assert!(error.contains("names of namespaces are"), "{error}");
    }

    #[test]
    fn peers_of_tcp_may_be_given_what_the_agents_own_user_may() {
        let tcp = peer(PeerAddress::Tcp("127.0.0.1:9".parse().unwrap()));
        let profiles = profiles("", Some(DEFAULT), "h:1").unwrap();
        let profile = profiles.of(&tcp);
        assert!(profile.reports && !profile.administers);
    }
}
