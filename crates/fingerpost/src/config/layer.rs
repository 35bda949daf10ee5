//! Layers of settings above the file: flags and environment variables.

use toml::{Table, Value};

use super::database;
use super::keys::{Key, Kind};
use super::secret_files::rival;
use super::tree::{SECTIONS, Section};
use super::{BadConfig, Config};

/// One setting from a flag or a variable. Not printed: it may be a secret.
#[derive(Clone)]
pub(crate) struct Setting {
    section: &'static Section,
    key: &'static str,
    value: Value,
    /// The flag or the variable, for messages.
    origin: String,
}

impl Setting {
    /// A setting that is known to be of its key's type.
    ///
    /// # Panics
    ///
    /// When the tree has no such key; a test calls every user of this.
    pub(crate) fn new(path: &str, value: impl Into<Value>, origin: impl Into<String>) -> Self {
        let (section, key) = find(path).expect("settings of flags name keys of the tree");
        Self {
            section,
            key: key.name,
            value: value.into(),
            origin: origin.into(),
        }
    }

    /// A setting from the text of a variable or a flag, read as its key's type.
    pub(crate) fn parse(path: &str, text: &str, origin: &str) -> Result<Self, BadConfig> {
        let (section, key) = find(path).ok_or_else(|| BadConfig::unknown(origin, path))?;
        let value = read(key.kind, text).map_err(|why| BadConfig::value(origin, &why))?;
        Ok(Self {
            section,
            key: key.name,
            value,
            origin: origin.to_owned(),
        })
    }
}

/// Finds `section.key`.
pub(super) fn find(path: &str) -> Option<(&'static Section, &'static Key)> {
    let (section, key) = path.split_once('.')?;
    let section = SECTIONS.iter().find(|known| known.name == section)?;
    let key = section.keys.iter().find(|known| known.name == key)?;
    Some((section, key))
}

fn read(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Text => Ok(Value::String(text.to_owned())),
        Kind::Number => match text.trim().replace('_', "").parse::<i64>() {
            Ok(number) => Ok(Value::Integer(number)),
            Err(_) => Err(format!("{text:?} is no whole number")),
        },
        Kind::Truth => match text.trim().to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(Value::Boolean(true)),
            "0" | "false" | "no" | "off" | "" => Ok(Value::Boolean(false)),
            _ => Err(format!("{text:?} is neither true nor false")),
        },
        Kind::List => Ok(Value::Array(split(text).map(Value::from).collect())),
        Kind::Names | Kind::Tables(_) | Kind::Rows(_) => {
            Err("a table of names is set in the file only".to_owned())
        }
    }
}

/// The items of a list: split at commas when there is one, else at blanks.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let comma = text.contains(',');
    text.split(move |character: char| {
        if comma {
            character == ','
        } else {
            character.is_whitespace()
        }
    })
    .map(str::trim)
    .filter(|item| !item.is_empty())
}

/// Puts `layer` over what lies in `table` already. A secret and the file it
/// comes from replace each other, and so do the places of databases.
pub(super) fn apply(table: &mut Table, layer: &[Setting]) -> Result<(), BadConfig> {
    for setting in layer {
        database::replace(table, setting.section.name, setting.key);
    }
    for setting in layer {
        let rival = rival(setting.section.keys, setting.key);
        if let Some(other) = &rival
            && layer
                .iter()
                .any(|also| also.section.name == setting.section.name && also.key == *other)
        {
            return Err(BadConfig::value(
                &setting.origin,
                &format!("{other} is set as well; choose one"),
            ));
        }
        check(setting)?;
        let section = table
            .entry(setting.section.name)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .expect("the file was checked against the tree, whose sections are tables");
        if let Some(other) = &rival {
            section.remove(other);
        }
        section.insert(setting.key.to_owned(), setting.value.clone());
    }
    Ok(())
}

/// Tries the setting alone, so that a wrong one is named by its origin.
fn check(setting: &Setting) -> Result<(), BadConfig> {
    let section = Table::from_iter([(setting.key.to_owned(), setting.value.clone())]);
    let table = Table::from_iter([(setting.section.name.to_owned(), Value::Table(section))]);
    match table.try_into::<Config>() {
        Ok(config) => config.check().map_err(|bad| bad.at(&setting.origin)),
        Err(error) => Err(BadConfig::value(&setting.origin, error.message())),
    }
}

/// The settings in `FINGERPOST_SECTION__KEY` variables.
pub(super) fn own_variables(environment: &[(String, String)]) -> Result<Vec<Setting>, BadConfig> {
    let mut settings = Vec::new();
    for (name, text) in environment {
        let Some((section, key)) = name
            .strip_prefix("FINGERPOST_")
            .and_then(|rest| rest.split_once("__"))
        else {
            continue;
        };
        let path = format!("{section}.{key}").to_ascii_lowercase();
        settings.push(Setting::parse(&path, text, name)?);
    }
    Ok(settings)
}

/// The settings in the reference server's `HASHSERVER_*` variables. Others
/// with that beginning belong to somebody else and are left alone.
pub(super) fn reference_variables(
    environment: &[(String, String)],
) -> Result<Vec<Setting>, BadConfig> {
    let mut settings = Vec::new();
    for (name, text) in environment {
        let known = REFERENCE_VARIABLES.iter().find(|(known, _)| known == name);
        let Some((_, path)) = known else { continue };
        // The reference takes `1` for yes and everything else for no.
        let text = if *path == "server.read_only" && text != "1" {
            "0"
        } else {
            text
        };
        settings.push(match *path {
            "database.path" => database::database_setting(text, name)?,
            _ => Setting::parse(path, text, name)?,
        });
    }
    Ok(settings)
}

/// What the reference server's variables set.
const REFERENCE_VARIABLES: &[(&str, &str)] = &[
    ("HASHSERVER_BIND", "server.bind"),
    ("HASHSERVER_DB", "database.path"),
    ("HASHSERVER_DB_USERNAME", "database.username"),
    ("HASHSERVER_DB_PASSWORD", "database.password"),
    ("HASHSERVER_DB_PASSWORD_FILE", "database.password_file"),
    ("HASHSERVER_LOG_LEVEL", "log.level"),
    ("HASHSERVER_UPSTREAM", "upstream.address"),
    ("HASHSERVER_READ_ONLY", "server.read_only"),
    ("HASHSERVER_ANON_PERMS", "accounts.anonymous_permissions"),
    ("HASHSERVER_ADMIN_USER", "accounts.admin_username"),
    ("HASHSERVER_ADMIN_PASSWORD", "accounts.admin_password"),
    (
        "HASHSERVER_ADMIN_PASSWORD_FILE",
        "accounts.admin_password_file",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_variable_names_a_key() {
        for (name, path) in REFERENCE_VARIABLES {
            assert!(find(path).is_some(), "{name} sets {path}, which is no key");
        }
    }

    #[test]
    fn lists_are_split_at_commas_else_at_blanks() {
        let items = |text| split(text).collect::<Vec<_>>();
        assert_eq!(items("@read,@report"), ["@read", "@report"]);
        assert_eq!(items("@read @report"), ["@read", "@report"]);
        assert_eq!(items(""), [""; 0]);
    }

    #[test]
    fn tables_of_names_are_set_in_the_file_only() {
        let refused = Setting::parse("hg.rules", "a=b", "FINGERPOST_HG__RULES")
            .err()
            .unwrap();
        assert_eq!(
            refused.to_string(),
            "FINGERPOST_HG__RULES: a table of names is set in the file only"
        );
    }
}
