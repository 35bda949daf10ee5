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

    /// Whether a subject is made of names, as GitHub's and GitLab's are by default.
    fn is_of_names(&self) -> bool {
        let (Self::Exact(text) | Self::Prefix(text)) = self;
        text.starts_with("repo:") || text.starts_with("project_path:")
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
    /// The claim by which it knows whose workloads they are, if that is a name which can
    /// be given up and be taken by somebody else, and no id goes with it.
    pub(super) fn changeable_name(&self) -> Option<&str> {
        let has_id = self.patterns.iter().any(|(claim, pattern)| {
            IDS.contains(&claim.as_str()) && matches!(pattern, Pattern::Exact(_))
        });
        if has_id || self.permissions.is_empty() {
            return None;
        }
        let mut names = self.patterns.iter().filter(|(claim, pattern)| {
            NAMES.contains(&claim.as_str()) || claim == "sub" && pattern.is_of_names()
        });
        names.next().map(|(claim, _)| claim.as_str())
    }

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

/// Claims of GitHub and GitLab that say for ever whose a workload is.
const IDS: [&str; 9] = [
    "repository_id",
    "repository_owner_id",
    "enterprise_id",
    "project_id",
    "namespace_id",
    "job_project_id",
    "job_namespace_id",
    "actor_id",
    "user_id",
];
/// Those that say it for now.
const NAMES: [&str; 13] = [
    "repository",
    "repository_owner",
    "enterprise",
    "workflow_ref",
    "job_workflow_ref",
    "actor",
    "project_path",
    "namespace_path",
    "job_project_path",
    "job_namespace_path",
    "ci_config_ref_uri",
    "user_login",
    "user_email",
];

#[cfg(test)]
mod tests {
    use fingerpost_core::Permission;
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
    fn a_name_that_can_be_given_to_somebody_else_is_found() {
        let check = |patterns: &[(&str, &str)], permissions, expected| {
            let pattern =
                |(claim, text): &(&str, &str)| ((*claim).to_owned(), Pattern::parse(text).unwrap());
            let rule = Rule {
                patterns: patterns.iter().map(pattern).collect(),
                permissions,
                user: "ci".to_owned(),
                namespaces: Namespaces::All,
            };
            assert_eq!(rule.changeable_name(), expected, "{patterns:?}");
        };
        let reader = PermissionSet::of(&[Permission::Read]);
        let repository = ("repository", "org/name");
        check(
            &[("ref", "refs/heads/main"), repository],
            reader,
            Some("repository"),
        );
        check(
            &[repository, ("repository_id", "1*")],
            reader,
            Some("repository"),
        );
        check(&[("sub", "repo:org/name:*")], reader, Some("sub"));
        check(&[("project_path", "group/*")], reader, Some("project_path"));
        check(&[repository, ("repository_owner_id", "1")], reader, None);
        check(&[("sub", "system:serviceaccount:ci:build")], reader, None);
        check(&[repository], PermissionSet::NONE, None);
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
