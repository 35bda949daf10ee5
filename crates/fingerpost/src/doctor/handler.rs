//! `BB_SIGNATURE_HANDLER`: whether a build asks a hash server at all; and what a change of
//! the server costs in parsing.

use super::address::Server;
use super::report::Finding;
use super::variables::Variables;

const HANDLER: &str = "BB_SIGNATURE_HANDLER";
const ASKS: &str = "OEEquivHash";
/// Of BitBake and OE-Core; none of them asks.
const SILENT: [&str; 6] = [
    "noop",
    "basic",
    "basichash",
    "OEBasic",
    "OEBasicHash",
    "testsignature",
];

/// Whether the handler asks.
pub(super) fn check(variables: &Variables, server: &Server) -> Finding {
    const ID: &str = "handler";
    if !variables.knows(HANDLER) {
        return Finding::not_checked(ID, "BB_SIGNATURE_HANDLER is not known");
    }
    match (variables.get(HANDLER), server) {
        (Some(ASKS), Server::Off) => Finding::problem(
            ID,
            "OEEquivHash ends a build without a hash server: set BB_HASHSERVE, to `auto` at least",
        ),
        (Some(ASKS), _) => Finding::ok(ID, "OEEquivHash asks the hash server"),
        (_, Server::Off) => Finding::ok(ID, "hash equivalence is off"),
        (None, _) => Finding::problem(
            ID,
            "BB_SIGNATURE_HANDLER is not set, so nobody asks the hash server: set it to \"OEEquivHash\"",
        ),
        (Some(silent), _) if SILENT.contains(&silent) => Finding::problem(
            ID,
            format!("{silent} asks no hash server: set BB_SIGNATURE_HANDLER = \"OEEquivHash\""),
        ),
        (Some(other), _) => Finding::warning(
            ID,
            format!(
                "{other} is none of OE-Core's handlers: make sure that it derives from OEEquivHash, \
                 or set that one"
            ),
        ),
    }
}

/// A variable that is part of the configuration's hash has every recipe parsed again when
/// it changes, as a token of a CI system does with each job.
pub(super) fn parsing(variables: &Variables) -> Option<Finding> {
    let ignored = variables.get("BB_HASHCONFIG_IGNORE_VARS")?;
    let is_ignored = |name: &str| ignored.split_whitespace().any(|word| word == name);
    let is_set = |name: &str| match name {
        "BB_HASHSERVE_PASSWORD" => variables.password().is_some(),
        _ => variables.get(name).is_some(),
    };
    let hashed: Vec<_> = [
        "BB_HASHSERVE",
        "BB_HASHSERVE_USERNAME",
        "BB_HASHSERVE_PASSWORD",
    ]
    .into_iter()
    .filter(|name| is_set(name) && !is_ignored(name))
    .collect();
    (!hashed.is_empty()).then(|| {
        Finding::warning(
            "parsing",
            format!(
                "every recipe is parsed again when {names} changes: set \
                 BB_HASHCONFIG_IGNORE_VARS:append = \" {names}\", or inherit the class fingerpost",
                names = hashed.join(" ")
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::super::variables::set;
    use super::*;

    fn state(handler: &str, server: &Server) -> State {
        check(&set(&[(HANDLER, handler)]), server).state
    }

    #[test]
    fn a_server_that_nobody_asks_is_a_problem() {
        let server = Server::Own { upstream: None };
        assert_eq!(state("OEEquivHash", &server), State::Ok);
        assert_eq!(state("OEBasicHash", &server), State::Problem);
        assert_eq!(state("", &server), State::Problem);
        assert_eq!(state("VendorEquivHash", &server), State::Warning);
        assert_eq!(state("OEEquivHash", &Server::Off), State::Problem);
        assert_eq!(state("OEBasicHash", &Server::Off), State::Ok);
        let nothing = Variables::default();
        assert_eq!(check(&nothing, &server).state, State::NotChecked);
    }

    #[test]
    fn a_password_of_the_configurations_hash_is_told() {
        let ignore = |names| ("BB_HASHCONFIG_IGNORE_VARS", names);
        let server = ("BB_HASHSERVE", "h:1");
        let password = ("BB_HASHSERVE_PASSWORD", "hunter2");
        let found = parsing(&set(&[ignore("BB_HASHSERVE X"), server, password])).unwrap();
        assert!(found.says.contains("when BB_HASHSERVE_PASSWORD changes"));
        assert!(!found.says.contains("hunter2"));
        let all = ignore("BB_HASHSERVE BB_HASHSERVE_PASSWORD");
        assert_eq!(parsing(&set(&[all, server, password])), None);
        assert_eq!(parsing(&set(&[server, password])), None);
        // Nothing but an editor changes that one.
        let upstream = ("BB_HASHSERVE_UPSTREAM", "wss://h/");
        assert_eq!(parsing(&set(&[all, server, upstream])), None);
    }
}
