//! How values of Mercurial's configuration are read.

/// Reads a truth value by Mercurial's words, in any case; `None` for others.
pub(super) fn truth(value: &[u8]) -> Option<bool> {
    const YES: [&[u8]; 5] = [b"1", b"yes", b"true", b"on", b"always"];
    const NO: [&[u8]; 5] = [b"0", b"no", b"false", b"off", b"never"];
    let is = |words: &[&[u8]]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    match (is(&YES), is(&NO)) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// Reads a list: items between white space and commas, or in double quotes.
///
/// `None` when there are more than [`ITEMS_MAX`], or when a quotation is not of
/// the plain form `"text"`: Mercurial has rules of its own for the other forms, and a rule about access must not
/// depend on whether we read them the same way.
pub(super) fn list(value: &[u8]) -> Option<Vec<String>> {
    let mut items = Vec::new();
    let text = std::str::from_utf8(value).ok()?;
    let mut rest = text.trim_start_matches([' ', ',', '\n']);
    // White space of other kinds makes an empty item, here and after quotes.
    let mut plain = !rest.starts_with(is_separator);
    loop {
        if rest.is_empty() {
            return Some(items);
        }
        if items.len() >= ITEMS_MAX || !plain {
            return None;
        }
        let item;
        (item, rest, plain) = match rest.strip_prefix('"') {
            Some(quoted) => quotation(quoted)?,
            None => {
                let end = rest.find(is_separator).unwrap_or(rest.len());
                let (item, after) = rest.split_at(end);
                (item, after.trim_start_matches(is_separator), true)
            }
        };
        if item.contains('"') {
            return None;
        }
        items.push(item.to_owned());
    }
}

/// Splits `text"`, what follows it and its separators, and whether those are
/// of the plain kind.
fn quotation(quoted: &str) -> Option<(&str, &str, bool)> {
    let (item, after) = quoted.split_once('"')?;
    let rest = after.trim_start_matches([' ', ',']);
    let separated = rest.len() < after.len() || rest.is_empty();
    let simple = separated && !item.is_empty() && !item.contains('\\');
    simple.then(|| (item, rest, !rest.starts_with(is_separator)))
}

const fn is_separator(character: char) -> bool {
    matches!(character, ' ' | ',' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// More users than a rule names.
const ITEMS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_is_one_of_ten_words_in_any_case() {
        for word in ["1", "yes", "True", "ON", "always"] {
            assert_eq!(truth(word.as_bytes()), Some(true), "{word}");
        }
        for word in ["0", "No", "false", "off", "NEVER"] {
            assert_eq!(truth(word.as_bytes()), Some(false), "{word}");
        }
        for word in ["", "maybe", "2", "yes please"] {
            assert_eq!(truth(word.as_bytes()), None, "{word}");
        }
    }

    /// What `mercurial.utils.stringutil.parselist` of 6.0.3 answers.
    #[test]
    fn lists_are_read_as_mercurial_reads_them() {
        let read = |value: &str| list(value.as_bytes()).unwrap().join("|");
        assert_eq!(read(""), "");
        assert_eq!(read("alice"), "alice");
        assert_eq!(read("alice bob,carol"), "alice|bob|carol");
        assert_eq!(read(" alice ,, bob\n\tcarol ,"), "alice|bob|carol");
        assert_eq!(read("this,is \"a small\" ,test"), "this|is|a small|test");
        assert_eq!(read("*"), "*");
        assert_eq!(read("\"a,b\""), "a,b");
    }

    #[test]
    fn quotations_that_depend_on_finer_rules_are_not_read() {
        for value in [
            "\"alice",
            "ali\"ce\"",
            "\"\"",
            "\"a\"b",
            "\"a\\\"b\"",
            "a\\\"b",
            "\"a\"\tb",
            ",\t*",
            "\"a\", \tb",
            "\"a\"\"",
        ] {
            assert_eq!(list(value.as_bytes()), None, "{value}");
        }
        assert_eq!(list(b"\xff"), None);
        assert_eq!(list(&b"a ".repeat(ITEMS_MAX + 1)), None);
    }
}
