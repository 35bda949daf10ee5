//! The configuration shown to people: the annotated file, the text behind
//! `--help`, the table of the manual, and the settings in force.

mod lists;

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::Config;
use super::keys::{Key, Kind, Table};
use super::tree::{SECTIONS, Section};

/// The annotated `fingerpost.toml`: every key with its documentation, set to
/// its default or, where there is none, commented out with an example.
pub(crate) fn annotated_file() -> String {
    let mut out = String::from(FILE_HEAD);
    for section in SECTIONS {
        out.push('\n');
        for line in section.about {
            let _ = writeln!(out, "#{line}");
        }
        let _ = writeln!(out, "[{}]", section.name);
        for key in section.keys {
            out.push('\n');
            for line in key.about {
                let _ = writeln!(out, "#{line}");
            }
            match (key.kind, default_of(section, key)) {
                (Kind::Tables(table), _) => annotate_table(&mut out, section, key, table),
                (Kind::Rows(table), _) => {
                    let _ = writeln!(out, "#[[{}.{}]]", section.name, key.name);
                    annotate_keys(&mut out, table);
                }
                (_, Some(value)) => _ = writeln!(out, "{} = {value}", key.name),
                (Kind::Names, None) => {
                    let _ = writeln!(out, "[{}.{}]", section.name, key.name);
                    let _ = writeln!(out, "#{}", example_of(key));
                }
                (_, None) => _ = writeln!(out, "#{} = {}", key.name, example_of(key)),
            }
        }
    }
    out.push('\n');
    lists::annotate(&mut out);
    out
}

/// The keys of tables that the operator names, all commented out.
fn annotate_table(out: &mut String, section: &Section, key: &Key, table: &Table) {
    let _ = writeln!(out, "#[{}.{}.NAME]", section.name, key.name);
    annotate_keys(out, table);
}

fn annotate_keys(out: &mut String, table: &Table) {
    for (key, value) in keys_of(table) {
        if let Kind::Tables(_) = key.kind {
            continue;
        }
        out.push_str("#\n");
        for line in key.about {
            let _ = writeln!(out, "#{line}");
        }
        let value = value.unwrap_or_else(|| example_of(key).to_owned());
        let _ = writeln!(out, "#{} = {value}", spelled(key));
    }
}

/// The key's name; one that is a word of Rust is declared with a mark.
fn spelled(key: &Key) -> &'static str {
    key.name.trim_start_matches("r#")
}

/// The keys of a table with their defaults; `None` for those that have none.
fn keys_of(table: &Table) -> impl Iterator<Item = (&Key, Option<String>)> {
    let defaults = (table.defaults)();
    table
        .keys
        .iter()
        .map(move |key| (key, default_in(&defaults, key)))
}

/// Every key with its variable, default and documentation, for `--help`.
pub(crate) fn help() -> String {
    let mut out = String::from(HELP_HEAD);
    for section in SECTIONS {
        for key in section.keys {
            let default = default_of(section, key).unwrap_or_else(|| "unset".to_owned());
            let _ = writeln!(out, "\n  {}.{} = {default}", section.name, key.name);
            match key.kind {
                Kind::Names | Kind::Tables(_) | Kind::Rows(_) => {
                    out.push_str("      (in the file only)\n");
                }
                _ => _ = writeln!(out, "      {}", variable(section, key)),
            }
            for line in key.about {
                let _ = writeln!(out, "     {line}");
            }
            if let Kind::Tables(table) | Kind::Rows(table) = key.kind {
                let names = table.keys.iter().map(|key| key.name);
                let names = names.collect::<Vec<_>>().join(", ");
                let heading = heading(section, key);
                let _ = writeln!(out, "      {heading}: {names}");
            }
        }
    }
    lists::help(&mut out);
    out
}

/// The reference of all keys as a page of the manual.
pub(crate) fn manual() -> String {
    let mut out = String::new();
    for section in SECTIONS {
        let _ = writeln!(out, "\n### `[{}]`\n", section.name);
        let _ = writeln!(out, "{}\n", sentence(section.about));
        let _ = writeln!(out, "| key | default | meaning |\n| --- | --- | --- |");
        for key in section.keys {
            let default = default_of(section, key)
                .map_or_else(|| "unset".to_owned(), |value| format!("`{value}`"));
            let mut about = sentence(key.about).replace('|', "\\|");
            match key.kind {
                Kind::Names => _ = write!(about, " A table: `{}`", example_of(key)),
                Kind::Tables(_) | Kind::Rows(_) => about.push_str(" Tables, see below."),
                _ => {}
            }
            let _ = writeln!(out, "| `{}` | {default} | {about} |", key.name);
        }
        for key in section.keys {
            if let Kind::Tables(table) | Kind::Rows(table) = key.kind {
                describe_table(&mut out, section, key, table);
            }
        }
    }
    lists::describe(&mut out);
    out
}

/// The page of tables that the operator names, or lists.
fn describe_table(out: &mut String, section: &Section, key: &Key, table: &Table) {
    let _ = writeln!(out, "\n#### `{}`\n", heading(section, key));
    describe_keys(out, table);
}

/// The heading of a key's tables.
fn heading(section: &Section, key: &Key) -> String {
    match key.kind {
        Kind::Rows(_) => format!("[[{}.{}]]", section.name, key.name),
        _ => format!("[{}.{}.NAME]", section.name, key.name),
    }
}

fn describe_keys(out: &mut String, table: &Table) {
    let _ = writeln!(out, "| key | default | meaning |\n| --- | --- | --- |");
    for (key, default) in keys_of(table) {
        let default = default.map_or_else(|| "unset".to_owned(), |value| format!("`{value}`"));
        let mut about = sentence(key.about).replace('|', "\\|");
        if let Some(example) = key.example {
            let _ = write!(about, " Example: `{example}`");
        }
        let _ = writeln!(out, "| `{}` | {default} | {about} |", spelled(key));
    }
}

/// The settings in force, as a file that would set them. Secrets are hidden.
pub(crate) fn effective(config: &Config) -> String {
    let values = serde_json::to_value(config).expect("the tree is plain data");
    let mut out = String::new();
    for section in SECTIONS {
        let _ = writeln!(out, "[{}]", section.name);
        for key in section.keys {
            match &values[section.name][key.name] {
                Value::Null => _ = writeln!(out, "#{} =", key.name),
                Value::Object(names) => {
                    let _ = writeln!(out, "\n[{}.{}]", section.name, key.name);
                    out.extend(pairs(names).map(|pair| pair + "\n"));
                }
                value => _ = writeln!(out, "{} = {}", key.name, toml(value)),
            }
        }
        out.push('\n');
    }
    lists::show(&mut out, &values);
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// The environment variable that sets a key.
fn variable(section: &Section, key: &Key) -> String {
    format!("FINGERPOST_{}__{}", section.name, key.name).to_uppercase()
}

fn default_of(section: &Section, key: &Key) -> Option<String> {
    let defaults = serde_json::to_value(Config::default()).expect("the tree is plain data");
    default_in(&defaults[section.name], key)
}

/// The default of a key among others; none is no value, nothing in a table, and
/// text where there must be some.
fn default_in(defaults: &Value, key: &Key) -> Option<String> {
    match &defaults[key.name] {
        Value::Null => None,
        Value::Object(names) if names.is_empty() => None,
        Value::Array(items) if items.is_empty() && key.example.is_some() => None,
        Value::String(text) if text.is_empty() && key.example.is_some() => None,
        value => Some(toml(value)),
    }
}

/// Names and their values, as lines of a table.
fn pairs(names: &Map<String, Value>) -> impl Iterator<Item = String> {
    let quoted = |name: &String| Value::from(name.as_str());
    // What is not set is left out: TOML has nothing for it.
    let set = names.iter().filter(|(_, value)| !value.is_null());
    set.map(move |(name, value)| format!("{} = {}", quoted(name), toml(value)))
}

/// JSON of texts, numbers, truth values and lists of them is TOML as well.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(names) => {
            let pairs: Vec<_> = pairs(names).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

fn example_of(key: &Key) -> &'static str {
    key.example
        .expect("a test holds that keys without a default have an example")
}

fn sentence(lines: &[&str]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}

const FILE_HEAD: &str = "\
# Fingerpost's configuration, /etc/fingerpost/fingerpost.toml. Every key is here
# with its default; every key may be left out. Keys that are commented out have
# no default.
#
# A key is also set by the environment, FINGERPOST_SECTION__KEY, and most by a
# flag of `fingerpost serve`. The order is: flag, FINGERPOST_SECTION__KEY,
# HASHSERVER_... (the reference server's variables), this file, default. Lists
# in variables are separated by commas.
#
# `fingerpost check-config` names a wrong key and its line. This file is made by
# `fingerpost docs annotated-file`.
";

const HELP_HEAD: &str = "\
Configuration keys, with the variable that sets each. Order: flag, variable,
HASHSERVER_BIND, _DB, _DB_USERNAME, _DB_PASSWORD, _LOG_LEVEL, _UPSTREAM,
_READ_ONLY, _ANON_PERMS, _ADMIN_USER, _ADMIN_PASSWORD, file, default. The file is
--config, else $FINGERPOST_CONFIG, else /etc/fingerpost/fingerpost.toml.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_without_a_default_have_an_example() {
        for section in SECTIONS {
            for key in section.keys {
                let default = default_of(section, key);
                let has_example = key.example.is_some() || matches!(key.kind, Kind::Tables(_));
                assert_eq!(default.is_none(), has_example, "{}", key.name);
                if let Kind::Tables(table) = key.kind {
                    for (key, default) in keys_of(table) {
                        assert_eq!(default.is_none(), key.example.is_some(), "{}", key.name);
                    }
                }
            }
        }
    }

    #[test]
    fn the_annotated_file_sets_what_is_the_default_anyway() {
        let parsed: Config = toml::from_str(&annotated_file()).unwrap();
        assert_eq!(effective(&parsed), effective(&Config::default()));
    }

    #[test]
    fn tables_are_valid_when_uncommented() {
        for section in SECTIONS {
            for key in section.keys {
                let mut text = String::new();
                match key.kind {
                    Kind::Tables(table) => annotate_table(&mut text, section, key, table),
                    Kind::Rows(table) => {
                        let _ = writeln!(text, "#{}", heading(section, key));
                        annotate_keys(&mut text, table);
                    }
                    _ => continue,
                }
                let lines = text.lines().map(|line| &line[1..]);
                let lines = lines.map(|line| if line.starts_with(' ') { "" } else { line });
                let text = lines.collect::<Vec<_>>().join("\n");
                let shown = effective(&toml::from_str::<Config>(&text).unwrap());
                assert_eq!(effective(&toml::from_str(&shown).unwrap()), shown);
            }
        }
    }

    #[test]
    fn examples_are_valid_when_uncommented() {
        for section in SECTIONS {
            for key in section.keys.iter().filter(|key| key.example.is_some()) {
                let (section, name, example) = (section.name, key.name, example_of(key));
                let text = match key.kind {
                    Kind::Names => format!("[{section}.{name}]\n{example}\n"),
                    _ => format!("[{section}]\n{name} = {example}\n"),
                };
                toml::from_str::<Config>(&text).unwrap();
            }
        }
    }

    #[test]
    fn tables_of_names_come_last_in_their_section() {
        for section in SECTIONS {
            let tables = section.keys.iter();
            let tables =
                tables.map(|key| matches!(key.kind, Kind::Names | Kind::Tables(_) | Kind::Rows(_)));
            assert!(
                tables.is_sorted(),
                "what follows [{}.x] is in it",
                section.name
            );
        }
    }

    #[test]
    fn what_is_in_force_would_set_itself_again() {
        let text = "[hg]\nprefix = '/hg'\n[hg.repositories]\n'a/b' = '/srv/x'\n'\\' = '/y'\n\
                    [hg.rules]\n'a/b' = { read = ['*'] }\n'*' = { read = [], write = ['eve'] }\n";
        let config: Config = toml::from_str(text).unwrap();
        let shown = effective(&config);
        assert!(
            shown.contains("\n[hg.repositories]\n\"\\\\\" = \"/y\"\n\"a/b\" = "),
            "{shown}"
        );
        assert_eq!(effective(&toml::from_str(&shown).unwrap()), shown);
    }

    #[test]
    fn secrets_in_force_are_hidden() {
        let text = "[accounts]\nadmin_username = 'a'\nadmin_password = 'hunter2'\n";
        let shown = effective(&toml::from_str(text).unwrap());
        assert!(
            !shown.contains("hunter2") && shown.contains("(hidden)"),
            "{shown}"
        );
    }

    #[test]
    fn help_names_every_variable() {
        let help = help();
        assert!(help.contains("FINGERPOST_LIMITS__HANDSHAKE_SECONDS"));
        assert!(help.contains("accounts.anonymous_permissions = [\"@read\", \"@report\"]"));
    }
}
