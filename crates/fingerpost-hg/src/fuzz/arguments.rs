//! Arguments of commands, as a client may send them.

use fingerpost_core::Failure;
use fingerpost_hg_proto::cbor::{self, Value};
use fingerpost_hg_proto::{CommandRequest, Node};

use crate::commands::path_filter::PathFilter;
use crate::commands::specifier::Specifier;

/// What a request may hold here.
const LIMITS: cbor::Limits = cbor::Limits {
    depth: 8,
    bytes: 4096,
    items: 500,
};

/// The map of a request: each command takes its arguments or says in a sentence
/// what is wrong with them, and so do specifiers and path filters.
pub fn fuzz_arguments(input: &[u8]) {
    let Ok(request) = CommandRequest::decode(input, &LIMITS) else {
        return;
    };
    for entry in crate::commands().entries() {
        if let Err(bad) = entry.parses(&request.args) {
            assert!(!bad.0.is_empty(), "{}", entry.declaration.name);
        }
    }
    for (_, value) in request.args.iter() {
        for specifier in value.as_array().unwrap_or_default() {
            match Specifier::parse(specifier) {
                Ok(specifier) => check_specifier(&specifier),
                Err(failure) => check_refusal(&failure),
            }
        }
        match PathFilter::parse(Some(value)) {
            Ok(filter) => check_filter(value, &filter),
            Err(failure) => check_refusal(&failure),
        }
    }
}

fn check_specifier(specifier: &Specifier) {
    let nodes: usize = match specifier {
        Specifier::Explicit(nodes) | Specifier::ExplicitDepth { nodes, .. } => nodes.len(),
        Specifier::DagRange { roots, heads } => {
            assert!(!heads.is_empty());
            roots.len() + heads.len()
        }
    };
    assert!(nodes <= LIMITS.bytes / Node::BYTES);
}

/// A refusal has a place in its message for each of its arguments.
fn check_refusal(failure: &Failure) {
    let Failure::Refused { message, args, .. } = failure else {
        panic!("{failure} is no refusal");
    };
    assert!(!message.is_empty());
    assert_eq!(message.matches("%s").count(), args.len(), "{message}");
}

/// Patterns name paths: what is excluded is not wanted, and what is included
/// is unless it is excluded.
fn check_filter(value: &Value, filter: &PathFilter) {
    assert!(value.is_null() || value.as_map().is_some());
    let Some(map) = value.as_map() else {
        assert!(filter.wants(b"any/path"));
        return;
    };
    let list = |key: &[u8]| map.get(key).map(members);
    let excluded = list(b"exclude").unwrap_or_default();
    for path in excluded.iter().filter_map(|pattern| plain(pattern)) {
        assert!(!filter.wants(path) && !filter.wants(&[path, b"/below"].concat()));
    }
    match list(b"include") {
        None => assert!(filter.wants(b"any/path") || !excluded.is_empty()),
        Some(included) if excluded.is_empty() => {
            let mut paths = included.iter().filter_map(|pattern| plain(pattern));
            assert!(paths.all(|path| filter.wants(path)));
        }
        Some(_) => {}
    }
}

fn members(value: &Value) -> Vec<&[u8]> {
    let members = match value {
        Value::Set(set) => set.as_slice(),
        other => other.as_array().unwrap_or_default(),
    };
    members.iter().filter_map(Value::as_bytes).collect()
}

/// The path of a `path:` pattern that is one as it stands.
fn plain(pattern: &[u8]) -> Option<&[u8]> {
    let path = pattern.strip_prefix(b"path:")?;
    (!path.is_empty() && path != b"." && !path.ends_with(b"/")).then_some(path)
}
