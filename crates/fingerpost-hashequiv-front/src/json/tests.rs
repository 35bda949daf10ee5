use std::collections::HashSet;

use super::*;

/// Every command has both doors, or there is a reason why not.
#[test]
fn every_command_is_a_resource_or_says_why_not() {
    let commands = fingerpost_hashequiv::commands();
    let routed: HashSet<_> = routes::ROUTES.iter().map(|route| route.command).collect();
    for entry in commands.entries() {
        let name = entry.declaration.name;
        let why = routes::WITHOUT.iter().find(|(without, _)| *without == name);
        assert_ne!(routed.contains(name), why.is_some(), "{name}");
    }
    let known: HashSet<_> = commands
        .entries()
        .iter()
        .map(|entry| entry.declaration.name)
        .collect();
    let without = routes::WITHOUT.iter().map(|(name, why)| {
        assert!(!why.is_empty());
        *name
    });
    for name in routed.into_iter().chain(without) {
        assert!(known.contains(name), "{name}");
    }
}

/// The parameter that chooses fields of the answer hides none of the argument.
#[test]
fn no_command_has_a_field_that_is_called_fields() {
    for entry in fingerpost_hashequiv::commands().entries() {
        assert!(
            entry
                .fields
                .iter()
                .all(|field| field.name != fields::FIELDS)
        );
    }
}

/// What a path names is a field of the command.
#[test]
fn paths_and_fixed_fields_are_fields_of_their_command() {
    let commands = fingerpost_hashequiv::commands();
    for route in routes::ROUTES {
        let (_, entry) = commands.find(route.command, false).unwrap();
        let is_field = |name: &str| entry.fields.iter().any(|field| field.name == name);
        for segment in route.path.split('/') {
            if let Some(name) = segment.strip_prefix('{') {
                assert!(is_field(name.trim_end_matches('}')), "{}", route.path);
            }
        }
        for (name, json) in route.fixed.iter().chain(route.defaults) {
            assert!(is_field(name) && serde_json::from_str::<serde_json::Value>(json).is_ok());
        }
    }
}
