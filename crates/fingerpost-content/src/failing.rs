//! What a place of objects says when it fails, fit for logs.

use fingerpost_core::EntryName;

/// Longer sentences are cut.
const CHARACTERS_MAX: usize = 400;
/// A code of an error is a word: `SlowDown`.
const CODE_BYTES_MAX: usize = 64;
/// How the library begins to quote what a server sent.
const QUOTES: [&str; 2] = [
    "Server returned non-2xx status code: ",
    "Server returned error response: ",
];

/// The library's sentence without the name of the entry, whose holder may fetch it
/// from a public place, and without what the server sent but for its code: S3
/// repeats session tokens and signatures there.
pub(crate) fn sentence(error: &object_store::Error, name: &EntryName) -> String {
    let name = name.to_hex();
    let said = error.to_string().replace(&name, &format!("{name:.12}.."));
    let mut said = without_body(said);
    if let Some((end, _)) = said.char_indices().nth(CHARACTERS_MAX) {
        said.truncate(end);
        said.push_str("..");
    }
    said
}

fn without_body(said: String) -> String {
    let quoted = QUOTES.iter().find_map(|quote| {
        let at = said.find(quote)? + quote.len();
        Some(said.split_at(at))
    });
    let Some((before, sent)) = quoted else {
        return said;
    };
    // `403 Forbidden: ` and the body, or the body alone.
    let status = sent
        .split_once(": ")
        .map(|(status, _)| status)
        .filter(|status| status.starts_with(|first: char| first.is_ascii_digit()))
        .unwrap_or_default();
    match code(sent) {
        Some(code) => format!("{before}{status} {code}"),
        None => format!("{before}{status}"),
    }
}

/// The code of an error in XML.
fn code(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_word = code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_word && code.len() <= CODE_BYTES_MAX).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::entry_name;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        let error = object_store::Error::Generic {
            store: "S3",
            source: source.to_owned().into(),
        };
        let said = sentence(&error, &entry_name(1));
        assert_eq!(said, format!("Generic S3 error: {expected}"));
    }

    #[test]
    fn what_a_server_sent_is_left_out_but_for_its_code() {
        let status = "Error performing PUT http://h/b - Server returned non-2xx status code: ";
        for (sent, kept) in [
            (
                "403 Forbidden: <Error><Code>InvalidToken</Code><Token-0>s3cret: x</Token-0></Error>",
                "403 Forbidden InvalidToken",
            ),
            ("403 Forbidden: <Code>not a word</Code>", "403 Forbidden"),
            (
                "500 Internal Server Error: {\"a\": \"s3cret\"}",
                "500 Internal Server Error",
            ),
            ("404 Not Found: ", "404 Not Found"),
        ] {
            check(&format!("{status}{sent}"), &format!("{status}{kept}"));
        }
        let sent = "Server returned error response: ";
        check(
            &format!("{sent}<Code>SlowDown</Code>: s3cret"),
            &format!("{sent} SlowDown"),
        );
        check("connection closed", "connection closed");
    }

    #[test]
    fn names_are_shortened_and_so_are_sentences() {
        let name = entry_name(1).to_hex();
        check(&format!("no {name}!"), &format!("no {}..!", &name[..12]));
        let rest = CHARACTERS_MAX - "Generic S3 error: ".len();
        check(&"é".repeat(1000), &format!("{}..", "é".repeat(rest)));
    }
}
