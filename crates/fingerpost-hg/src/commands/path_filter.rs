//! Path filters: which paths of a repository an answer is about.

use fingerpost_core::Failure;
use fingerpost_hg_proto::cbor::Value;

/// What paths a request wants: any pattern of `include` and none of `exclude`.
///
/// Patterns are `path:` (a file, or a directory and everything below) and
/// `rootfilesin:` (the files right in a directory). Without `include` every
/// path is wanted.
#[derive(Debug, Default)]
pub(crate) struct PathFilter {
    include: Option<Vec<Pattern>>,
    exclude: Vec<Pattern>,
}

#[derive(Debug)]
enum Pattern {
    /// The path itself and all below; empty for everything.
    Path(Vec<u8>),
    /// Files whose directory this is; empty for the root.
    RootFilesIn(Vec<u8>),
}

impl PathFilter {
    /// Reads the argument `pathfilter`; null and absent want everything.
    pub(crate) fn parse(value: Option<&Value>) -> Result<Self, Failure> {
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return Ok(Self::default());
        };
        let map = value
            .as_map()
            .ok_or_else(|| Failure::refused(BAD, "pathfilter must be a map"))?;
        let list = |key: &'static str| match map.get(key.as_bytes()) {
            None => Ok(None),
            Some(patterns) => patterns_of(key, patterns).map(Some),
        };
        Ok(Self {
            include: list("include")?,
            exclude: list("exclude")?.unwrap_or_default(),
        })
    }

    /// Whether `path` is wanted.
    pub(crate) fn wants(&self, path: &[u8]) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(path));
        self.include.as_deref().is_none_or(any) && !any(&self.exclude)
    }
}

fn patterns_of(key: &'static str, value: &Value) -> Result<Vec<Pattern>, Failure> {
    let patterns = match value {
        Value::Set(set) => set.as_slice(),
        other => other.as_array().unwrap_or_default(),
    };
    patterns
        .iter()
        .map(|pattern| {
            let bytes = pattern.as_bytes().unwrap_or_default();
            Pattern::parse(bytes).ok_or_else(|| {
                Failure::refused_with(
                    BAD,
                    "%s pattern must begin with `path:` or `rootfilesin:`; got %s",
                    vec![key.into(), bytes.to_vec()],
                )
            })
        })
        .collect()
}

impl Pattern {
    fn parse(pattern: &[u8]) -> Option<Self> {
        let clean = |path: &[u8]| match path.strip_suffix(b"/").unwrap_or(path) {
            b"." => Vec::new(),
            path => path.to_vec(),
        };
        if let Some(path) = pattern.strip_prefix(b"path:") {
            return Some(Self::Path(clean(path)));
        }
        let directory = pattern.strip_prefix(b"rootfilesin:")?;
        Some(Self::RootFilesIn(clean(directory)))
    }

    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Path(prefix) if prefix.is_empty() => true,
            Self::Path(prefix) => path
                .strip_prefix(prefix.as_slice())
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'/'),
            Self::RootFilesIn(directory) => {
                let of_path = memchr::memrchr(b'/', path).map_or(&b""[..], |at| &path[..at]);
                of_path == directory.as_slice()
            }
        }
    }
}

const BAD: &str = "bad-path-filter";

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: Option<&[&str]>, exclude: &[&str]) -> Result<PathFilter, Failure> {
        let list = |patterns: &[&str]| {
            Value::Array(patterns.iter().map(|one| Value::bytes(*one)).collect())
        };
        let mut pairs = vec![(&b"exclude"[..], list(exclude))];
        pairs.extend(include.map(|include| (&b"include"[..], list(include))));
        PathFilter::parse(Some(&Value::record(pairs)))
    }

    #[track_caller]
    fn check(include: Option<&[&str]>, exclude: &[&str], wanted: &[&str], unwanted: &[&str]) {
        let filter = filter(include, exclude).unwrap();
        for path in wanted {
            assert!(filter.wants(path.as_bytes()), "{path}");
        }
        for path in unwanted {
            assert!(!filter.wants(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn null_wants_everything() {
        let filter = PathFilter::parse(Some(&Value::Null)).unwrap();
        assert!(filter.wants(b"a/b"));
    }

    #[test]
    fn a_path_is_a_file_or_a_directory_with_everything_below() {
        check(
            Some(&["path:src"]),
            &[],
            &["src", "src/a", "src/b/c"],
            &["src2", "a/src"],
        );
        check(Some(&["path:"]), &[], &["a", "b/c"], &[]);
        check(Some(&["path:."]), &[], &["a", "b/c"], &[]);
    }

    #[test]
    fn root_files_are_those_right_in_the_directory() {
        check(
            Some(&["rootfilesin:src"]),
            &[],
            &["src/a"],
            &["src", "src/b/c", "a"],
        );
        check(Some(&["rootfilesin:"]), &[], &["a"], &["src/a"]);
    }

    #[test]
    fn excluding_goes_before_including() {
        check(
            Some(&["path:a"]),
            &["path:a/b"],
            &["a/c"],
            &["a/b", "a/b/c", "d"],
        );
        check(None, &["path:a"], &["b"], &["a/x"]);
        check(Some(&[]), &[], &[], &["a"]);
    }

    #[test]
    fn other_patterns_are_refused_with_the_references_words() {
        let failure = filter(Some(&["glob:*"]), &[]).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "include pattern must begin with `path:` or `rootfilesin:`; got glob:*"
        );
    }
}
