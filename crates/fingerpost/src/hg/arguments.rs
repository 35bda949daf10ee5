//! Arguments of a command, `NAME=VALUE`, read by the types that the server
//! declares for them.

use fingerpost_hg_proto::Args;
use fingerpost_hg_proto::cbor::Value;

use super::notation;

/// Reads `texts` for `command` as the server's descriptor describes it. Fails
/// with a sentence.
pub(super) fn read(descriptor: &Value, command: &str, texts: &[String]) -> Result<Args, String> {
    let known = descriptor.get(b"commands");
    let described = known
        .and_then(|commands| commands.get(command.as_bytes()))
        .ok_or_else(|| unknown_command(known, command))?;
    let mut args = Args::default();
    for text in texts {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("{text}: an argument is NAME=VALUE"))?;
        let field = described
            .get(b"args")
            .and_then(|fields| fields.get(name.as_bytes()));
        let kind = field
            .and_then(|field| field.get(b"type"))
            .and_then(Value::as_bytes);
        let value = read_value(kind, value).map_err(|why| format!("{name}: {why}"))?;
        args.insert(name.as_bytes(), value);
    }
    Ok(args)
}

fn unknown_command(known: Option<&Value>, command: &str) -> String {
    let names = known.and_then(Value::as_map).map(|map| {
        let names = map.records().filter_map(|(name, _)| name);
        names
            .map(String::from_utf8_lossy)
            .collect::<Vec<_>>()
            .join(", ")
    });
    format!(
        "the server has no command {command}; it has {}",
        names.unwrap_or_default()
    )
}

/// Bytes are taken as they stand, or `hex:...`; truth values and numbers too;
/// lists and sets are words with commas between, or JSON; everything else, and
/// arguments that the server does not declare, JSON or bytes.
fn read_value(kind: Option<&[u8]>, text: &str) -> Result<Value, String> {
    let json = || serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"));
    let is_json = text.starts_with(['[', '{', '"']);
    match kind {
        Some(b"bytes") => notation::read_bytes(text).map(Value::Bytes),
        Some(b"bool") => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err("a truth value is true or false".to_owned()),
        },
        Some(b"list") if !is_json => words(text).map(Value::Array),
        Some(b"set") if !is_json => words(text).map(Value::set),
        Some(b"set") => match notation::read(&json()?)? {
            Value::Array(members) => Ok(Value::set(members)),
            other => Ok(other),
        },
        Some(_) => notation::read(&json()?),
        None if is_json => notation::read(&json()?),
        None => notation::read_bytes(text).map(Value::Bytes),
    }
}

fn words(text: &str) -> Result<Vec<Value>, String> {
    let words = text.split(',').filter(|word| !word.is_empty());
    words
        .map(|word| notation::read_bytes(word).map(Value::Bytes))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: &str, text: &str, expected: &str) {
        let value = read_value(Some(kind.as_bytes()), text).unwrap();
        assert_eq!(notation::show(&value, 100).to_string(), expected);
    }

    #[test]
    fn values_are_read_by_their_type() {
        check("bytes", "[x", "\"[x\"");
        check("bool", "true", "true");
        check("list", "hex:ff,b", "[\"hex:ff\",\"b\"]");
        check("list", "", "[]");
        check("set", "b,a", "{\"SET\":[\"a\",\"b\"]}");
        check("set", "[\"b\",\"a\"]", "{\"SET\":[\"a\",\"b\"]}");
        check("list", "[{\"type\": \"x\"}]", "[{\"type\":\"x\"}]");
        check("dict", "null", "null");
    }

    #[test]
    fn what_is_no_value_is_said() {
        assert!(read_value(Some(b"bool"), "yes").is_err());
        assert!(read_value(Some(b"dict"), "{").is_err());
    }

    #[test]
    fn an_unknown_command_is_named_with_those_that_there_are() {
        let commands = Value::record([(&b"heads"[..], Value::map([]))]);
        let descriptor = Value::record([(&b"commands"[..], commands)]);
        let why = read(&descriptor, "head", &[]).unwrap_err();
        assert_eq!(why, "the server has no command head; it has heads");
    }
}
