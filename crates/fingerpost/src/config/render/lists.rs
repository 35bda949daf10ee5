//! Lists of tables: `[[oidc]]`, which there may be several of, with `[[oidc.rules]]`
//! in each.

use std::fmt::Write as _;

use serde_json::Value;

use super::super::keys::{Kind, Table};
use super::super::oidc::{ABOUT, OIDC};
use super::{annotate_keys, describe_keys, pairs, sentence};

/// The lists: what their headings are, and their keys.
fn all() -> Vec<(String, &'static Table)> {
    let mut lists = vec![("oidc".to_owned(), &OIDC)];
    for key in OIDC.keys {
        if let Kind::Tables(table) = key.kind {
            lists.push((format!("oidc.{}", key.name), table));
        }
    }
    lists
}

/// Everything commented out.
pub(super) fn annotate(out: &mut String) {
    for line in ABOUT {
        let _ = writeln!(out, "#{line}");
    }
    for (heading, table) in all() {
        let _ = writeln!(out, "#[[{heading}]]");
        annotate_keys(out, table);
    }
}

pub(super) fn help(out: &mut String) {
    for (heading, table) in all() {
        let names = table.keys.iter().map(super::spelled);
        let names = names.collect::<Vec<_>>().join(", ");
        let _ = writeln!(out, "\n  [[{heading}]] (in the file only)\n      {names}");
    }
}

pub(super) fn describe(out: &mut String) {
    for (heading, table) in all() {
        let _ = writeln!(out, "\n### `[[{heading}]]`\n");
        if heading == "oidc" {
            let _ = writeln!(out, "{}\n", sentence(ABOUT));
        }
        describe_keys(out, table);
    }
}

/// What is in force; rules are in one line each.
pub(super) fn show(out: &mut String, values: &Value) {
    for oidc in values["oidc"].as_array().into_iter().flatten() {
        out.push_str("[[oidc]]\n");
        for line in oidc.as_object().into_iter().flat_map(pairs) {
            let _ = writeln!(out, "{line}");
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Config;
    use super::super::effective;
    use super::*;

    #[test]
    fn a_list_is_valid_when_uncommented_and_shown() {
        let mut text = String::new();
        annotate(&mut text);
        let lines = text.lines().map(|line| &line[1..]);
        let lines = lines.map(|line| if line.starts_with(' ') { "" } else { line });
        let text = lines.collect::<Vec<_>>().join("\n");
        let config: Config = toml::from_str(&text).unwrap();
        config.check_oidc().unwrap();
        let shown = effective(&config);
        assert!(shown.contains("\n[[oidc]]\n"), "{shown}");
        let again: Config = toml::from_str(&shown).unwrap();
        again.check_oidc().unwrap();
        assert_eq!(effective(&again), shown);
    }
}
