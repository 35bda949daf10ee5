//! From claims to permissions.

use fingerpost_core::PermissionSet;
use serde_json::{Map, Value};

use crate::Namespaces;

/// What a rule asks of one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// This text.
    Exact(String),
    /// A text that begins so.
    Prefix(String),
}

impl Pattern {
    /// `*` at the end stands for anything; elsewhere it is refused.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let pattern = match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(text.to_owned()),
        };
        let (Self::Exact(fixed) | Self::Prefix(fixed)) = &pattern;
        (!fixed.contains('*')).then_some(pattern)
    }

    /// Whether every text matches.
    pub(super) fn is_anything(&self) -> bool {
        matches!(self, Self::Prefix(prefix) if prefix.is_empty())
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix),
        }
    }
}

/// What the workloads may whose claims match all patterns.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Names of claims, with dots into objects.
    pub(super) patterns: Vec<(String, Pattern)>,
    pub(super) permissions: PermissionSet,
    pub(super) user: String,
    pub(super) namespaces: Namespaces,
}

impl Rule {
    pub(super) fn matches(&self, claims: &Map<String, Value>) -> bool {
        self.patterns.iter().all(|(path, pattern)| {
            let text = find(claims, path).and_then(text_of);
            text.is_some_and(|text| pattern.matches(&text))
        })
    }
}

/// A claim by its name or, failing that, by a path into objects. Names may have
/// dots themselves (`kubernetes.io`): the longest that is there is followed.
fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(claim) = claims.get(path) {
        return Some(claim);
    }
    let (object, rest) = path
        .rmatch_indices('.')
        .map(|(dot, _)| (&path[..dot], &path[dot + 1..]))
        .find_map(|(name, rest)| Some((claims.get(name)?.as_object()?, rest)))?;
    find(object, rest)
}

/// Text, whole numbers and truth values; anything else matches nothing.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(path: &str, pattern: &str) -> bool {
        let claims = json!({
            "ref": "refs/heads/main",
            "project_id": 22,
            "protected": true,
            "ratio": 1.0,
            "nothing": null,
            "groups": ["a"],
            "kubernetes.io": {"namespace": "ci", "pod": {"name": "p-1"}},
            "a": {"b": {"c": "deep"}},
        });
        let rule = Rule {
            patterns: vec![(path.to_owned(), Pattern::parse(pattern).unwrap())],
            permissions: PermissionSet::NONE,
            user: "ci".to_owned(),
            namespaces: Namespaces::All,
        };
        rule.matches(claims.as_object().unwrap())
    }

    #[test]
    fn patterns_are_exact_or_end_in_a_star() {
        assert!(matches("ref", "refs/heads/main"));
        assert!(matches("ref", "refs/heads/*"));
        assert!(!matches("ref", "refs/heads/mai"));
        assert!(!matches("ref", "refs/tags/*"));
        assert!(!matches("ref", "REFS/heads/*"));
        for bad in ["*main", "a*b", "**", "a**"] {
            assert_eq!(Pattern::parse(bad), None, "{bad}");
        }
        assert!(Pattern::parse("*").unwrap().is_anything());
    }

    #[test]
    fn numbers_and_truth_values_are_texts_and_others_match_nothing() {
        assert!(matches("project_id", "22") && !matches("project_id", "2"));
        assert!(matches("protected", "true") && !matches("protected", "1"));
        for path in ["ratio", "nothing", "groups", "a", "a.b", "missing"] {
            assert!(!matches(path, "*"), "{path}");
        }
    }

    #[test]
    fn dots_lead_into_objects_and_may_be_in_names() {
        assert!(matches("a.b.c", "deep"));
        assert!(matches("kubernetes.io.namespace", "ci"));
        assert!(matches("kubernetes.io.pod.name", "p-*"));
        for path in ["a.b", "a.b.c.d", "ref.x", ".", "a.", ".a", ""] {
            assert!(!matches(path, "*"), "{path}");
        }
    }
}
