//! `fingerpost client`: the commands of the reference's `bitbake-hashclient`,
//! under the same names, with the same output and the exit codes 0 and 1.

mod login;
mod lookup;
mod measure;
pub(crate) mod netrc;
mod output;
mod report;
mod retention;
mod signing;
mod tokens;
mod users;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use fingerpost_hashequiv_client::{Client, ClientError, ClientOptions};
use fingerpost_signatures::Trust;

use crate::exit::Exit;
use crate::{config, log};

/// Talk to a hash equivalence server, as `bitbake-hashclient` does.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The server. Default: `unix://./hashserve.sock` if that exists, else
    /// `127.0.0.1:8686`.
    #[arg(long, value_name = "ADDR")]
    address: Option<String>,
    /// Log level: error, warning, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "warning")]
    log: config::LogLevel,
    #[command(flatten)]
    login: login::LoginArgs,
    #[command(flatten)]
    signing: signing::SigningArgs,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what is known of a task.
    Get(lookup::GetArgs),
    /// Show what is known of an output.
    GetOuthash(lookup::GetOuthashArgs),
    /// Tell what tasks produced, and print the unihashes that they have.
    Report(report::ReportArgs),
    /// Tell whether any task has a unihash.
    UnihashExists(lookup::UnihashExistsArgs),
    /// Show statistics of requests.
    Stats(lookup::StatsArgs),
    /// Put load on the server.
    Stress(measure::StressArgs),
    /// Measure how long the server takes to answer.
    Ping(measure::PingArgs),
    /// Remove rows.
    Remove(retention::RemoveArgs),
    /// Remove outputs that no mapping needs.
    CleanUnused(retention::CleanUnusedArgs),
    /// Show how the collection stands.
    GcStatus,
    /// Mark mappings to keep, which starts a collection.
    GcMark(retention::GcMarkArgs),
    /// Mark mappings to keep, by conditions read from standard input.
    GcMarkStream(retention::GcMarkStreamArgs),
    /// Remove every mapping that was not marked.
    GcSweep(retention::GcSweepArgs),
    /// Show the number of rows by table.
    GetDbUsage,
    /// Show the columns that conditions may name.
    GetDbQueryColumns,
    /// Make a new token for a user.
    RefreshToken(users::OwnOrOther),
    /// Set what a user may do.
    SetUserPerms(users::PermissionsArgs),
    /// Show a user.
    GetUser(users::OwnOrOther),
    /// Show all users.
    GetAllUsers,
    /// Create a user; the token is shown once.
    NewUser(users::PermissionsArgs),
    /// Delete a user.
    DeleteUser(users::DeleteArgs),
    /// Make a bearer token for a program; it is shown once.
    TokenNew(tokens::NewArgs),
    /// Show the bearer tokens of a user.
    TokenList(users::OwnOrOther),
    /// Revoke a bearer token.
    TokenRevoke(tokens::RevokeArgs),
}

impl Command {
    /// Whether the server answers when much work is done, and not before.
    const fn takes_its_time(&self) -> bool {
        matches!(
            self,
            Self::Remove(_)
                | Self::CleanUnused(_)
                | Self::GcMark(_)
                | Self::GcMarkStream(_)
                | Self::GcSweep(_)
                | Self::GetDbUsage
        )
    }
}

/// Runs one command. Errors are told here, since all of them exit with 1.
pub(crate) fn run(args: &Args) -> Exit {
    match run_command(args) {
        Ok(exit) => exit,
        Err(error) => {
            match error.downcast_ref::<ClientError>() {
                Some(ClientError::Told(text)) => println!("ERROR: {text}"),
                _ => eprintln!("{error:#}"),
            }
            Exit::Found
        }
    }
}

fn run_command(args: &Args) -> anyhow::Result<Exit> {
    log::start(args.log, config::LogFormat::Text);
    let address = args.address.clone().unwrap_or_else(default_address);
    let mut options = ClientOptions::to(address.parse()?);
    args.login.apply(&address, &mut options)?;
    if args.command.takes_its_time() {
        options.receive_timeout = LONG_WORK_MAX;
        options.total_time = LONG_WORK_MAX;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(dispatch(args, options))
}

async fn dispatch(args: &Args, options: ClientOptions) -> anyhow::Result<Exit> {
    let mut session = Session {
        client: Client::new(options.clone()),
        json: args.json,
        trust: args.signing.load()?,
    };
    let session = &mut session;
    match &args.command {
        Command::Get(args) => lookup::get(session, args).await,
        Command::GetOuthash(args) => lookup::get_outhash(session, args).await,
        Command::Report(args) => report::report(session, args).await,
        Command::UnihashExists(args) => lookup::unihash_exists(session, args).await,
        Command::Stats(args) => lookup::stats(session, args).await,
        Command::Stress(args) => measure::stress(&options, args).await,
        Command::Ping(args) => measure::ping(session, args).await,
        Command::Remove(args) => retention::remove(session, args).await,
        Command::CleanUnused(args) => retention::clean_unused(session, args).await,
        Command::GcStatus => retention::gc_status(session).await,
        Command::GcMark(args) => retention::gc_mark(session, args).await,
        Command::GcMarkStream(args) => retention::gc_mark_stream(session, args).await,
        Command::GcSweep(args) => retention::gc_sweep(session, args).await,
        Command::GetDbUsage => lookup::get_db_usage(session).await,
        Command::GetDbQueryColumns => lookup::get_db_query_columns(session).await,
        Command::RefreshToken(args) => users::refresh_token(session, args).await,
        Command::SetUserPerms(args) => users::set_user_perms(session, args).await,
        Command::GetUser(args) => users::get_user(session, args).await,
        Command::GetAllUsers => users::get_all_users(session).await,
        Command::NewUser(args) => users::new_user(session, args).await,
        Command::DeleteUser(args) => users::delete_user(session, args).await,
        Command::TokenNew(args) => tokens::token_new(session, args).await,
        Command::TokenList(args) => tokens::token_list(session, args.username()).await,
        Command::TokenRevoke(args) => tokens::token_revoke(session, args).await,
    }
}

/// A connection and how answers are shown.
struct Session {
    client: Client,
    json: bool,
    /// Whom to believe, if signatures are of concern.
    trust: Option<Trust>,
}

impl Session {
    /// Whether the signatures of what is looked up count.
    fn judges(&self) -> bool {
        self.trust.as_ref().is_some_and(Trust::judges)
    }
}

/// The reference's socket in the current directory where there is one, else
/// the address that `fingerpost serve` takes by itself.
fn default_address() -> String {
    if Path::new(REFERENCE_SOCKET).exists() {
        format!("unix://{REFERENCE_SOCKET}")
    } else {
        DEFAULT_ADDRESS.to_owned()
    }
}

/// A sweep of a large database is done within this.
const LONG_WORK_MAX: Duration = Duration::from_secs(24 * 3600);
const REFERENCE_SOCKET: &str = "./hashserve.sock";
/// Where `fingerpost serve` listens when nothing is configured.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:8686";
