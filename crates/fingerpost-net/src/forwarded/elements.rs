//! The elements of `Forwarded`, RFC 7239.

/// What one proxy told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    /// `for`: who connected to it.
    pub(super) client: Option<String>,
    pub(super) proto: Option<String>,
    pub(super) host: Option<String>,
}

/// The elements of a line in order; `None` if it is not well-formed. Nothing is
/// guessed: a client may have left a quotation open that would swallow what the
/// proxy wrote behind it.
pub(super) fn elements(line: &str) -> Option<Vec<Element>> {
    let mut found = Vec::new();
    let mut rest = line;
    loop {
        let (element, left) = element(rest)?;
        if element != Element::default() {
            found.push(element);
        }
        match left {
            Some(left) => rest = left,
            None => return Some(found),
        }
    }
}

/// One element, and what is behind its comma.
fn element(mut rest: &str) -> Option<(Element, Option<&str>)> {
    let mut element = Element::default();
    loop {
        rest = rest.trim_start_matches(BLANKS);
        if !rest.is_empty() && !rest.starts_with([',', ';']) {
            rest = pair(rest, &mut element)?.trim_start_matches(BLANKS);
        }
        if let Some(next) = rest.strip_prefix(';') {
            rest = next;
        } else if let Some(next) = rest.strip_prefix(',') {
            return Some((element, Some(next)));
        } else {
            return rest.is_empty().then_some((element, None));
        }
    }
}

/// Takes `name=value`. Gives what is behind it.
fn pair<'a>(text: &'a str, element: &mut Element) -> Option<&'a str> {
    let (name, rest) = text.split_once('=')?;
    if name.is_empty() || !name.bytes().all(is_token) {
        return None;
    }
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quotation(quoted)?,
        None => {
            let end = rest.bytes().position(|byte| !is_token(byte));
            let (value, rest) = rest.split_at(end.unwrap_or(rest.len()));
            (value.to_owned(), rest)
        }
    };
    let place = match name.to_ascii_lowercase().as_str() {
        "for" => &mut element.client,
        "proto" => &mut element.proto,
        "host" => &mut element.host,
        _ => return Some(rest),
    };
    // Each occurs once.
    (!value.is_empty() && place.replace(value).is_none()).then_some(rest)
}

/// The text of a quotation whose first mark is taken, and what is behind its last.
fn quotation(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[place + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const BLANKS: [char; 2] = [' ', '\t'];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, clients: Option<&[&str]>) {
        let found = elements(line);
        let found = found.map(|all| {
            let clients = all.into_iter().map(|one| one.client.unwrap_or_default());
            clients.collect::<Vec<_>>()
        });
        let clients = clients.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(found, clients, "{line}");
    }

    #[test]
    fn elements_are_in_order_with_or_without_quotations() {
        check("for=192.0.2.1", Some(&["192.0.2.1"]));
        check(
            "For=\"[2001:db8::1]:80\";proto=https , for=b",
            Some(&["[2001:db8::1]:80", "b"]),
        );
        check("for=\"a\\\"b,c\"; by=x", Some(&["a\"b,c"]));
        check("proto=http", Some(&[""]));
        check("", Some(&[]));
        check(" , ;, for=a,", Some(&["a"]));
    }

    #[test]
    fn what_is_not_well_formed_is_nothing() {
        for wrong in [
            "for",
            "for=",
            "=a",
            "for=a b",
            "for=\"a",
            "for=\"a\"b",
            "for=a;for=b",
            "for =a",
            "for=[::1]",
            "for=\"\\",
            "for=\"x, for=192.0.2.1",
            "for=\"x, for=\"[2001:db8::1]\"",
        ] {
            check(wrong, None);
        }
    }
}
