//! From a path, a query and a body to the argument of a command, as its declaration
//! has it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::StatusCode;
use fingerpost_core::{Field, Shape};
use fingerpost_net::percent_decoded;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::bounded::{self, Given};
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
        Some(body) => object(body, fields)?,
        None => Given::new(),
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
        argument.insert(name, Cow::Owned(of_text(field, &text)?));
    }
    for (name, value) in &argument {
        let field = fields.iter().find(|field| field.name == name);
        let field = field
            .filter(|_| !is_in_path(name) && !is_fixed(name))
            .ok_or_else(|| unknown(name))?;
        check(field, value)?;
    }
    for (name, text) in path {
        argument.insert(name.clone(), Cow::Owned(raw(text)?));
    }
    for (name, json) in route.fixed.iter().chain(route.defaults) {
        // None of the fixed ones is there.
        if !argument.contains_key(*name) {
            let value = serde_json::from_str(json).map_err(|error| malformed(&error))?;
            argument.insert((*name).to_owned(), Cow::Borrowed(value));
        }
    }
    for field in fields {
        if field.required && !argument.contains_key(field.name) {
            return Err(bad(format!("{} is missing", field.name)));
        }
    }
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

fn object<'a>(body: &'a [u8], fields: &[Field]) -> Result<Given<'a>, Problem> {
    let is_known = |name: &str| fields.iter().any(|field| field.name == name);
    match bounded::fields(body, is_known) {
        Ok(Ok(given)) => Ok(given),
        Ok(Err(name)) => Err(unknown(&name)),
        Err(error) if error.is_data() => Err(bad("the body must be an object".to_owned())),
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
fn of_text(field: &Field, text: &str) -> Result<Box<RawValue>, Problem> {
    let read = |what: &str| {
        serde_json::from_str(text).map_err(|_| bad(format!("{} must be {what}", field.name)))
    };
    match field.shape {
        Shape::Flag | Shape::Bool => read("true or false"),
        Shape::Seconds => read("a number"),
        _ => raw(text),
    }
}

/// A text as JSON.
fn raw(text: &str) -> Result<Box<RawValue>, Problem> {
    serde_json::value::to_raw_value(text).map_err(|error| malformed(&error))
}

/// Whether a value is of its field's type.
fn check(field: &Field, value: &RawValue) -> Result<(), Problem> {
    let value = value.get();
    let is_text = value.starts_with('"');
    let (fits, what) = match field.shape {
        Shape::Text | Shape::Label | Shape::Password => (is_text, "a text"),
        Shape::Unihash => (is_text, "64 lower-case hex digits"),
        Shape::Flag | Shape::Bool => (is_json::<bool>(value), "true or false"),
        Shape::Seconds => (
            serde_json::from_str(value).is_ok_and(|number| (0.0..=SECONDS_MAX).contains(&number)),
            "a number of seconds, of a hundred years at most",
        ),
        Shape::Names => (is_json::<Vec<Cow<'_, str>>>(value), "a list of names"),
        Shape::Where => (
            is_json::<BTreeMap<Cow<'_, str>, Cow<'_, str>>>(value),
            "an object of columns and the text that each must have",
        ),
        Shape::Bytes | Shape::List | Shape::Set(_) | Shape::Dict => (true, ""),
    };
    if fits {
        return Ok(());
    }
    Err(bad(format!("{} must be {what}", field.name)))
}

fn is_json<'a, T: Deserialize<'a>>(text: &'a str) -> bool {
    serde_json::from_str::<T>(text).is_ok()
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
