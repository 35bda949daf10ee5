//! `fingerpost doctor`: what is wrong between a build and its hash server, from the side
//! of the build.
//!
//! What the variables of a build tell by themselves is judged first, without a network;
//! then the server is tried as BitBake tries it, but with every wait bounded. One file is
//! one subject, and [`report`] is what all of them write.

mod address;
mod agent;
mod bitbake;
mod clock;
mod credentials;
mod database;
mod handler;
mod http;
mod mirrors;
mod pairing;
mod proxy;
mod reach;
mod report;
mod session;
mod shown;
mod socket;
mod tls;
mod trying;
mod variables;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use self::bitbake::Version;
use self::credentials::NetrcFile;
use self::mirrors::Mirrors;
use self::pairing::Around;
use self::reach::{STEP, within};
use self::report::{Finding, Report};
use self::variables::Variables;
use crate::exit::{Exit, OrExit as _, failure};
use crate::out::Out;

/// Say what is wrong between a build and its hash server, and what to change.
///
/// Without --bitbake-env the variables of BitBake that are in the environment count:
/// `BB_HASHSERVE`, `BB_HASHSERVE_USERNAME`, `BB_HASHSERVE_PASSWORD` and so on. No password is
/// ever printed. Ends with 1 if there is a problem.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Output of `bitbake -e`; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    bitbake_env: Option<PathBuf>,
    /// The server, in place of `BB_HASHSERVE`.
    #[arg(long, value_name = "ADDR")]
    server: Option<String>,
    /// Print JSON, an array with an object for each check.
    #[arg(long)]
    json: bool,
}

/// Checks, and shows what was found.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let variables = variables_of(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let report = runtime.block_on(examine(&variables));
    // A resolver or a file system that does not answer would be waited for otherwise.
    runtime.shutdown_background();
    let mut out = Out::default();
    match args.json {
        true => out.line(&report.json())?,
        false => out.bytes(report.text().as_bytes())?,
    }
    Ok(match report.has_problem() {
        true => Exit::Found,
        false => Exit::Ok,
    })
}

fn variables_of(args: &Args) -> anyhow::Result<Variables> {
    let mut variables = match &args.bitbake_env {
        Some(path) => read(path)?,
        None => Variables::of_environment(of_process),
    };
    if let Some(address) = &args.server {
        variables.set_server(address);
    }
    match variables.knows("BB_HASHSERVE") {
        true => Ok(variables),
        false => Err(failure(
            Exit::Usage,
            "there is nothing to check: bitbake -e | fingerpost doctor --bitbake-env -, or \
             fingerpost doctor --server ADDR",
        )),
    }
}

fn read(path: &Path) -> anyhow::Result<Variables> {
    let shown = path.display();
    let mut input: Box<dyn BufRead> = match path == Path::new("-") {
        true => Box::new(std::io::stdin().lock()),
        false => {
            let file = File::open(path).or_exit(Exit::Usage, format!("cannot open {shown}"))?;
            Box::new(BufReader::new(file))
        }
    };
    let read = Variables::of_bitbake(&mut input);
    let read = read.or_exit(Exit::Io, format!("cannot read {shown}"))?;
    read.ok_or_else(|| {
        let why = format!("{shown} is no output of `bitbake -e`: no variable of BitBake is in it");
        failure(Exit::BadData, why)
    })
}

fn of_process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Makes every check.
async fn examine(variables: &Variables) -> Report {
    let mut report = Report::default();
    let version = Version::of(variables);
    let (server, about_address) = address::check(variables, version);
    report.add([handler::check(variables, &server)]);
    report.add(about_address);
    report.add(handler::parsing(variables));
    let credentials = match server {
        address::Server::Off => None,
        _ => {
            // A home on a network file system that is away has no login either.
            let file = within(STEP, NetrcFile::of_user).await.unwrap_or_default();
            let (found, about) = credentials::check(variables, version, &server, &file);
            report.add(about);
            found
        }
    };
    let mut around = Around {
        is_agent: trying::check(&mut report, &server, credentials, variables).await,
        ..Around::default()
    };
    report.add(Mirrors::of(variables).check());
    match network_of(variables.get("SSTATE_DIR").map(PathBuf::from)).await {
        Ok(network) => around.sstate_network = network,
        Err(silent) => report.add([Finding::problem("sstate", silent)]),
    }
    report.add(pairing::check(variables, &server, &around));
    if let Some((variable, directory)) = database::directory(variables, &server) {
        report.add([match network_of(Some(directory.clone())).await {
            Ok(network) => database::judge(variable, &directory, network.as_deref()),
            Err(silent) => Finding::problem("database", silent),
        }]);
    }
    report
}

/// The network file system of a path; a sentence if the file system does not say.
async fn network_of(path: Option<PathBuf>) -> Result<Option<String>, String> {
    let Some(path) = path else {
        return Ok(None);
    };
    let silent = format!(
        "the file system of {} does not answer within a second: look after its server",
        path.display()
    );
    within(STEP, move || database::network(&path))
        .await
        .ok_or(silent)
}
