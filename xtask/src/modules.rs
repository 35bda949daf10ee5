//! Files of Rust: documented, of a size, and none that the compiler never sees.

use crate::tree::Tree;

/// A file with more lines wants a second subject split off.
const LINES_MAX: usize = 700;

/// Names files that are too long, crates without a first paragraph, and files
/// that no `mod` names.
pub(crate) fn check(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in tree.rust() {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            found.push(format!(
                "{path}: {lines} lines; aim below 400, {LINES_MAX} is the most"
            ));
        }
        let is_root = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
        if is_root && !text.starts_with("//! ") {
            found.push(format!(
                "{path}: open with what the crate is and what it is not"
            ));
        }
        if let Some(parents) = parents(path)
            && !parents.iter().any(|parent| names(tree, parent, path))
        {
            found.push(format!(
                "{path}: no `mod` names this file, so it is never compiled"
            ));
        }
    }
    found
}

/// The files that could name `path` as a module; `None` for roots.
fn parents(path: &str) -> Option<Vec<String>> {
    let (_, inside) = path.split_once("/src/")?;
    if inside == "lib.rs" || inside == "main.rs" || inside.starts_with("bin/") {
        return None;
    }
    let dir = match path.strip_suffix("/mod.rs") {
        Some(own) => own.rsplit_once('/')?.0,
        None => path.rsplit_once('/')?.0,
    };
    Some(vec![
        format!("{dir}/lib.rs"),
        format!("{dir}/main.rs"),
        format!("{dir}/mod.rs"),
        format!("{dir}.rs"),
    ])
}

fn names(tree: &Tree, parent: &str, path: &str) -> bool {
    let stem = path
        .strip_suffix("/mod.rs")
        .or_else(|| path.strip_suffix(".rs"));
    let module = stem
        .and_then(|stem| stem.rsplit('/').next())
        .unwrap_or_default();
    let wanted = format!("mod {module};");
    let text = tree.get(parent).unwrap_or_default();
    text.lines().any(|line| line.trim_end().ends_with(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_mod_is_found() {
        let tree = Tree::of(&[
            ("crates/x/src/lib.rs", "//! X.\nmod a;\npub(crate) mod b;\n"),
            ("crates/x/src/a.rs", ""),
            ("crates/x/src/b/mod.rs", "mod c;"),
            ("crates/x/src/b/c.rs", ""),
            ("crates/x/src/b/d.rs", ""),
        ]);
        let found = check(&tree);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("crates/x/src/b/d.rs: no `mod`"));
    }

    #[test]
    fn a_crate_says_what_it_is() {
        assert_eq!(
            check(&Tree::of(&[("crates/x/src/lib.rs", "mod a;")])).len(),
            1
        );
    }

    #[test]
    fn a_long_file_is_found() {
        let long = format!("//! X.\n{}", "\n".repeat(LINES_MAX));
        assert!(check(&Tree::of(&[("crates/x/src/lib.rs", &long)]))[0].contains("701 lines"));
    }
}
