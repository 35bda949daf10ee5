//! Who may use whom. Arrows go from the binary over fronts and services down
//! to the core; branches never see each other. What is deliberately absent is
//! listed as well: fronts see no SQL, services no HTTP, protocols no runtime.

use anyhow::{Context, Result};
use toml::Table;

use crate::tree::Tree;

/// What one crate may depend on among ours.
const ALLOWED: &[(&str, &[&str])] = &[
    ("fingerpost-core", &[]),
    ("fingerpost-content", &["fingerpost-core"]),
    ("fingerpost-db", &["fingerpost-core"]),
    ("fingerpost-net", &["fingerpost-core"]),
    ("fingerpost-accounts", &["fingerpost-core", "fingerpost-db"]),
    ("fingerpost-program", &["fingerpost-core", "fingerpost-net"]),
    ("fingerpost-hashequiv-proto", &["fingerpost-core"]),
    (
        "fingerpost-signatures",
        &["fingerpost-core", "fingerpost-hashequiv-proto"],
    ),
    ("fingerpost-snapshot", &["fingerpost-signatures"]),
    (
        "fingerpost-hashequiv",
        &[
            "fingerpost-accounts",
            "fingerpost-core",
            "fingerpost-db",
            "fingerpost-hashequiv-proto",
            "fingerpost-signatures",
            "fingerpost-snapshot",
        ],
    ),
    (
        "fingerpost-hashequiv-client",
        &["fingerpost-hashequiv-proto", "fingerpost-net"],
    ),
    (
        "fingerpost-hashequiv-front",
        &[
            "fingerpost-accounts",
            "fingerpost-core",
            "fingerpost-hashequiv",
            "fingerpost-hashequiv-client",
            "fingerpost-hashequiv-proto",
            "fingerpost-net",
            "fingerpost-signatures",
            "fingerpost-snapshot",
        ],
    ),
    (
        "fingerpost-agent",
        &[
            "fingerpost-core",
            "fingerpost-db",
            "fingerpost-hashequiv-client",
            "fingerpost-hashequiv-proto",
            "fingerpost-net",
            "fingerpost-program",
            "fingerpost-signatures",
            "fingerpost-snapshot",
        ],
    ),
    ("fingerpost-hg-proto", &["fingerpost-core"]),
    ("fingerpost-hg", &["fingerpost-core", "fingerpost-hg-proto"]),
    (
        "fingerpost-hg-front",
        &[
            "fingerpost-accounts",
            "fingerpost-core",
            "fingerpost-hg",
            "fingerpost-hg-proto",
            "fingerpost-net",
        ],
    ),
    (
        "fingerpost",
        &[
            "fingerpost-accounts",
            "fingerpost-agent",
            "fingerpost-content",
            "fingerpost-core",
            "fingerpost-db",
            "fingerpost-hashequiv",
            "fingerpost-hashequiv-client",
            "fingerpost-hashequiv-front",
            "fingerpost-hashequiv-proto",
            "fingerpost-hg",
            "fingerpost-hg-front",
            "fingerpost-hg-proto",
            "fingerpost-net",
            "fingerpost-program",
            "fingerpost-signatures",
            "fingerpost-snapshot",
        ],
    ),
    (
        "fingerpost-testkit",
        &[
            "fingerpost-core",
            "fingerpost-db",
            "fingerpost-hashequiv",
            "fingerpost-hashequiv-proto",
        ],
    ),
    ("xtask", &[]),
];

/// What must not be named in a crate's dependencies, and why.
const ABSENT: &[(&str, &[&str], &str)] = &[
    (
        "fingerpost-core",
        &["tokio", "rusqlite", "axum", "hyper"],
        "the core knows no runtime, database or socket",
    ),
    (
        "fingerpost-hashequiv-proto",
        &["tokio", "rusqlite", "axum", "hyper"],
        "protocol crates do no I/O",
    ),
    (
        "fingerpost-signatures",
        &["tokio", "rusqlite", "axum", "hyper", "getrandom"],
        "signing asks nobody: randomness and time are arguments",
    ),
    (
        "fingerpost-snapshot",
        &["tokio", "rusqlite", "axum", "hyper"],
        "a snapshot is files: no database, no HTTP, no runtime",
    ),
    (
        "fingerpost-hg-proto",
        &["tokio", "rusqlite", "axum", "hyper"],
        "protocol crates do no I/O",
    ),
    (
        "fingerpost-hg",
        &["axum", "hyper", "hyper-util", "rustls", "socket2"],
        "services know no HTTP, socket or TLS",
    ),
    ("fingerpost-hg-front", &["rusqlite"], "fronts see no SQL"),
    (
        "fingerpost-hashequiv",
        &[
            "axum",
            "hyper",
            "hyper-util",
            "tokio-tungstenite",
            "rustls",
            "socket2",
        ],
        "services know no HTTP, socket or TLS",
    ),
    (
        "fingerpost-hashequiv-client",
        &["rusqlite"],
        "clients see no SQL",
    ),
    (
        "fingerpost-hashequiv-front",
        &["rusqlite"],
        "fronts see no SQL",
    ),
    ("fingerpost-net", &["rusqlite"], "the net sees no SQL"),
    (
        "fingerpost-agent",
        &[
            "argon2",
            "deadpool-postgres",
            "object_store",
            "redis",
            "tokio-postgres",
        ],
        "the server's stores stay with the server",
    ),
];

/// Below this many crates two cores still build the workspace in time.
const CRATES_MAX: usize = 20;

/// Reads every manifest and names each arrow that runs up or sideways.
pub(crate) fn check(tree: &Tree) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let manifests: Vec<_> = tree
        .files()
        .filter(|(path, _)| {
            *path == "xtask/Cargo.toml"
                || path.starts_with("crates/") && path.ends_with("/Cargo.toml")
        })
        .collect();
    if manifests.len() >= CRATES_MAX {
        found.push(format!(
            "{} crates: stay below {CRATES_MAX}",
            manifests.len()
        ));
    }
    for (path, text) in manifests {
        let manifest: Table = text
            .parse()
            .with_context(|| format!("cannot read {path}"))?;
        check_manifest(path, &manifest, &mut found);
    }
    Ok(found)
}

fn check_manifest(path: &str, manifest: &Table, found: &mut Vec<String>) {
    let name = manifest["package"]["name"].as_str().unwrap_or_default();
    let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
        found.push(format!(
            "{path}: say in xtask/src/arrows.rs whom {name} may use"
        ));
        return;
    };
    let uses = manifest.get("dependencies").and_then(toml::Value::as_table);
    for (used, how) in uses.into_iter().flatten() {
        if used.starts_with("fingerpost") && !allowed.contains(&used.as_str()) {
            found.push(format!("{path}: {name} must not use {used}"));
        }
        if !is_of_workspace(how) {
            found.push(format!("{path}: declare {used} in the workspace table"));
        }
        for (_, absent, why) in ABSENT.iter().filter(|(known, ..)| *known == name) {
            if absent.contains(&used.as_str()) {
                found.push(format!("{path}: {name} must not use {used}: {why}"));
            }
        }
    }
    let tests = manifest
        .get("dev-dependencies")
        .and_then(toml::Value::as_table);
    for (used, how) in tests.into_iter().flatten() {
        if !is_of_workspace(how) {
            found.push(format!("{path}: declare {used} in the workspace table"));
        }
    }
    if manifest.get("lints").is_none() {
        found.push(format!("{path}: take the workspace's lints"));
    }
}

/// `x.workspace = true`, so that a dependency's features are declared once.
fn is_of_workspace(how: &toml::Value) -> bool {
    how.as_table()
        .and_then(|table| table.get("workspace"))
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, dependencies: &str) -> Vec<String> {
        let manifest = format!(
            "[package]\nname = '{name}'\n[lints]\nworkspace = true\n[dependencies]\n{dependencies}"
        );
        check(&Tree::of(&[("crates/x/Cargo.toml", &manifest)])).unwrap()
    }

    #[test]
    fn an_arrow_up_is_found() {
        let found = found("fingerpost-core", "fingerpost-db.workspace = true\n");
        assert_eq!(
            found,
            ["crates/x/Cargo.toml: fingerpost-core must not use fingerpost-db"]
        );
    }

    #[test]
    fn an_arrow_down_is_fine() {
        assert!(found("fingerpost-accounts", "fingerpost-db.workspace = true\n").is_empty());
    }

    #[test]
    fn fronts_see_no_sql() {
        let found = found("fingerpost-hashequiv-front", "rusqlite.workspace = true\n");
        assert!(found[0].ends_with("fronts see no SQL"), "{found:?}");
    }

    #[test]
    fn the_agent_has_none_of_the_servers_stores() {
        let check = |used: &str, words: &str| {
            let found = found("fingerpost-agent", &format!("{used}.workspace = true\n"));
            assert!(found[0].ends_with(words), "{found:?}");
        };
        check("fingerpost-hashequiv", "must not use fingerpost-hashequiv");
        check("fingerpost-hg", "must not use fingerpost-hg");
        check("fingerpost-accounts", "must not use fingerpost-accounts");
        check("tokio-postgres", "the server's stores stay with the server");
    }

    #[test]
    fn a_version_of_its_own_is_found() {
        let found = found("fingerpost-core", "serde = '1'\n");
        assert_eq!(
            found,
            ["crates/x/Cargo.toml: declare serde in the workspace table"]
        );
    }

    #[test]
    fn an_unknown_crate_is_found() {
        assert!(found("fingerpost-new", "")[0].contains("whom fingerpost-new may use"));
    }
}
