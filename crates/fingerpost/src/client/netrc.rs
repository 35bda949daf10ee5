//! `~/.netrc`: logins by machine. The *machine* is the whole address, for
//! example `machine wss://hash.example.com:443 login me password secret`.

use std::path::PathBuf;

use crate::config::Secret;

/// A login with its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) username: String,
    pub(crate) token: Secret,
}

/// The login for `address` in the user's `~/.netrc`, if there is one. A file
/// that is not there has none.
pub(super) fn find(address: &str) -> std::io::Result<Option<Login>> {
    let Some(home) = std::env::var_os("HOME") else {
        return Ok(None);
    };
    match std::fs::read_to_string(PathBuf::from(home).join(".netrc")) {
        Ok(text) => Ok(lookup(&text, address)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The entry of `machine`, else the `default` entry; of several the last, as
/// Python has it. An entry without a login or a password is none.
pub(crate) fn lookup(text: &str, machine: &str) -> Option<Login> {
    let entries = entries(text);
    let last = |machine: Option<&str>| {
        let mut latest_first = entries.iter().rev();
        latest_first.find(|entry| entry.machine.as_deref() == machine)
    };
    let entry = last(Some(machine)).or_else(|| last(None))?;
    Some(Login {
        username: entry.login.clone()?,
        token: Secret::new(entry.password.clone()?),
    })
}

/// The machines of all entries; `None` is the `default` entry.
pub(crate) fn machines(text: &str) -> Vec<Option<String>> {
    let entries = entries(text).into_iter();
    entries.map(|entry| entry.machine).collect()
}

#[derive(Default)]
struct Entry {
    /// `None`: the `default` entry.
    machine: Option<String>,
    login: Option<String>,
    password: Option<String>,
}

fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut words = Words(text);
    while let Some(word) = words.next() {
        match word.as_str() {
            "default" => entries.push(Entry::default()),
            "machine" => entries.push(Entry {
                machine: words.next(),
                ..Entry::default()
            }),
            // A macro goes on until an empty line.
            "macdef" => words.skip_paragraph(),
            "login" | "user" | "password" | "account" => {
                let value = words.next();
                let Some(entry) = entries.last_mut() else {
                    continue;
                };
                match word.as_str() {
                    "password" => entry.password = value,
                    "account" => {}
                    _ => entry.login = value,
                }
            }
            _ => {}
        }
    }
    entries
}

/// Words of a netrc file: separated by blanks, quoted with `"`, `\` keeps the
/// next character, `#` at the beginning of a word is a comment.
struct Words<'a>(&'a str);

impl Words<'_> {
    fn next(&mut self) -> Option<String> {
        loop {
            self.0 = self.0.trim_start();
            if !self.0.starts_with('#') {
                break;
            }
            self.0 = self.0.split_once('\n').map_or("", |(_, rest)| rest);
        }
        let mut characters = self.0.char_indices();
        let quoted = self.0.starts_with('"');
        if quoted {
            characters.next();
        }
        let mut word = String::new();
        let mut is_word = quoted;
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => word.extend(characters.next().map(|(_, kept)| kept)),
                '"' if quoted => {
                    self.0 = &self.0[at + 1..];
                    return Some(word);
                }
                blank if blank.is_whitespace() && !quoted => {
                    self.0 = &self.0[at..];
                    return Some(word);
                }
                other => word.push(other),
            }
            is_word = true;
        }
        self.0 = "";
        is_word.then_some(word)
    }

    fn skip_paragraph(&mut self) {
        self.0 = self.0.split_once("\n\n").map_or("", |(_, rest)| rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, machine: &str) -> Option<(String, String)> {
        let login = lookup(text, machine)?;
        Some((login.username, login.token.reveal().to_owned()))
    }

    fn pair(username: &str, token: &str) -> Option<(String, String)> {
        Some((username.to_owned(), token.to_owned()))
    }

    #[test]
    fn the_machine_is_the_whole_address() {
        let text = "machine wss://h:443 login u password t\nmachine h login no password no\n";
        assert_eq!(found(text, "wss://h:443"), pair("u", "t"));
        assert_eq!(found(text, "wss://h"), None);
    }

    #[test]
    fn an_entry_may_be_spread_over_lines_with_comments() {
        let text = "# mine\nmachine a:1\n  login u # not a user\n\taccount x\n  password p\n";
        assert_eq!(found(text, "a:1"), pair("u", "p"));
    }

    #[test]
    fn the_default_entry_is_the_last_resort() {
        let text = "machine a:1 login u password p\ndefault login d password e\n";
        assert_eq!(found(text, "b:1"), pair("d", "e"));
        assert_eq!(found(text, "a:1"), pair("u", "p"));
    }

    #[test]
    fn of_two_entries_the_last_counts() {
        let text = "machine a:1 login u password old\nmachine a:1 login u password new\n";
        assert_eq!(found(text, "a:1"), pair("u", "new"));
        let text = "default login d password old\ndefault login d password new\n";
        assert_eq!(found(text, "a:1"), pair("d", "new"));
    }

    #[test]
    fn words_can_be_quoted_and_escaped() {
        let text = "machine a:1 login \"u v\" password p\\ q\\\"\n";
        assert_eq!(found(text, "a:1"), pair("u v", "p q\""));
    }

    #[test]
    fn macros_are_passed_over() {
        let text =
            "macdef init\nmachine a:1 login no password no\n\nmachine a:1 login u password p";
        assert_eq!(found(text, "a:1"), pair("u", "p"));
    }

    #[test]
    fn a_half_entry_or_a_broken_file_is_no_login() {
        assert_eq!(found("machine a:1 login u", "a:1"), None);
        assert_eq!(found("login u password p machine", "a:1"), None);
        assert_eq!(found("machine a:1 login \"u", "a:1"), None);
        assert_eq!(found("\\", "a:1"), None);
    }
}
