//! One command, one file, and none forgotten: every `impl Command` of a branch
//! is in its registry.

use crate::tree::Tree;

/// Where a branch's commands live; the registry is the directory's `mod.rs`.
const COMMANDS: &[&str] = &[
    "crates/fingerpost-hashequiv/src/commands/",
    "crates/fingerpost-hg/src/commands/",
];

/// Names every command that is declared and not registered, and every second
/// command in one file.
pub(crate) fn check(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for dir in COMMANDS {
        let registry = tree.get(&format!("{dir}mod.rs")).unwrap_or_default();
        let files = tree.rust().filter(|(path, _)| path.starts_with(dir));
        for (path, text) in files {
            let declared: Vec<_> = declared(text).collect();
            for name in &declared {
                if !registry.contains(&format!("::{name}>"))
                    && !registry.contains(&format!("<{name}>"))
                {
                    found.push(format!(
                        "{path}: {name} is not in the registry of {dir}mod.rs"
                    ));
                }
            }
            if declared.len() > 1 {
                found.push(format!(
                    "{path}: one command is one file; here are {declared:?}"
                ));
            }
        }
    }
    found
}

/// Types that `text` implements `Command` for.
fn declared(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let rest = line.strip_prefix("impl Command<")?;
        let (_, rest) = rest.split_once("> for ")?;
        rest.split([' ', '{']).next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: &str = "struct Ping;\nimpl Command<HashEquiv> for Ping {\n";

    fn found(registry: &str, ping: &str) -> Vec<String> {
        let dir = COMMANDS[0];
        check(&Tree::of(&[
            (&format!("{dir}mod.rs"), registry),
            (&format!("{dir}ping.rs"), ping),
        ]))
    }

    #[test]
    fn a_registered_command_is_fine() {
        assert!(found("Entry::of::<ping::Ping>()", PING).is_empty());
        assert!(found("Entry::of::<Ping>()", PING).is_empty());
    }

    #[test]
    fn a_forgotten_command_is_found() {
        assert!(found("", PING)[0].contains("Ping is not in the registry"));
    }

    #[test]
    fn two_commands_in_a_file_are_found() {
        let both = format!("{PING}impl Command<HashEquiv> for Get {{\n");
        let found = found("<ping::Ping> <ping::Get>", &both);
        assert!(found[0].contains("one command is one file"), "{found:?}");
    }
}
