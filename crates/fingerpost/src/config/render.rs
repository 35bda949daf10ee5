//! The configuration shown to people: the annotated file, the text behind
//! `--help`, the table of the manual, and the settings in force.

use std::fmt::Write as _;

use serde_json::Value;

use super::Config;
use super::tree::{Key, SECTIONS, Section};

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
            match default_of(section, key) {
                Some(value) => _ = writeln!(out, "{} = {value}", key.name),
                None => _ = writeln!(out, "#{} = {}", key.name, example_of(key)),
            }
        }
    }
    out
}

/// Every key with its variable, default and documentation, for `--help`.
pub(crate) fn help() -> String {
    let mut out = String::from(HELP_HEAD);
    for section in SECTIONS {
        for key in section.keys {
            let default = default_of(section, key).unwrap_or_else(|| "unset".to_owned());
            let _ = writeln!(out, "\n  {}.{} = {default}", section.name, key.name);
            let _ = writeln!(out, "      {}", variable(section, key));
            for line in key.about {
                let _ = writeln!(out, "     {line}");
            }
        }
    }
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
            let about = sentence(key.about).replace('|', "\\|");
            let _ = writeln!(out, "| `{}` | {default} | {about} |", key.name);
        }
    }
    out
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
                value => _ = writeln!(out, "{} = {}", key.name, toml(value)),
            }
        }
        out.push('\n');
    }
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
    match &defaults[section.name][key.name] {
        Value::Null => None,
        value => Some(toml(value)),
    }
}

/// JSON of texts, numbers, truth values and lists of them is TOML as well.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
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
                assert_eq!(default.is_none(), key.example.is_some(), "{}", key.name);
            }
        }
    }

    #[test]
    fn the_annotated_file_sets_what_is_the_default_anyway() {
        let parsed: Config = toml::from_str(&annotated_file()).unwrap();
        assert_eq!(effective(&parsed), effective(&Config::default()));
    }

    #[test]
    fn examples_are_valid_when_uncommented() {
        for section in SECTIONS {
            for key in section.keys.iter().filter(|key| key.example.is_some()) {
                let text = format!("[{}]\n{} = {}\n", section.name, key.name, example_of(key));
                toml::from_str::<Config>(&text).unwrap();
            }
        }
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
