//! Which fields of an answer a client wants.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::arguments;
use super::problem::Problem;

/// The parameter's name.
pub(super) const FIELDS: &str = "fields";

/// So many names are taken, repeated or not.
pub(super) const NAMES_MAX: usize = 32;

/// The fields that are told; all of them without a choice.
#[derive(Debug, Default)]
pub(super) struct Fields(Option<Vec<String>>);

impl Fields {
    /// Takes the parameter out of a query. Each name must be `known`.
    pub(super) fn take(
        query: &mut Vec<(String, String)>,
        known: &[impl AsRef<str>],
    ) -> Result<Self, Problem> {
        let Some(text) = arguments::take(query, FIELDS) else {
            return Ok(Self(None));
        };
        let names: Vec<_> = text.split(',').take(NAMES_MAX + 1).collect();
        if names.len() > NAMES_MAX {
            let limit = Problem::new(StatusCode::BAD_REQUEST, "too-many-fields");
            return Err(limit.limit("fields", NAMES_MAX as u64));
        }
        let is_known = |name: &str| known.iter().any(|one| one.as_ref() == name);
        let unknown = names.iter().filter(|name| !is_known(name));
        let unknown: Vec<_> = unknown.map(|name| shortened(name)).collect();
        if unknown.is_empty() {
            return Ok(Self(Some(names.into_iter().map(str::to_owned).collect())));
        }
        let known: Vec<_> = known.iter().map(AsRef::as_ref).collect();
        Err(
            Problem::new(StatusCode::BAD_REQUEST, "unknown-field").detail(format!(
                "the answer has no {}; it has {}",
                unknown.join(", "),
                known.join(", ")
            )),
        )
    }

    /// What is left of an object.
    pub(super) fn of_object(&self, json: Bytes) -> Bytes {
        match &self.0 {
            Some(wanted) => chosen(&json, wanted).map_or(json, Bytes::from),
            None => json,
        }
    }
}

fn chosen(json: &[u8], wanted: &[String]) -> Option<Vec<u8>> {
    let mut all: BTreeMap<String, &RawValue> = serde_json::from_slice(json).ok()?;
    all.retain(|name, _| wanted.contains(name));
    serde_json::to_vec(&all).ok()
}

/// So much of a name that a client made up is repeated.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_the_rest_is_left_out() {
        let check = |text: &str, wanted: Option<&str>| {
            let mut query = vec![(FIELDS.to_owned(), text.to_owned())];
            let fields = Fields::take(&mut query, &["a", "b", "c"]).ok();
            let json = Bytes::from_static(br#"{"a": 1, "b": {"x": [2.50]}}"#);
            let told = fields.map(|fields| fields.of_object(json));
            assert_eq!(told.as_deref(), wanted.map(str::as_bytes), "{text}");
        };
        check("a", Some(r#"{"a":1}"#));
        check("b,a,b", Some(r#"{"a":1,"b":{"x": [2.50]}}"#));
        check("c", Some("{}"));
        for wrong in ["", "a,", "d", "a,d", " a", &"a,".repeat(40)] {
            check(wrong, None);
        }
        assert!(Fields::default().0.is_none());
    }
}
