//! `fingerpost docs`: pages that are made from the code. A test says when the
//! ones in the tree are stale.

use std::borrow::Cow;
use std::fmt::Write as _;

use fingerpost_core::{Availability, CachePolicy, Entry, Kind, Registry, Service, Shape};

use crate::config;
use crate::exit::Exit;

/// Print a page that is made from the code.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    page: Page,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Page {
    /// `docs/commands.md`.
    Commands,
    /// `docs/hg-commands.md`.
    HgCommands,
    /// `docs/configuration.md`.
    Configuration,
    /// `fingerpost.toml`.
    AnnotatedFile,
    /// `docs/openapi.json`.
    OpenApi,
}

/// Prints the page.
pub(crate) fn run(args: &Args) -> Exit {
    let page = match args.page {
        Page::Commands => commands(COMMANDS_HEAD, &fingerpost_hashequiv::commands(), IGNORED),
        Page::HgCommands => commands(HG_COMMANDS_HEAD, &fingerpost_hg::commands(), REFUSED),
        Page::Configuration => configuration(),
        Page::AnnotatedFile => config::annotated_file(),
        Page::OpenApi => open_api(),
    };
    print!("{page}");
    Exit::Ok
}

fn open_api() -> String {
    format!("{:#}\n", fingerpost_hashequiv_front::openapi())
}

fn configuration() -> String {
    format!("{CONFIGURATION_HEAD}{}", config::manual())
}

/// What a command without fields does with an argument.
const IGNORED: &str = "the argument is ignored";
const REFUSED: &str = "takes no argument";

fn commands<S: Service>(head: &str, registry: &Registry<S>, no_fields: &str) -> String {
    let mut out = String::from(head);
    for entry in registry.entries() {
        let facts = &entry.declaration;
        let _ = writeln!(
            out,
            "| [{}](#{}) | {} | {} | {} |",
            facts.name,
            facts.name,
            permission(entry),
            match facts.availability {
                Availability::Always => "yes",
                Availability::Writable => "no",
            },
            match facts.cache {
                CachePolicy::Never { .. } => "never",
                CachePolicy::Key { .. } => "by key",
            },
        );
    }
    for entry in registry.entries() {
        command(&mut out, entry, no_fields);
    }
    out
}

fn command<S: Service>(out: &mut String, entry: &Entry<S>, no_fields: &str) {
    let facts = &entry.declaration;
    let _ = writeln!(out, "\n## {}\n\n{}\n", facts.name, facts.summary);
    let _ = writeln!(out, "- permission: {}", permission(entry));
    if facts.availability == Availability::Writable {
        out.push_str("- unknown on a read-only server\n");
    }
    let _ = writeln!(out, "- remembered: {}", cache(&facts.cache));
    if entry.fields.is_empty() && facts.kind == Kind::Once {
        let _ = writeln!(out, "- {no_fields}");
    }
    for field in entry.fields {
        let must = if field.required {
            ""
        } else {
            ", may be left out"
        };
        let _ = writeln!(
            out,
            "- `{}`: {}{must}; {}",
            field.name,
            shape(field.shape),
            field.about
        );
    }
    out.push_str("\n```\n");
    match facts.kind {
        Kind::Once => {
            let _ = writeln!(
                out,
                "{{\"{}\": {}}}\n{}",
                facts.name, entry.example, facts.answer_example
            );
        }
        Kind::Stream => {
            let _ = writeln!(
                out,
                "{{\"{}\": null}}\n\"ok\"\n{}\n{}\nEND\nok",
                facts.name, entry.example, facts.answer_example
            );
        }
    }
    out.push_str("```\n");
}

fn permission<S: Service>(entry: &Entry<S>) -> String {
    let access = &entry.declaration.access;
    let needs: Vec<_> = access
        .needs
        .iter()
        .map(|need| format!("`{need}`"))
        .collect();
    match (needs.is_empty(), access.self_service) {
        (true, _) => "none".to_owned(),
        (false, true) => format!("{}, or one's own account", needs.join(" ")),
        (false, false) => needs.join(" "),
    }
}

fn cache(policy: &CachePolicy) -> String {
    match policy {
        CachePolicy::Never { why } => format!("never. {why}"),
        CachePolicy::Key {
            version,
            depends_on,
            why,
        } => {
            let parts: Vec<_> = depends_on.iter().map(|part| part.as_str()).collect();
            format!(
                "by a key of version {version} over {}. {why}",
                parts.join(", ")
            )
        }
    }
}

fn shape(shape: Shape) -> Cow<'static, str> {
    let words = match shape {
        Shape::Text => "text",
        Shape::Label => "1 to 64 bytes, printable",
        Shape::Password => "8 to 512 bytes",
        Shape::Unihash => "64 lower-case hex digits",
        Shape::Flag => "truth value",
        Shape::Seconds => "seconds, fractions allowed",
        Shape::Names => "list of names",
        Shape::Where => "object of column and value",
        Shape::Bytes => "bytes",
        Shape::List => "list",
        Shape::Set(words) => return format!("set of `{}`", words.join("`, `")).into(),
        Shape::Dict => "map or null",
        Shape::Bool => "true or false",
    };
    words.into()
}

const COMMANDS_HEAD: &str = "\
# Commands of the hash equivalence protocol

Made by `fingerpost docs commands` from the commands' own declarations. The order is that of precedence, when a request names several. Each example is a request and its answer; a stream is shown from its opening to its end.

| command | permission | on a read-only server | remembered |
| --- | --- | --- | --- |
";

const HG_COMMANDS_HEAD: &str = "\
# Commands of Mercurial's wire protocol v2

Made by `fingerpost docs hg-commands` from the commands' own declarations. Each example is a request and the objects of its answer in the notation of `fingerpost hg call`: bytes are text, or hex digits behind `hex:`, and sets are `{\"SET\": [...]}`. A set may be sent as a list. `fields` that nobody knows are ignored, other arguments are refused.

A revision specifier is one of

- `{\"type\": \"changesetexplicit\", \"nodes\": [...]}`: these changesets, in this order;
- `{\"type\": \"changesetexplicitdepth\", \"nodes\": [...], \"depth\": n}`: these and their ancestors within fewer than n steps, in the order of the store;
- `{\"type\": \"changesetdagrange\", \"roots\": [...], \"heads\": [...]}`: ancestors of the heads that are no ancestors of the roots, in the order of the store; unknown roots are passed over.

Several are united, each changeset where it comes first.

| command | permission | without a program for it | remembered |
| --- | --- | --- | --- |
";

const CONFIGURATION_HEAD: &str = "\
# Configuration

Made by `fingerpost docs configuration` from the keys' own declarations; [fingerpost.toml](../fingerpost.toml) is the same as a file to copy.

Everything has a default. A value comes from the first of these that sets it:

1. a flag of `fingerpost serve`; `--set SECTION.KEY=VALUE` sets any key;
2. the variable `FINGERPOST_SECTION__KEY`, lists separated by commas;
3. the reference server's variables: `HASHSERVER_BIND`, `HASHSERVER_DB`, `HASHSERVER_DB_USERNAME`, `HASHSERVER_DB_PASSWORD`, `HASHSERVER_LOG_LEVEL`, `HASHSERVER_UPSTREAM`, `HASHSERVER_READ_ONLY`, `HASHSERVER_ANON_PERMS`, `HASHSERVER_ADMIN_USER`, `HASHSERVER_ADMIN_PASSWORD`;
4. the file: `--config`, else `$FINGERPOST_CONFIG`, else `/etc/fingerpost/fingerpost.toml`;
5. the default.

Secrets can also lie in a file of their own: `..._file` in the file, `..._FILE` in variables. One line end at its end is not part of the secret. Nothing ever prints a secret.

`fingerpost check-config` names a wrong key and its line; `fingerpost check-config --show` prints what is in force. An unknown key is an error.

Data lie in `server.data_dir`; without it in systemd's `$STATE_DIRECTORY`, else in `/var/lib/fingerpost` when there is a configuration file, else in `./fingerpost-data`.

## Keys
";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, page: &str) {
        let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text == page, "{path} is stale; run `make docs`");
    }

    #[test]
    fn the_pages_in_the_tree_are_those_that_the_code_makes() {
        check("fingerpost.toml", &config::annotated_file());
        let commands_page = commands(COMMANDS_HEAD, &fingerpost_hashequiv::commands(), IGNORED);
        check("docs/commands.md", &commands_page);
        let commands_page = commands(HG_COMMANDS_HEAD, &fingerpost_hg::commands(), REFUSED);
        check("docs/hg-commands.md", &commands_page);
        check("docs/configuration.md", &configuration());
        check("docs/openapi.json", &open_api());
    }

    #[test]
    fn every_command_shows_an_example_that_parses() {
        for entry in fingerpost_hashequiv::commands().entries() {
            let name = entry.declaration.name;
            assert!(entry.parses(entry.example).is_ok(), "{name}");
            assert!(!entry.declaration.answer_example.is_empty(), "{name}");
        }
    }
}
