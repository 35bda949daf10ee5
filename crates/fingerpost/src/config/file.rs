//! The configuration file: found, read, checked as a whole.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use fingerpost_core::found_and_expected;
use toml::Table;

use super::secret_files::refuse_both;
use super::tree::Config;
use super::{BadConfig, Sources};

/// Reads the file that applies: one that was named must exist, the system's
/// need not.
pub(super) fn read(sources: &Sources) -> Result<(Option<PathBuf>, Table), BadConfig> {
    let named = sources.file.clone();
    let named = named.or_else(|| sources.variable("FINGERPOST_CONFIG").map(PathBuf::from));
    let path = named.clone().unwrap_or_else(|| PathBuf::from(SYSTEM_FILE));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok((None, Table::new()));
        }
        Err(error) => {
            return Err(BadConfig(format!(
                "cannot read {}: {error}",
                path.display()
            )));
        }
    };
    let table = parse(&path, &text)?;
    Ok((Some(path), table))
}

/// Checks a whole file against the tree: unknown keys and wrong types are
/// named with their line.
fn parse(path: &Path, text: &str) -> Result<Table, BadConfig> {
    let refuse = |why: &str| BadConfig(format!("{}: {}", path.display(), why.trim_end()));
    let config: Config = toml::from_str(text).map_err(|error| refuse(&place(text, &error)))?;
    let table: Table = toml::from_str(text).map_err(|error| refuse(&place(text, &error)))?;
    let checked = config.check().and_then(|()| refuse_both(&table));
    checked.map_err(|bad| match line_of(text, &bad.0) {
        Some(number) => refuse(&format!("line {number}: {bad}")),
        None => refuse(&bad.0),
    })?;
    Ok(table)
}

/// Names line and key of an error. The parser's own text would show the line,
/// which may hold a secret.
fn place(text: &str, error: &toml::de::Error) -> String {
    let message = in_words(error.message());
    let Some(span) = error.span() else {
        return message;
    };
    let before = &text.as_bytes()[..span.start.min(text.len())];
    let number = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default();
    match line.split_once('=') {
        Some((key, _)) => format!("line {number}, {}: {message}", key.trim()),
        None => format!("line {number}: {message}"),
    }
}

/// The parser's message without what it found, which may be a secret in the wrong place, and
/// with what it expected in words of the file.
fn in_words(message: &str) -> String {
    let Some((found, expected)) = found_and_expected(message) else {
        return message.to_owned();
    };
    let expected = match (expected, found) {
        ("a sequence", "invalid type: map") => "a list: each [[NAME]] is one of it",
        ("a sequence", _) => "a list: [\"...\"]",
        ("a map", _) => "a table of keys and values",
        ("u8" | "u16" | "u32" | "u64" | "usize" | "i64", _) => "a whole number",
        _ => expected,
    };
    format!("expected {expected}")
}

/// The line of the key, `section.key`, `section.key.name` or `list[1].key`, that
/// `sentence` begins with; the longest one, should a name have blanks. A key that
/// is not there has the line of its `[[list]]`.
fn line_of(text: &str, sentence: &str) -> Option<usize> {
    let mut lists = HashMap::new();
    let mut heading = String::new();
    let mut found = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let path = if let Some((name, _)) = within(line, "[[", "]]") {
            heading = entered(&mut lists, name);
            heading.clone()
        } else {
            if let Some((name, _)) = within(line, "[", "]") {
                name.clone_into(&mut heading);
            }
            let key = line.split('=').next().unwrap_or_default().trim();
            format!("{heading}.{}", key.trim_matches(['"', '\'']))
        };
        let rest = sentence.strip_prefix(&path);
        let is_it = rest.is_some_and(|rest| rest.starts_with([' ', ':', '.', '[']));
        if is_it && found.is_none_or(|(_, length)| path.len() > length) {
            found = Some((index + 1, path.len()));
        }
    }
    found.map(|(number, _)| number)
}

fn within<'a>(line: &'a str, open: &str, close: &str) -> Option<(&'a str, &'a str)> {
    line.strip_prefix(open)?.split_once(close)
}

/// The path of the next table of a list: `oidc[2]`, or `oidc[2].rules[1]` in it.
fn entered(lists: &mut HashMap<String, usize>, name: &str) -> String {
    let path = match name.rsplit_once('.') {
        // A section is no list.
        Some((outer, inner)) if lists.contains_key(outer) => {
            let last = lists.get(outer).copied().unwrap_or_default();
            format!("{outer}[{last}].{inner}")
        }
        _ => name.to_owned(),
    };
    let number = lists.entry(path.clone()).or_default();
    *number += 1;
    format!("{path}[{number}]")
}

const SYSTEM_FILE: &str = "/etc/fingerpost/fingerpost.toml";

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(Path::new("x.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let text = refusal("[server]\nread_only = true\nbindd = 'x'\n");
        assert!(text.contains("line 3") && text.contains("bindd"), "{text}");
        let text = refusal("[servr]\n");
        assert!(text.contains("line 1") && text.contains("servr"), "{text}");
    }

    #[test]
    fn what_a_list_looks_like_is_said_where_it_is_none() {
        let text = refusal("[server]\nbind = '127.0.0.1:8686'\n");
        assert_eq!(text, "x.toml: line 2, bind: expected a list: [\"...\"]");
        let text = refusal("[oidc]\nissuer = 'https://i'\n");
        assert!(
            text.ends_with("expected a list: each [[NAME]] is one of it"),
            "{text}"
        );
    }

    #[test]
    fn a_secret_in_a_wrong_place_is_not_shown() {
        let text = refusal("[database]\nreplicas = 'postgresql://u:hunter2@h/db'\n");
        assert!(
            text.contains("line 2") && !text.contains("hunter2"),
            "{text}"
        );
    }

    #[test]
    fn a_value_out_of_range_is_named_with_its_line() {
        let text = refusal("[limits]\n[upstream]\ntimeout_ms = 10\nmiss_seconds = 31\n");
        assert_eq!(text, "x.toml: line 4: upstream.miss_seconds is at most 30");
    }

    #[test]
    fn a_name_in_a_table_is_named_with_its_line() {
        let text = refusal("[hg.repositories]\n'a' = '/a'\n'a/../b' = '/b'\n");
        assert_eq!(
            text,
            "x.toml: line 3: hg.repositories.a/../b has a component of dots"
        );
        let text = refusal("[hg]\npushkey = false\n[hg.rules]\n\"a b\" = { read = [] }\n");
        assert!(
            text.starts_with("x.toml: line 4: hg.rules.a b is for a"),
            "{text}"
        );
        let text = refusal("[hg.rules]\na = { reads = [] }\n");
        assert!(text.contains("line 2") && text.contains("reads"), "{text}");
        let text = refusal("[hg.collections]\na = ['/x']\n");
        assert!(text.contains("line 2, a: "), "{text}");
    }

    #[test]
    fn a_key_in_a_list_is_named_with_its_line() {
        let good = "[[oidc]]\nissuer = 'https://a'\naudiences = ['b']\n[[oidc.rules]]\n\
                    match = { sub = 'a' }\npermissions = ['@read']\nuser = 'ci'\n";
        parse(Path::new("x.toml"), good).unwrap();
        let check = |text: &str, beginning: &str| {
            let text = refusal(&format!("{good}{text}"));
            assert!(
                text.starts_with(&format!("x.toml: line {beginning}")),
                "{text}"
            );
        };
        check(good, "9: oidc[2].issuer: ");
        let second = good.replace("//a", "//b");
        check(
            &second.replace("'a'", "'*a'"),
            "12: oidc[2].rules[1].match.sub: ",
        );
        check(
            &second.replace("user = 'ci'", ""),
            "11: oidc[2].rules[1].user: ",
        );
        check(
            &second.replace("audiences = ['b']", ""),
            "8: oidc[2].audiences: ",
        );
        check(&second.replace("audiences", "audience"), "10, audience: ");
        check(
            &second.replace("['b']", "['b']\nalgorithms = ['none']"),
            "11, algorithms: ",
        );
        check(&second.replace("user", "usr"), "14, usr: ");
        let rules = "[retention]\n[[retention.rules]]\n[[retention.rules]]\nmethod = ''\n";
        check(rules, "11: retention.rules[2].method: ");
    }

    #[test]
    fn a_broken_line_with_a_secret_is_not_shown() {
        for line in [
            "admin_password = hunter2",
            "admin_password = \"hunter2",
            "admin_password = 42",
        ] {
            let text = refusal(&format!("[accounts]\n{line}\n"));
            assert!(text.contains("line 2, admin_password: "), "{text}");
            assert!(!text.contains("hunter2") && !text.contains("42"), "{text}");
        }
    }

    #[test]
    fn a_secret_and_its_file_in_one_place_are_refused() {
        let text = refusal("[upstream]\npassword = 'a'\npassword_file = 'b'\n");
        let why = "upstream.password and upstream.password_file are both set; choose one";
        assert_eq!(text, format!("x.toml: line 2: {why}"));
        let text = refusal(
            "[cache.objects.s]\nurl = 's3://b'\noptions = { a = 'b' }\noption_files = { a = 'c' }\n",
        );
        let why = "cache.objects.s.options and cache.objects.s.option_files both set a; choose one";
        assert_eq!(text, format!("x.toml: line 3: {why}"));
    }

    #[test]
    fn a_named_file_must_exist() {
        let sources = Sources {
            file: Some(PathBuf::from("/nonexistent/fingerpost.toml")),
            ..Sources::default()
        };
        let text = read(&sources).unwrap_err().to_string();
        assert!(
            text.starts_with("cannot read /nonexistent/fingerpost.toml: "),
            "{text}"
        );
    }
}
