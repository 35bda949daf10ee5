//! Objects of wire protocol v2 in JSON, for people: bytes are text where they
//! are printable UTF-8 and `hex:...` otherwise, sets are `{"SET": [...]}`.

use fingerpost_hg_proto::cbor::Value;
use serde_json::Value as Json;

/// Shows an object; byte strings are cut behind `bytes_max` bytes, with their
/// length.
pub(super) fn show(value: &Value, bytes_max: usize) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::Bytes(bytes) => show_bytes(bytes, bytes_max).into(),
        Value::Array(members) => members.iter().map(|one| show(one, bytes_max)).collect(),
        Value::Set(set) => {
            let members: Json = set.iter().map(|one| show(one, bytes_max)).collect();
            serde_json::json!({ "SET": members })
        }
        Value::Map(map) => {
            let pairs = map.iter().map(|(key, value)| {
                let key = match key {
                    Value::Bytes(bytes) => show_bytes(bytes, bytes_max),
                    other => show(other, bytes_max).to_string(),
                };
                (key, show(value, bytes_max))
            });
            Json::Object(pairs.collect())
        }
        number => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => format!("{number:?}").into(),
        },
    }
}

/// Shows bytes as text or in hex.
pub(super) fn show_bytes(bytes: &[u8], bytes_max: usize) -> String {
    let head = &bytes[..bytes.len().min(bytes_max)];
    let cut = if head.len() < bytes.len() {
        format!("... ({} bytes)", bytes.len())
    } else {
        String::new()
    };
    let printable = |text: &str| {
        text.chars()
            .all(|one| !one.is_control() || "\n\t".contains(one))
    };
    // A cut may be inside a character.
    let text = std::str::from_utf8(head).or_else(|error| match error.error_len() {
        None if head.len() < bytes.len() => std::str::from_utf8(&head[..error.valid_up_to()]),
        _ => Err(error),
    });
    match text {
        Ok(text) if printable(text) && !text.starts_with("hex:") => format!("{text}{cut}"),
        _ => format!("hex:{}{cut}", hex(head)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what [`show`] writes: text and `hex:...` are bytes, `{"SET": [...]}`
/// is a set. Fails with a sentence.
pub(super) fn read(json: &Json) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::String(text) => Value::Bytes(read_bytes(text)?),
        Json::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => return Err(format!("{number} is no whole number")),
        },
        Json::Array(members) => Value::Array(members.iter().map(read).collect::<Result<_, _>>()?),
        Json::Object(pairs) => match pairs.get("SET") {
            Some(Json::Array(members)) if pairs.len() == 1 => {
                Value::set(members.iter().map(read).collect::<Result<Vec<_>, _>>()?)
            }
            _ => {
                let pairs = pairs.iter();
                let pairs =
                    pairs.map(|(key, value)| Ok((Value::Bytes(read_bytes(key)?), read(value)?)));
                Value::map(pairs.collect::<Result<Vec<_>, String>>()?)
            }
        },
    })
}

/// Reads text, or hex digits behind `hex:`.
pub(super) fn read_bytes(text: &str) -> Result<Vec<u8>, String> {
    let Some(digits) = text.strip_prefix("hex:") else {
        return Ok(text.as_bytes().to_vec());
    };
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16)
            .ok()
            .filter(|_| pair.len() == 2)
    };
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
    bytes.ok_or_else(|| format!("{text}: an even number of hex digits belongs behind hex:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &Value, expected: &str) {
        let shown = show(value, 100);
        assert_eq!(shown.to_string(), expected);
        assert_eq!(read(&shown).as_ref(), Ok(value));
    }

    #[test]
    fn objects_go_both_ways() {
        check(&Value::bytes("über\n"), r#""über\n""#);
        check(&Value::bytes(vec![0xff, 0]), r#""hex:ff00""#);
        check(&Value::bytes("hex:"), r#""hex:6865783a""#);
        check(
            &Value::set([Value::bytes("b"), Value::bytes("a")]),
            r#"{"SET":["a","b"]}"#,
        );
        let map = Value::record([(&b"n"[..], Value::from(3_u64)), (b"t", Value::Bool(true))]);
        check(&map, r#"{"n":3,"t":true}"#);
        check(&Value::Array(vec![Value::Null]), "[null]");
    }

    #[test]
    fn every_command_shows_an_example_that_parses() {
        for entry in fingerpost_hg::commands().entries() {
            let name = entry.declaration.name;
            let example = serde_json::from_str(entry.example).unwrap();
            let value = match read(&example).unwrap() {
                Value::Null => Value::map([]),
                map => map,
            };
            let mut args = fingerpost_hg_proto::Args::default();
            for (field, value) in value.as_map().unwrap().records() {
                args.insert(field.unwrap(), value.clone());
            }
            assert!(entry.parses(&args).is_ok(), "{name}");
            for object in serde_json::Deserializer::from_str(entry.declaration.answer_example)
                .into_iter::<Json>()
            {
                assert!(read(&object.unwrap()).is_ok(), "{name}");
            }
        }
    }

    #[test]
    fn long_bytes_are_cut_with_their_length() {
        assert_eq!(show(&Value::bytes("abcdef"), 3), "abc... (6 bytes)");
        assert_eq!(show(&Value::bytes("abüdef"), 3), "ab... (7 bytes)");
    }

    #[test]
    fn half_a_byte_is_refused() {
        assert!(read_bytes("hex:abc").is_err() && read_bytes("hex:zz").is_err());
    }
}
