//! An argument as the audit log shows it.

use fingerpost_core::Field;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The fields of `argument`, JSON, that may be shown, each cut to 200 characters and
/// all of them to 2,048 bytes. Only fields that are known to hold no secret are
/// shown; of others it is said that they were there. `None` if there are none.
pub fn summary(fields: &[Field], argument: &str) -> Option<Box<RawValue>> {
    let Ok(Value::Object(given)) = serde_json::from_str(argument) else {
        return None;
    };
    let mut shown = Map::new();
    for field in fields {
        let Some(value) = given.get(field.name) else {
            continue;
        };
        let value = match is_shown(field.name) {
            true => cut(value),
            false => Value::from(HIDDEN),
        };
        shown.insert(field.name.to_owned(), value);
    }
    if shown.is_empty() {
        return None;
    }
    let text = serde_json::to_string(&shown).ok()?;
    let text = match text.len() > SUMMARY_BYTES_MAX {
        true => format!("\"{TOO_LONG}\""),
        false => text,
    };
    RawValue::from_string(text).ok()
}

/// Whether values of the field hold no secret. A new field is hidden until it is
/// named here.
pub fn is_shown(name: &str) -> bool {
    SHOWN.contains(&name)
}

fn cut(value: &Value) -> Value {
    let short = |text: &str| match text.char_indices().nth(TEXT_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    };
    match value {
        Value::String(text) => short(text).into(),
        Value::Array(values) => {
            let values = values.iter().take(ITEMS_MAX).map(cut);
            values.collect::<Vec<_>>().into()
        }
        Value::Object(pairs) => {
            let pairs = pairs.iter().take(ITEMS_MAX);
            let pairs = pairs.map(|(key, value)| (short(key), cut(value)));
            pairs.collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

const SHOWN: [&str; 26] = [
    "bookmark",
    "expires",
    "id",
    "key",
    "mark",
    "max_age_seconds",
    "method",
    "name",
    "namespace",
    "namespaces",
    "new",
    "old",
    "outhash",
    "owner",
    "permissions",
    "PN",
    "PR",
    "PV",
    "rows",
    "signature",
    "task",
    "taskhash",
    "unihash",
    "username",
    "where",
    "with_unihash",
];
const HIDDEN: &str = "(not shown)";
const TOO_LONG: &str = "(too long)";
const TEXT_CHARACTERS_MAX: usize = 200;
const ITEMS_MAX: usize = 20;
const SUMMARY_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use fingerpost_core::Shape;

    use super::*;

    fn check(argument: &str, expect: Option<&str>) {
        let field = |name| Field {
            name,
            shape: Shape::Text,
            required: false,
            about: "a test",
        };
        let fields = ["username", "token", "outhash_siginfo", "where"].map(field);
        let shown = summary(&fields, argument);
        assert_eq!(
            shown.as_ref().map(|shown| shown.get()),
            expect,
            "{argument}"
        );
    }

    #[test]
    fn only_what_is_known_to_be_no_secret_is_shown() {
        check(
            r#"{"username": "ci", "token": "s3cret", "outhash_siginfo": "x", "other": 1}"#,
            Some(r#"{"outhash_siginfo":"(not shown)","token":"(not shown)","username":"ci"}"#),
        );
        check("null", None);
        check("{}", None);
        check("a line of a stream", None);
    }

    #[test]
    fn it_is_short_whatever_is_sent() {
        let long = "é".repeat(1000);
        let cut = format!(r#"{{"username":"{}..."}}"#, "é".repeat(200));
        check(&format!(r#"{{"username": "{long}"}}"#), Some(&cut));
        let many: Vec<_> = (0..100)
            .map(|n| format!(r#""{n}{long}": "{long}""#))
            .collect();
        check(
            &format!(r#"{{"where": {{{}}}}}"#, many.join(",")),
            Some("\"(too long)\""),
        );
    }
}
