//! When two answers mean the same.

use serde_json::Value;

/// What two servers cannot agree on: numbers of rows, clocks, and random texts.
const OWN_KEYS: [&str; 3] = ["id", "created", "token"];

/// Whether two answers mean the same. Texts that are no JSON, as the lines of a
/// stream, must be equal.
pub(super) fn same(reference: &str, fingerpost: &str) -> bool {
    if reference == fingerpost {
        return true;
    }
    match (
        serde_json::from_str(reference),
        serde_json::from_str(fingerpost),
    ) {
        (Ok(reference), Ok(fingerpost)) => comparable(reference) == comparable(fingerpost),
        _ => false,
    }
}

/// The part of an answer that has to be equal.
fn comparable(mut answer: Value) -> Value {
    if let Value::Object(fields) = &mut answer {
        for key in OWN_KEYS {
            fields.remove(key);
        }
        // Statistics of a process.
        if let Some(requests) = fields.get_mut("requests") {
            *requests = Value::Null;
        }
        // The columns come in no fixed order.
        if let Some(Value::Array(columns)) = fields.get_mut("columns") {
            columns.sort_by_key(Value::to_string);
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn spelling_does_not_matter() {
        assert!(same(r#"{"a": "ä", "b": 1}"#, "{\"b\":1,\"a\":\"\\u00e4\"}"));
        assert!(!same(r#"{"a": 1}"#, r#"{"a": 2}"#));
        assert!(!same(r#"{"a": 1}"#, "null"));
        assert!(!same("abc", "abd"));
        assert!(!same("", "null"));
    }

    #[test]
    fn what_servers_cannot_agree_on_does_not_matter() {
        assert!(same(
            r#"{"id": 1, "created": "x", "u": 1}"#,
            r#"{"id": 2, "created": "y", "u": 1}"#
        ));
        assert!(same(
            r#"{"columns": ["a", "b"]}"#,
            r#"{"columns": ["b", "a"]}"#
        ));
        assert!(same(
            r#"{"requests": {"num": 1}}"#,
            r#"{"requests": {"num": 2}}"#
        ));
        assert!(!same(r#"{"columns": ["a"]}"#, r#"{"columns": ["b", "a"]}"#));
    }
}
