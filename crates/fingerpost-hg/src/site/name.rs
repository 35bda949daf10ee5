//! Names of repositories: URL paths within the site.

/// Brings a name into its one form, without slashes at its ends.
///
/// # Errors
///
/// Why it is no name: a component that is empty or made of dots, a control
/// character, or too long.
pub(super) fn normalized(name: &str) -> Result<String, &'static str> {
    let name = name.trim_matches('/');
    if name.is_empty() {
        return Ok(String::new());
    }
    if name.len() > NAME_BYTES_MAX {
        return Err("is too long for a name");
    }
    if name.chars().any(char::is_control) {
        return Err("has a control character");
    }
    for component in name.split('/') {
        match component {
            "" => return Err("has an empty component"),
            "." | ".." => return Err("has a component of dots"),
            _ => {}
        }
    }
    Ok(name.to_owned())
}

/// Puts two names after each other.
pub(super) fn joined(one: &str, other: &str) -> String {
    match (one.is_empty(), other.is_empty()) {
        (true, _) => other.to_owned(),
        (_, true) => one.to_owned(),
        _ => format!("{one}/{other}"),
    }
}

/// What follows `name` in `path`: empty, or from `/` on; `None` when the path
/// does not begin with the name.
pub(super) fn after<'path>(path: &'path str, name: &str) -> Option<&'path str> {
    if name.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix('/')?.strip_prefix(name)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

const NAME_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        assert_eq!(normalized("/a/b/"), Ok("a/b".to_owned()));
        assert_eq!(normalized("/"), Ok(String::new()));
        for name in ["a//b", "a/../b", ".", "a\0b", "a\nb", &"x".repeat(2000)] {
            assert!(normalized(name).is_err(), "{name}");
        }
    }

    #[test]
    fn paths_begin_with_names_at_component_borders() {
        assert_eq!(after("/a/b/c", "a/b"), Some("/c"));
        assert_eq!(after("/a/b", "a/b"), Some(""));
        assert_eq!(after("/a/bc", "a/b"), None);
        assert_eq!(after("a", "a"), None);
        assert_eq!(after("/a", ""), Some("/a"));
    }
}
