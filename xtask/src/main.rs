//! Checks that no compiler knows: `cargo xtask tidy` reads the tree for house
//! rules, `cargo xtask dependencies` reads `cargo metadata` for licences,
//! banned crates and sources. Each prints what it found and exits 1, or prints
//! one line and exits 0.

mod arrows;
mod commands;
mod dependencies;
mod modules;
mod text;
mod tree;

use std::process::ExitCode;

use anyhow::{Context, Result};

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let found = match task.as_deref() {
        Some("tidy") => tidy(),
        Some("dependencies") => dependencies::check(),
        _ => {
            eprintln!("usage: cargo xtask tidy | dependencies");
            return ExitCode::from(64);
        }
    };
    match found {
        Ok(found) if found.is_empty() => {
            println!("{}: nothing to complain about", task.unwrap_or_default());
            ExitCode::SUCCESS
        }
        Ok(found) => {
            for line in &found {
                println!("{line}");
            }
            println!("{} to mend", found.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(74)
        }
    }
}

/// Every house rule over the tree; a line for each offence.
fn tidy() -> Result<Vec<String>> {
    let tree = tree::Tree::read(&tree::root()?).context("cannot read the tree")?;
    let mut found = arrows::check(&tree)?;
    found.extend(commands::check(&tree));
    found.extend(modules::check(&tree));
    found.extend(text::check(&tree));
    Ok(found)
}
