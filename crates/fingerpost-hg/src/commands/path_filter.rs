//! Path filters: which paths of a repository an answer is about.

use fingerpost_core::Failure;
use fingerpost_hg_proto::cbor::Value;
use hashbrown::HashSet;

/// What paths a request wants: any pattern of `include` and none of `exclude`.
///
/// Patterns are `path:` (a file, or a directory and everything below) and
/// `rootfilesin:` (the files right in a directory). Without `include` every
/// path is wanted.
#[derive(Debug, Default)]
pub(crate) struct PathFilter {
    include: Option<Patterns>,
    exclude: Patterns,
}

/// Patterns to be asked about many paths: however many there are, a path is
/// looked up once for each of its directories.
#[derive(Debug, Default)]
struct Patterns {
    /// There is one for the root and all below.
    everything: bool,
    /// Paths that stand for themselves and all below.
    paths: HashSet<Vec<u8>>,
    /// Directories that stand for the files right in them; empty for the root.
    directories: HashSet<Vec<u8>>,
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
        let is_included = self
            .include
            .as_ref()
            .is_none_or(|some| some.match_any(path));
        is_included && !self.exclude.match_any(path)
    }
}

fn patterns_of(key: &'static str, value: &Value) -> Result<Patterns, Failure> {
    let patterns = super::arguments::members(value).ok_or_else(|| {
        let text = "%s in pathfilter must be a list of patterns";
        Failure::refused_with(BAD, text, vec![key.into()])
    })?;
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
}

impl FromIterator<Pattern> for Patterns {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> Self {
        let mut all = Self::default();
        for pattern in patterns {
            match pattern {
                Pattern::Path(path) if path.is_empty() => all.everything = true,
                Pattern::Path(path) => drop(all.paths.insert(path)),
                Pattern::RootFilesIn(directory) => drop(all.directories.insert(directory)),
            }
        }
        all
    }
}

impl Patterns {
    fn match_any(&self, path: &[u8]) -> bool {
        if self.everything {
            return true;
        }
        let mut ends = memchr::memchr_iter(b'/', path).chain([path.len()]);
        let has_path = !self.paths.is_empty() && ends.any(|end| self.paths.contains(&path[..end]));
        let directory = memchr::memrchr(b'/', path).map_or(&b""[..], |at| &path[..at]);
        has_path || (!self.directories.is_empty() && self.directories.contains(directory))
    }
}

const BAD: &str = "bad-path-filter";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn what_is_no_list_of_patterns_is_refused() {
        for wrong in [Value::bytes("path:a"), Value::Null, Value::Bool(false)] {
            let value = Value::record([(&b"exclude"[..], wrong)]);
            let failure = PathFilter::parse(Some(&value)).unwrap_err();
            let text = "exclude in pathfilter must be a list of patterns";
            assert_eq!(failure.to_string(), text);
        }
    }

    #[test]
    fn other_patterns_are_refused_with_the_references_words() {
        let failure = filter(Some(&["glob:*"]), &[]).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "include pattern must begin with `path:` or `rootfilesin:`; got glob:*"
        );
    }

    proptest! {
        #[test]
        fn many_patterns_match_as_each_of_them_says(
            patterns in prop::collection::vec("(path|rootfilesin):(\\.|/|[ab]{0,2}(/[ab]{0,2}){0,2})", 0..5),
            path in "[ab]{1,2}(/[ab]{1,2}){0,3}",
        ) {
            let matches = |pattern: &String| {
                let (kind, of) = pattern.split_once(':').unwrap();
                let of = of.strip_suffix('/').unwrap_or(of);
                let of = if of == "." { "" } else { of };
                let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
                match kind {
                    "path" => of.is_empty() || path == *of || path.starts_with(&format!("{of}/")),
                    _ => directory == of,
                }
            };
            let all: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let wanted = filter(Some(&all), &[]).unwrap().wants(path.as_bytes());
            prop_assert_eq!(wanted, patterns.iter().any(matches));
        }
    }
}
