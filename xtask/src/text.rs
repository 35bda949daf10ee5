//! Words that must not be in the tree: unfinished code, paths of a machine,
//! addresses of registries.

use crate::tree::Tree;

/// What is looked for. The words are cut in two here, so that this file does
/// not find itself.
const FORBIDDEN: &[(&[&str], &str, Where)] = &[
    (&["todo", "!("], "unfinished", Where::Rust),
    (&["unimplemented", "!("], "unfinished", Where::Rust),
    (&["dbg", "!("], "left over", Where::Rust),
    (&["FIX", "ME"], "unfinished", Where::Everywhere),
    (
        &["TO", "DO:"],
        "unfinished; give it a condition, or make it an issue",
        Where::Everywhere,
    ),
    (
        &["#[ig", "nore"],
        "a skipped test shows nothing",
        Where::Rust,
    ),
    (&["/wo", "rk/"], "a path of one machine", Where::Everywhere),
    (&["/ro", "ot/"], "a path of one machine", Where::Everywhere),
    (&["/ho", "me/"], "a path of one machine", Where::Everywhere),
    (
        &["//crates", ".io"],
        "the address of a registry",
        Where::Everywhere,
    ),
    (
        &["pypi", ".org"],
        "the address of a registry",
        Where::Everywhere,
    ),
    (
        &["npmjs", ".org"],
        "the address of a registry",
        Where::Everywhere,
    ),
    (
        &["deb.debian", ".org"],
        "the address of a registry",
        Where::Everywhere,
    ),
    (
        &["GNU General ", "Public License"],
        "text of another licence",
        Where::Everywhere,
    ),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Rust,
    Everywhere,
}

/// Names every line with a forbidden word, and every `unwrap` that is neither
/// in a test nor proved by an `expect`.
pub(crate) fn check(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| *path != "Cargo.lock") {
        let rust = path.ends_with(".rs");
        for (parts, why, place) in FORBIDDEN {
            if *place == Where::Rust && !rust {
                continue;
            }
            let word = parts.concat();
            for (number, line) in text.lines().enumerate() {
                if line.contains(&word) {
                    found.push(format!("{path}:{}: {word:?}: {why}", number + 1));
                }
            }
        }
        if rust && !is_test(path) {
            let unwraps = unwraps(text);
            if unwraps > 0 {
                found.push(format!(
                    "{path}: {unwraps} unwraps; say the proof with `expect`"
                ));
            }
        }
    }
    found
}

fn is_test(path: &str) -> bool {
    [
        "/tests/",
        "/tests.rs",
        "/testing.rs",
        "/examples/",
        "fingerpost-testkit",
    ]
    .iter()
    .any(|part| path.contains(part))
}

/// `unwrap()`s before the tests of the file, which come last.
fn unwraps(text: &str) -> usize {
    let code = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let word = [".unw", "rap()"].concat();
    lines.map(|line| line.matches(&word).count()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_word_is_found_with_its_line() {
        let text = format!("fine\n{}\n", ["FIX", "ME later"].concat());
        let found = check(&Tree::of(&[("docs/x.md", &text)]));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("docs/x.md:2: "));
    }

    #[test]
    fn unwraps_count_outside_tests_only() {
        let code = "fn a() { b().unwrap(); }\n#[cfg(test)]\nmod tests { x.unwrap() }\n";
        assert_eq!(check(&Tree::of(&[("crates/x/src/a.rs", code)])).len(), 1);
        let code = "/// `x.unwrap()` is fine here.\n#[cfg(test)]\nmod tests { x.unwrap() }\n";
        assert!(check(&Tree::of(&[("crates/x/src/a.rs", code)])).is_empty());
    }
}
