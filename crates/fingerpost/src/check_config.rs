//! `fingerpost check-config`: is it right, and what is in force?

use std::path::PathBuf;

use fingerpost_core::SystemClock;

use crate::config::{self, Sources};
use crate::exit::{Exit, OrExit};
use crate::serve;

/// Check the configuration and show what is in force.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File to check instead of `$FINGERPOST_CONFIG` or
    /// `/etc/fingerpost/fingerpost.toml`.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print every key with the value in force; secrets stay hidden.
    #[arg(long)]
    show: bool,
    /// Print an annotated file with every key at its default, and check nothing.
    #[arg(long)]
    example: bool,
}

/// Reads the configuration as `serve` would, and the certificates that it names;
/// touches nothing else.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.example {
        print!("{}", config::annotated_file());
        return Ok(Exit::Ok);
    }
    let sources = Sources {
        file: args.config.clone(),
        environment: Sources::process_environment(),
        ..Sources::default()
    };
    let loaded =
        config::load(sources).or_exit(Exit::Configuration, "The configuration is wrong")?;
    if let Some(tls) = loaded.config.tls.options() {
        tls.check(&SystemClock)
            .or_exit(Exit::Configuration, "TLS cannot be served")?;
    }
    serve::issuers(&loaded.config)?;
    if args.show {
        print!("{}", config::effective(&loaded.config));
    } else {
        match &loaded.file {
            Some(file) => println!("{}: the configuration is right", file.display()),
            None => println!("There is no configuration file; the defaults apply."),
        }
    }
    Ok(Exit::Ok)
}
