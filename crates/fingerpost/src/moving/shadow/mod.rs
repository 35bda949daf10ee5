//! `fingerpost shadow`: stands in front of a reference server, and asks a
//! Fingerpost server the same things beside it.
//!
//! Clients talk to the reference and see only its answers, byte for byte. What
//! they send is also sent to Fingerpost; its answers are compared and thrown
//! away. A Fingerpost server that is slow, down or wrong costs them nothing: a
//! comparison that falls behind is given up, for that connection.

mod answers;
mod door;
mod mirror;
mod tally;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fingerpost_net::{
    Address, BindOptions, Metrics, Server, ServerOptions, Shutdown, bind, raise_open_files,
};

use crate::config::{LogFormat, LogLevel};
use crate::exit::{Exit, OrExit as _, failure};
use crate::log;
use crate::signals::StopSignals;
use door::ShadowDoor;
use tally::Tally;

/// Forward to a reference server and compare a Fingerpost server's answers.
///
/// Clients see only the reference's answers. Row numbers, times, tokens and
/// statistics are not compared. Ends with 1 when answers differed.
#[derive(Debug, clap::Args)]
pub(crate) struct ShadowArgs {
    /// Where clients connect: a host and port, or a Unix socket, as in `serve`.
    #[arg(long, value_name = "ADDRESS")]
    listen: Address,
    /// The server whose answers clients get.
    #[arg(long, value_name = "ADDRESS")]
    reference: Address,
    /// The server that is compared with it. Its database should be an import of
    /// the reference's. The namespace is that of the listener that has the address.
    #[arg(long, value_name = "ADDRESS")]
    fingerpost: Address,
    /// Differences that are logged in full; further ones are counted.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    log_differences: u64,
}

/// Forwards until a signal, then says what was found.
pub(crate) fn shadow(args: &ShadowArgs) -> anyhow::Result<Exit> {
    for address in [&args.listen, &args.reference, &args.fingerpost] {
        if address.is_websocket() {
            let sentence = format!("{address}: shadow speaks TCP and Unix sockets, not WebSocket");
            return Err(failure(Exit::Usage, sentence));
        }
    }
    log::start(LogLevel::Info, LogFormat::Auto);
    raise_open_files();
    let tally = Arc::new(Tally::new(args.log_differences));
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(serve(args, Arc::clone(&tally)))?;
    // Comparisons that wait for an answer still are not worth waiting for.
    runtime.shutdown_background();
    print!("{}", tally.summary());
    Ok(match tally.differences() {
        0 => Exit::Ok,
        _ => Exit::Found,
    })
}

async fn serve(args: &ShadowArgs, tally: Arc<Tally>) -> anyhow::Result<()> {
    let mut signals = StopSignals::catch().context("cannot catch signals")?;
    let listener =
        bind(&args.listen, &BindOptions::default()).or_exit(Exit::Unavailable, "cannot listen")?;
    println!("Listening on {}", listener.client_address());
    let shutdown = Shutdown::new();
    let door = ShadowDoor::new(args.reference.clone(), args.fingerpost.clone(), tally);
    let server = Server::new(
        door.clone(),
        ServerOptions::default(),
        Arc::new(Metrics::new()),
        shutdown.clone(),
    );
    let mut serving = tokio::spawn(server.listen(listener).run());
    tokio::select! {
        _ = signals.next() => shutdown.start(),
        ended = &mut serving => {
            ended.context("the server panicked")?.context("cannot listen")?;
        }
    }
    // What was answered before the signal is compared still.
    let _ = tokio::time::timeout(STOP_MAX, door.finish()).await;
    Ok(())
}

/// From the signal to the summary.
const STOP_MAX: Duration = Duration::from_secs(4);
