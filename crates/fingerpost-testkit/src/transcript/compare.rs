//! Whether an answer is the recorded one.

use std::collections::HashMap;

use anyhow::{Result, bail, ensure};
use serde_json::Value;

/// Tokens that the server handed out in this session, by the recording's name.
pub(super) type Tokens = HashMap<String, String>;

/// Puts remembered tokens in the place of their placeholders.
pub(super) fn fill_in(text: &str, tokens: &Tokens) -> String {
    tokens.iter().fold(text.to_owned(), |text, (name, token)| {
        text.replace(&format!("<<token:{name}>>"), token)
    })
}

/// Compares items (lines or messages) one by one: as JSON where both sides
/// are objects or lists, else exactly.
pub(super) fn compare(
    expected: &[&str],
    found: &[&str],
    unordered: bool,
    tokens: &mut Tokens,
) -> Result<()> {
    let (expected, found) = (items(expected), items(found));
    ensure!(
        expected.len() == found.len(),
        "expected {} items, found {}: {found:?}",
        expected.len(),
        found.len()
    );
    for (expected, found) in expected.iter().zip(&found) {
        ensure!(
            expected.pieces == found.pieces,
            "expected {} pieces, found {}",
            expected.pieces,
            found.pieces
        );
        compare_item(&expected.text, &found.text, unordered, tokens)?;
    }
    Ok(())
}

/// A line, or the text of several pieces.
#[derive(Debug)]
struct Item {
    text: String,
    /// 0: it was not sent in pieces.
    pieces: usize,
}

/// Joins pieces. The recording's placeholders are shorter than what they stand
/// for, so pieces cannot be compared one by one; their number can.
fn items(lines: &[&str]) -> Vec<Item> {
    let mut items = Vec::new();
    let mut lines = lines.iter();
    while let Some(line) = lines.next() {
        if *line == r#"{"chunk-stream": null}"# {
            let pieces: Vec<&str> = lines
                .by_ref()
                .take_while(|piece| !piece.is_empty())
                .copied()
                .collect();
            items.push(Item {
                text: pieces.concat(),
                pieces: pieces.len(),
            });
        } else {
            items.push(Item {
                text: (*line).to_owned(),
                pieces: 0,
            });
        }
    }
    items
}

fn compare_item(expected: &str, found: &str, unordered: bool, tokens: &mut Tokens) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let expected_json = serde_json::from_str::<Value>(&quote_numbers(expected));
    let (Ok(expected_json), Ok(found_json)) = (expected_json, serde_json::from_str(found)) else {
        bail!("expected {}, found {}", shorten(expected), shorten(found));
    };
    if matches(&expected_json, &found_json, unordered, tokens) {
        Ok(())
    } else {
        bail!("expected {}, found {}", shorten(expected), shorten(found));
    }
}

/// Placeholders for numbers stand bare in the recording, which is no JSON.
fn quote_numbers(text: &str) -> String {
    text.replace("<<float>>", "\"<<float>>\"")
        .replace("<<int>>", "\"<<int>>\"")
}

fn matches(expected: &Value, found: &Value, unordered: bool, tokens: &mut Tokens) -> bool {
    match (expected, found) {
        (Value::String(placeholder), found) if placeholder.starts_with("<<") => {
            matches_placeholder(placeholder, found, tokens)
        }
        (Value::Object(expected), Value::Object(found)) => {
            expected.len() == found.len()
                && expected.iter().all(|(key, expected)| {
                    found
                        .get(key)
                        .is_some_and(|found| matches(expected, found, unordered, tokens))
                })
        }
        (Value::Array(expected), Value::Array(found)) => {
            let sorted = |list: &[Value]| {
                let mut list = list.to_vec();
                if unordered {
                    list.sort_by_key(Value::to_string);
                }
                list
            };
            expected.len() == found.len()
                && sorted(expected)
                    .iter()
                    .zip(&sorted(found))
                    .all(|(expected, found)| matches(expected, found, unordered, tokens))
        }
        _ => expected == found,
    }
}

fn matches_placeholder(placeholder: &str, found: &Value, tokens: &mut Tokens) -> bool {
    match placeholder {
        "<<float>>" => found.is_number(),
        "<<int>>" => found.is_i64(),
        "<<time>>" => found.as_str().is_some_and(is_time),
        _ => {
            let name = placeholder
                .strip_prefix("<<token:")
                .and_then(|rest| rest.strip_suffix(">>"));
            let (Some(name), Some(token)) = (name, found.as_str().filter(|text| is_token(text)))
            else {
                return false;
            };
            tokens.insert(name.to_owned(), token.to_owned());
            true
        }
    }
}

/// `2026-11-22T04:41:07.123456+00:00`; the fraction is missing when it is zero.
fn is_time(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|character| {
            if character.is_ascii_digit() {
                '9'
            } else {
                character
            }
        })
        .collect();
    matches!(
        shape.as_str(),
        "9999-99-99T99:99:99.999999+99:99" | "9999-99-99T99:99:99+99:99"
    ) && text.ends_with("+00:00")
}

fn is_token(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_')
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(600) {
        Some((end, _)) => format!("{:?}... ({} bytes)", &text[..end], text.len()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(expected: &str, found: &str) -> bool {
        compare(&[expected], &[found], false, &mut Tokens::new()).is_ok()
    }

    #[test]
    fn json_is_compared_without_order_and_spacing() {
        assert!(same(r#"{"a": 1, "b": [1, 2]}"#, r#"{"b":[1,2],"a":1}"#));
        assert!(!same(r#"{"a": 1}"#, r#"{"a": 1, "b": null}"#));
        assert!(!same(r#"{"a": [1, 2]}"#, r#"{"a": [2, 1]}"#));
        assert!(!same("true", "false"));
        assert!(!same("ok", "\"ok\""));
    }

    #[test]
    fn placeholders_stand_for_what_they_say() {
        assert!(same(r#"{"t": <<float>>}"#, r#"{"t": 0}"#));
        assert!(!same(r#"{"t": <<float>>}"#, r#"{"t": "0"}"#));
        assert!(same(
            r#""<<time>>""#,
            r#""2026-11-22T04:41:07.123456+00:00""#
        ));
        assert!(!same(r#""<<time>>""#, r#""2026-11-22 04:41:07""#));
    }

    #[test]
    fn tokens_are_remembered_for_later() {
        let mut tokens = Tokens::new();
        let token = "aB3._".repeat(12) + "abcd";
        let found = format!(r#"{{"token": "{token}"}}"#);
        let expected = r#"{"token": "<<token:bob>>"}"#;
        compare(&[expected], &[&found], false, &mut tokens).unwrap();
        assert_eq!(fill_in(expected, &tokens), found);
    }

    #[test]
    fn pieces_are_joined_and_counted() {
        let expected = ["{\"chunk-stream\": null}", "[\"<<time>>\", ", "2]", "", "x"];
        let time = "[\"2026-11-22T04:41:07+00:00\"";
        let found = ["{\"chunk-stream\": null}", time, ",2]", "", "x"];
        compare(&expected, &found, false, &mut Tokens::new()).unwrap();
        let one = ["{\"chunk-stream\": null}", "[1, 2]", "", "x"];
        assert!(compare(&expected, &one, false, &mut Tokens::new()).is_err());
    }
}
