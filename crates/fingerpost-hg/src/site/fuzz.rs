//! Fuzz targets: plain functions over bytes that panic when something that
//! must hold does not. They are for tests and fuzzers, never for a server.

use std::collections::BTreeMap;
use std::path::Path;

use super::ini::{Kind, parse};
use super::layers::Layers;
use super::open::{Files, Source};
use super::resolve::resolve;
use super::{Decision, Operation, RepositorySettings};

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target with its name, for runners.
pub const TARGETS: [(&str, Target); 2] = [("hgrc", fuzz_hgrc), ("hgrc_rules", fuzz_rules)];

/// The file format: what was read, written down again, is read the same.
pub fn fuzz_hgrc(data: &[u8]) {
    let Ok(statements) = parse(data) else {
        return;
    };
    // The mark keeps a first key that begins with one from losing it.
    let mut written = b"\xef\xbb\xbf".to_vec();
    for statement in &statements {
        match &statement.kind {
            Kind::Set {
                section,
                name,
                value,
            } => {
                heading(&mut written, section);
                let lines = value.split(|byte| *byte == b'\n');
                let lines = lines.collect::<Vec<_>>().join(&b"\n "[..]);
                // With a blank before it, a key may be taken for a directive.
                written.extend([*name, b"= ", &lines, b"\n"].concat());
            }
            Kind::Unset { section, name } => {
                heading(&mut written, section);
                written.extend([b"%unset ", *name, b"\n"].concat());
            }
            Kind::Include(path) => written.extend([b"%include ", *path, b"\n"].concat()),
        }
    }
    let again = parse(&written).expect("what was written is well formed");
    let kinds = |statements: &[super::ini::Statement<'_>]| {
        let kinds = statements
            .iter()
            .map(|statement| format!("{:?}", statement.kind));
        kinds.collect::<Vec<_>>()
    };
    assert_eq!(kinds(&statements), kinds(&again));
}

/// A trusted file below an untrusted one, separated by a `0xff`: the untrusted
/// one permits nobody anything that the trusted one alone does not.
pub fn fuzz_rules(data: &[u8]) {
    let mut files = data.splitn(2, |byte| *byte == 0xff);
    let trusted = files.next().unwrap_or_default();
    let untrusted = files.next().unwrap_or_default();
    let (Some(alone), Some(both)) = (settings(&[(trusted, true)]), {
        settings(&[(trusted, true), (untrusted, false)])
    }) else {
        return;
    };
    let users = [None, Some("a"), Some("b"), Some("*")];
    for operation in [Operation::Read, Operation::Pull, Operation::Push] {
        for user in users {
            let may = |settings: &RepositorySettings| {
                settings.access.decide(user, operation) == Decision::Allowed
            };
            assert!(may(&alone) || !may(&both), "{operation:?} by {user:?}");
        }
    }
    assert!(both.hidden || !alone.hidden);
    assert!(both.view >= alone.view);
    assert!(alone.raw_store_files || !both.raw_store_files);
    assert!(both.access.push_needs_tls() || !alone.access.push_needs_tls());
}

/// The settings of files on top of each other, with whether each is trusted.
fn settings(texts: &[(&[u8], bool)]) -> Option<RepositorySettings> {
    let environment = BTreeMap::new();
    let mut files = Files::closed(&environment);
    let mut layers = Layers::default();
    for (text, trusted) in texts {
        let source = Source {
            bytes: text.to_vec(),
            trusted: *trusted,
        };
        let pushed = layers.push_source(Path::new("hgrc"), &source, &mut files);
        pushed.ok()?;
    }
    resolve(&layers, Vec::new()).ok()
}

fn heading(written: &mut Vec<u8>, section: &[u8]) {
    if !section.is_empty() {
        written.extend([b"[", section, b"]\n"].concat());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines that are rules more often than not.
    fn rules() -> impl Strategy<Value = String> {
        let key = prop::sample::select(vec![
            "deny_read",
            "allow_read",
            "deny_push",
            "allow-push",
            "allow_push",
            "allow-pull",
            "allowpull",
            "push_ssl",
            "hidden",
        ]);
        let value = prop::sample::select(vec!["", "*", "a", "b", "a b", "a *", "yes", "no"]);
        let line = prop_oneof![
            8 => (key.clone(), value).prop_map(|(key, value)| format!("{key} = {value}\n")),
            1 => key.prop_map(|key| format!("%unset {key}\n")),
            1 => Just("[server]\nview = immutable\n[web]\n".to_owned()),
            1 => Just("[server]\nuncompressed = no\n[web]\n".to_owned()),
        ];
        prop::collection::vec(line, 0..6).prop_map(|lines| format!("[web]\n{}", lines.concat()))
    }

    proptest! {
        #[test]
        fn untrusted_rules_never_widen(trusted in rules(), untrusted in rules()) {
            fuzz_rules(&[trusted.as_bytes(), b"\xff", untrusted.as_bytes()].concat());
        }

        #[test]
        fn files_survive_being_written_again(
            file in prop::collection::vec(
                prop::sample::select(b"[]=#;% \t\n\r\"abc\\%unset %include \xef\xbb\xbf".to_vec()), 0..60,
            ),
        ) {
            fuzz_hgrc(&file);
        }
    }
}
