//! From a path, a query and a body to the argument of a command, as its declaration
//! has it.

use axum::http::StatusCode;
use fingerpost_core::{Field, Shape};
use fingerpost_net::percent_decoded;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::problem::Problem;
use super::routes::Route;

/// The argument's JSON. Every field is of its declared type, and there is no other.
pub(super) fn argument(
    fields: &[Field],
    route: &Route,
    path: &[(String, String)],
    query: Vec<(String, String)>,
    body: Option<&[u8]>,
) -> Result<String, Problem> {
    let mut argument = match body {
        Some(body) => object(body)?,
        None => Map::new(),
    };
    let is_in_path = |name: &str| path.iter().any(|(known, _)| known == name);
    let is_fixed = |name: &str| route.fixed.iter().any(|(known, _)| *known == name);
    for (name, text) in query {
        let field = fields.iter().find(|field| field.name == name);
        let field = field
            .filter(|_| body.is_none())
            .ok_or_else(|| unknown(&name))?;
        if argument.contains_key(&name) {
            return Err(bad(format!("{name} is there twice")));
        }
        argument.insert(name, of_text(field, text)?);
    }
    for (name, value) in &argument {
        let field = fields.iter().find(|field| field.name == name);
        let field = field
            .filter(|_| !is_in_path(name) && !is_fixed(name))
            .ok_or_else(|| unknown(name))?;
        check(field, value)?;
    }
    for (name, text) in path {
        argument.insert(name.clone(), Value::String(text.clone()));
    }
    for (name, json) in route.fixed.iter().chain(route.defaults) {
        // None of the fixed ones is there.
        argument
            .entry(*name)
            .or_insert_with(|| serde_json::from_str(json).unwrap_or(Value::Null));
    }
    for field in fields {
        if field.required && !argument.contains_key(field.name) {
            return Err(bad(format!("{} is missing", field.name)));
        }
    }
    // Not by `Display`, which is slower by far.
    serde_json::to_string(&argument).map_err(|error| malformed(&error))
}

/// Reads an object of named fields. A struct is read from a list as well, which
/// no client means.
pub(super) fn of_object<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    let read = serde_json::from_slice(json).map_err(|error| malformed(&error))?;
    if json.trim_ascii_start().starts_with(b"{") {
        return Ok(read);
    }
    Err(bad("an object is needed".to_owned()))
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(bad("the body must be an object".to_owned())),
        Err(error) => Err(malformed(&error)),
    }
}

/// What is wrong with JSON, by its place in the text.
pub(super) fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed-json").detail(error.to_string())
}

/// Names and values of a query.
pub(super) fn parameters(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let decoded = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| percent_decoded(&text.replace('+', " "));
        decode(name).zip(decode(value))
    });
    let all: Option<Vec<_>> = decoded.collect();
    all.ok_or_else(|| bad("the query is no text".to_owned()))
}

/// Takes one parameter out of a query.
pub(super) fn take(query: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let place = query.iter().position(|(known, _)| known == name)?;
    Some(query.remove(place).1)
}

/// Refuses what is left of a query.
pub(super) fn nothing_else(query: &[(String, String)]) -> Result<(), Problem> {
    query.first().map_or(Ok(()), |(name, _)| Err(unknown(name)))
}

/// The value of a field in a query.
fn of_text(field: &Field, text: String) -> Result<Value, Problem> {
    let read = |what: &str| {
        serde_json::from_str(&text).map_err(|_| bad(format!("{} must be {what}", field.name)))
    };
    match field.shape {
        Shape::Flag | Shape::Bool => read("true or false"),
        Shape::Seconds => read("a number"),
        _ => Ok(Value::String(text)),
    }
}

/// Whether a value is of its field's type.
fn check(field: &Field, value: &Value) -> Result<(), Problem> {
    let (fits, what) = match field.shape {
        Shape::Text | Shape::Label | Shape::Password => (value.is_string(), "a text"),
        Shape::Unihash => (value.is_string(), "64 lower-case hex digits"),
        Shape::Flag | Shape::Bool => (value.is_boolean(), "true or false"),
        Shape::Seconds => (
            value
                .as_f64()
                .is_some_and(|number| (0.0..=SECONDS_MAX).contains(&number)),
            "a number of seconds, of a hundred years at most",
        ),
        Shape::Names => (
            value
                .as_array()
                .is_some_and(|names| names.iter().all(Value::is_string)),
            "a list of names",
        ),
        Shape::Where => (
            value
                .as_object()
                .is_some_and(|columns| columns.values().all(Value::is_string)),
            "an object of columns and the text that each must have",
        ),
        Shape::Bytes | Shape::List | Shape::Set(_) | Shape::Dict => (true, ""),
    };
    if fits {
        return Ok(());
    }
    Err(bad(format!("{} must be {what}", field.name)))
}

/// A hundred years.
pub(super) const SECONDS_MAX: f64 = 3_155_760_000.0;

fn unknown(name: &str) -> Problem {
    let name: String = name.chars().take(NAME_SHOWN).collect();
    let detail = format!("{name} is no field of this request");
    Problem::new(StatusCode::BAD_REQUEST, "unknown-field").detail(detail)
}

/// So much of a name that a client made up is repeated.
const NAME_SHOWN: usize = 64;

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-argument").detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let read = |query| parameters(query).ok();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("a=1&b=x+%C3%A4"),
            Some(vec![pair("a", "1"), pair("b", "x ä")])
        );
        assert_eq!(read("a"), Some(vec![pair("a", "")]));
        assert_eq!(read(""), Some(Vec::new()));
        for wrong in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
