//! Dependencies: licences that may be shipped, crates that must not be there,
//! sources that are known, and crates of which a second copy is a mistake.
//!
//! `cargo deny` does this and more, and takes minutes to build; this reads
//! `cargo metadata` in a second.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::tree;

/// Licences under which code may be linked into the programs.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    // Boost's, of xxhash-rust: MIT without the notice in binaries.
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not be in the tree, and why.
const BANNED: &[(&str, &str)] = &[
    (
        "aws-lc-sys",
        "rustls has one provider, ring; with two it panics at start",
    ),
    (
        "aws-lc-rs",
        "rustls has one provider, ring; with two it panics at start",
    ),
    ("openssl-sys", "TLS is rustls"),
    ("native-tls", "TLS is rustls"),
];

/// Crates that others may bring, and that none of ours may name.
const NOT_OURS: &[(&str, &str)] = &[(
    "chrono",
    "time is the `time` crate; object_store has chrono in its types",
)];

/// Crates of which a second version is a second copy on the hot path, in the
/// protocol, or minutes of build time.
const SINGLE: &[&str] = &[
    "axum",
    "bytes",
    "clap",
    "futures-util",
    "http",
    "hyper",
    "libsqlite3-sys",
    "rusqlite",
    "rustls",
    "serde",
    "serde_json",
    "tokio",
    "tokio-rustls",
    "tokio-tungstenite",
    "tracing",
    "tungstenite",
    "zstd-sys",
];

/// Reads `cargo metadata` and names everything that breaks a rule.
pub(crate) fn check() -> Result<Vec<String>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
        ])
        .current_dir(tree::root()?)
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"]
        .as_array()
        .context("metadata lists packages")?;
    Ok(judge(packages))
}

fn judge(packages: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    let mut versions = BTreeMap::<&str, Vec<&str>>::new();
    for package in packages {
        let text = |field: &str| package[field].as_str().unwrap_or_default();
        let (name, version) = (text("name"), text("version"));
        versions.entry(name).or_default().push(version);
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            found.push(format!("{name} {version} is banned: {why}"));
        }
        // No source: a crate of ours, by its path.
        let source = text("source");
        if !source.is_empty() && !source.starts_with("registry+") {
            found.push(format!(
                "{name} {version} comes from {source}, not from the registry"
            ));
        }
        if source.is_empty() {
            found.extend(named_by_ours(name, package));
        }
        let licence = text("license");
        if !is_allowed(licence) {
            found.push(format!("{name} {version} has the licence {licence:?}"));
        }
    }
    for name in SINGLE {
        let copies = versions.get(name).map_or(&[][..], Vec::as_slice);
        if copies.len() > 1 {
            found.push(format!(
                "{name} is there more than once: {}",
                copies.join(", ")
            ));
        }
    }
    found
}

fn named_by_ours(name: &str, package: &Value) -> Vec<String> {
    let uses = package["dependencies"].as_array();
    let names = uses
        .into_iter()
        .flatten()
        .filter_map(|used| used["name"].as_str());
    names
        .filter_map(|used| NOT_OURS.iter().find(|(not_ours, _)| *not_ours == used))
        .map(|(used, why)| format!("{name} must not use {used}: {why}"))
        .collect()
}

/// Whether an SPDX expression can be met with [`LICENCES`]. `OR` needs one
/// side, `AND` both; `/` is an old spelling of `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = words.as_slice();
    let met = either(&mut words);
    met && words.is_empty()
}

fn either(words: &mut &[&str]) -> bool {
    let mut met = both(words);
    while let ["OR", rest @ ..] = words {
        *words = rest;
        met |= both(words);
    }
    met
}

fn both(words: &mut &[&str]) -> bool {
    let mut met = one(words);
    while let ["AND", rest @ ..] = words {
        *words = rest;
        met &= one(words);
    }
    met
}

fn one(words: &mut &[&str]) -> bool {
    match words {
        ["(", rest @ ..] => {
            *words = rest;
            let met = either(words);
            if let [")", rest @ ..] = words {
                *words = rest;
            }
            met
        }
        [name, "WITH", exception, rest @ ..] => {
            *words = rest;
            LICENCES.contains(&format!("{name} WITH {exception}").as_str())
        }
        [name, rest @ ..] => {
            *words = rest;
            LICENCES.contains(name)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_understood() {
        assert!(is_allowed("MIT OR Apache-2.0"));
        assert!(is_allowed("MIT/Apache-2.0"));
        assert!(is_allowed("Apache-2.0 WITH LLVM-exception OR GPL-2.0"));
        assert!(is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(!is_allowed("MIT AND GPL-3.0"));
        assert!(!is_allowed("GPL-3.0"));
        assert!(!is_allowed(""));
    }

    #[test]
    fn what_must_not_be_there_is_named() {
        let packages = serde_json::json!([
            {"name": "openssl-sys", "version": "1.0.0", "license": "MIT", "source": "registry+x"},
            {"name": "b", "version": "1.0.0", "license": "MIT", "source": "git+x"},
            {"name": "tokio", "version": "1.0.0", "license": "MIT", "source": "registry+x"},
            {"name": "tokio", "version": "2.0.0", "license": "MIT", "source": "registry+x"},
        ]);
        let found = judge(packages.as_array().unwrap());
        assert_eq!(
            found,
            [
                "openssl-sys 1.0.0 is banned: TLS is rustls",
                "b 1.0.0 comes from git+x, not from the registry",
                "tokio is there more than once: 1.0.0, 2.0.0",
            ]
        );
    }
}
