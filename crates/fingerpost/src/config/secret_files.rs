//! Secrets and the files that they may come from: one rule for every key that is
//! declared as a [`Secret`].
//!
//! `password` comes from the file that `password_file` names, if that is set.
//! Secrets under names, as `options`, come from those that `option_files` names,
//! one by one.

use std::path::Path;

use toml::{Table, Value};

use super::keys::{Key, Kind};
use super::tree::SECTIONS;
use super::{BadConfig, Secret};

/// The key that holds files for this one, if it is declared as a secret.
fn file_key(key: &Key) -> Option<String> {
    match key.kind {
        _ if !key.is_secret => None,
        Kind::Names => Some(format!("{}_files", key.name.trim_end_matches('s'))),
        _ => Some(format!("{}_file", key.name)),
    }
}

/// `password_file` for `password`, and the other way round, among the keys of a
/// section: who sets the one replaces the other.
pub(super) fn rival(keys: &[Key], name: &str) -> Option<String> {
    keys.iter()
        .find_map(|secret| match (file_key(secret)?, secret.name) {
            (file, key) if key == name => Some(file),
            (file, key) if file == name => Some(key.to_owned()),
            _ => None,
        })
}

/// Refuses a secret that one place sets together with its file.
pub(super) fn refuse_both(table: &Table) -> Result<(), BadConfig> {
    for_each_secret(&mut table.clone(), |path, key, file, values| {
        let (Some(secret), Some(from)) = (values.get(key), values.get(file)) else {
            return Ok(());
        };
        let why = match (secret, from) {
            (Value::Table(secrets), Value::Table(files)) => {
                let twice = secrets.keys().find(|name| files.contains_key(*name));
                let Some(name) = twice else { return Ok(()) };
                format!("{path}.{key} and {path}.{file} both set {name}; choose one")
            }
            _ => format!("{path}.{key} and {path}.{file} are both set; choose one"),
        };
        Err(BadConfig(why))
    })
}

/// Reads every file into its secret.
pub(super) fn read(table: &mut Table) -> Result<(), BadConfig> {
    for_each_secret(table, |path, key, file, values| {
        let read = |name: &str, from: &Value| match from.as_str() {
            None => Ok(None),
            Some(from) => {
                let secret = Secret::read(Path::new(from))
                    .map_err(|error| BadConfig(format!("{name}: cannot read {from}: {error}")))?;
                Ok(Some(Value::from(secret.reveal())))
            }
        };
        match values.get(file).cloned() {
            Some(Value::Table(files)) => {
                let secrets = values
                    .entry(key)
                    .or_insert_with(|| Table::new().into())
                    .as_table_mut();
                let Some(secrets) = secrets else {
                    return Ok(());
                };
                for (name, from) in files {
                    let secret = read(&format!("{path}.{file}.{name}"), &from)?;
                    secrets.extend(secret.map(|secret| (name, secret)));
                }
            }
            Some(from) => {
                let secret = read(&format!("{path}.{file}"), &from)?;
                values.extend(secret.map(|secret| (key.to_owned(), secret)));
            }
            None => {}
        }
        Ok(())
    })
}

/// Calls `act` for each key that is declared as a secret, in every section and
/// every table that the operator named: with the path of that section or table,
/// the key, the key of its file, and what is set there.
fn for_each_secret(
    table: &mut Table,
    act: impl Fn(&str, &str, &str, &mut Table) -> Result<(), BadConfig>,
) -> Result<(), BadConfig> {
    let act_on = |path: &str, keys: &[Key], values: &mut Table| {
        for key in keys {
            if let Some(file) = file_key(key) {
                act(path, key.name, &file, values)?;
            }
        }
        Ok::<_, BadConfig>(())
    };
    for section in SECTIONS {
        let values = table.get_mut(section.name).and_then(Value::as_table_mut);
        let Some(values) = values else { continue };
        act_on(section.name, section.keys, values)?;
        for key in section.keys {
            let Kind::Tables(of_names) = key.kind else {
                continue;
            };
            let named = values.get_mut(key.name).and_then(Value::as_table_mut);
            for (name, values) in named.into_iter().flatten() {
                let path = format!("{}.{}.{name}", section.name, key.name);
                if let Some(values) = values.as_table_mut() {
                    act_on(&path, of_names.keys, values)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Setting, Sources, layer, load};

    /// Every declared secret: its section or a table of the kind, its keys, and
    /// the kind of its values.
    fn secrets() -> Vec<(String, &'static [Key], &'static Key)> {
        let mut all = Vec::new();
        for section in SECTIONS {
            all.push((section.name.to_owned(), section.keys));
            for key in section.keys {
                if let Kind::Tables(table) = key.kind {
                    all.push((format!("{}.{}.x", section.name, key.name), table.keys));
                }
            }
        }
        let secrets = all.into_iter().flat_map(|(path, keys)| {
            let secret = keys.iter().filter(|key| key.is_secret);
            secret.map(move |key| (path.clone(), keys, key))
        });
        secrets.collect()
    }

    fn parse(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    /// A value of the key's kind with this text in it.
    fn value(key: &Key, text: &str) -> String {
        match key.kind {
            Kind::Names => format!("{{ a = '{text}' }}"),
            _ => format!("'{text}'"),
        }
    }

    #[test]
    fn every_secret_has_a_key_for_its_file_and_nothing_else_has() {
        let secrets = secrets();
        let names: Vec<_> = secrets
            .iter()
            .map(|(path, _, key)| format!("{path}.{}", key.name))
            .collect();
        assert_eq!(
            names,
            [
                "database.password",
                "postgresql.url",
                "postgresql.replicas",
                "accounts.admin_password",
                "cache.valkey_url",
                "cache.secret",
                "cache.objects.x.options",
                "upstream.password",
            ]
        );
        for (path, keys, key) in secrets {
            let file = file_key(key).unwrap();
            assert!(
                keys.iter().any(|known| known.name == file),
                "{path}.{file} is not declared"
            );
            assert_eq!(rival(keys, key.name), Some(file.clone()));
            assert_eq!(rival(keys, &file).as_deref(), Some(key.name));
        }
        let server = &SECTIONS[0];
        assert_eq!(rival(server.keys, "address_file"), None);
        assert_eq!(rival(server.keys, "bind"), None);
    }

    #[test]
    fn every_secret_is_refused_together_with_its_file() {
        for (path, _, key) in secrets() {
            let (name, file) = (key.name, file_key(key).unwrap());
            let both = format!(
                "[{path}]\n{name} = {}\n{file} = {}\n",
                value(key, "s"),
                value(key, "/f")
            );
            let said = refuse_both(&parse(&both)).unwrap_err().to_string();
            let expected = format!("{path}.{name} and {path}.{file} ");
            assert!(said.starts_with(&expected), "{said}");
            for one in both.lines().skip(1) {
                refuse_both(&parse(&format!("[{path}]\n{one}\n"))).unwrap();
            }
        }
        let different = "[cache.objects.x]\noptions = { a = 's' }\noption_files = { b = '/f' }\n";
        refuse_both(&parse(different)).unwrap();
    }

    #[test]
    fn every_secret_is_refused_together_with_its_file_in_a_layer() {
        for (path, _, key) in secrets() {
            if matches!(key.kind, Kind::Names) {
                continue; // In the file only.
            }
            let (name, file) = (key.name, file_key(key).unwrap());
            let setting = |name: &str| Setting::new(&format!("{path}.{name}"), "x", "a flag");
            let layer = [setting(name), setting(&file)];
            let said = layer::apply(&mut Table::new(), &layer).unwrap_err();
            let expected = format!("a flag: {file} is set as well; choose one");
            assert_eq!(said.to_string(), expected);
        }
    }

    #[test]
    fn every_secret_is_read_from_its_file() {
        let from = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(from.path(), "s3cr\"t\n").unwrap();
        let from = from.path().to_str().unwrap();
        for (path, _, key) in secrets() {
            let (name, file) = (key.name, file_key(key).unwrap());
            let mut table = parse(&format!("[{path}]\n{file} = {}\n", value(key, from)));
            read(&mut table).unwrap();
            let set = format!("[{path}]\n{name} = {}\n", value(key, "s3cr\"t"));
            let mut expected = parse(&set);
            let held = group(&mut table, &path).remove(&file);
            assert!(held.is_some(), "the file's name stays");
            assert_eq!(group(&mut table, &path), group(&mut expected, &path));
            let mut table = parse(&format!("[{path}]\n{file} = {}\n", value(key, "/none")));
            let said = read(&mut table).unwrap_err().to_string();
            assert!(said.starts_with(&format!("{path}.{file}")), "{said}");
        }
    }

    fn group<'a>(table: &'a mut Table, path: &str) -> &'a mut Table {
        path.split('.')
            .fold(table, |at, name| at[name].as_table_mut().unwrap())
    }

    #[test]
    fn a_file_of_a_higher_layer_replaces_the_secret_and_the_other_way_round() {
        let from = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(from.path(), "from a file, long enough").unwrap();
        let from = from.path().to_str().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let check = |text: &str, flag: (&'static str, &str), expected: &str| {
            std::fs::write(file.path(), format!("[cache]\n{text}\n")).unwrap();
            let loaded = load(Sources {
                file: Some(file.path().to_owned()),
                flags: vec![Setting::new(flag.0, flag.1, "a flag")],
                ..Sources::default()
            });
            let secret = loaded.unwrap().config.cache.secret.unwrap();
            assert_eq!(secret.reveal(), expected);
        };
        check(
            "secret = 'text of the file of keys'",
            ("cache.secret_file", from),
            "from a file, long enough",
        );
        check(
            &format!("secret_file = '{from}'"),
            ("cache.secret", "text of a flag, long enough"),
            "text of a flag, long enough",
        );
    }

    #[test]
    fn options_come_from_files_and_from_the_text() {
        let from = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(from.path(), "hidden\n").unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "[cache]\nsecret = 'long enough for this'\n[cache.objects.s]\nurl = 's3://b'\n\
             options = {{ aws_region = 'here' }}\n\
             option_files = {{ aws_secret_access_key = '{}' }}\n",
            from.path().display()
        );
        std::fs::write(file.path(), text).unwrap();
        let loaded = load(Sources {
            file: Some(file.path().to_owned()),
            ..Sources::default()
        });
        let options = loaded.unwrap().config.cache.objects["s"].options.clone();
        let options: Vec<_> = options.values().map(Secret::reveal).collect();
        assert_eq!(options, ["here", "hidden"]);
    }
}
