//! An agent from its start to its end.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use fingerpost_net::{Address, BindOptions, Listener, Shutdown, bind, raise_open_files};
use fingerpost_program::exit::{Exit, OrExit as _, failure};
use fingerpost_program::log::{self, LogFormat, LogLevel};
use fingerpost_program::out::Out;
use fingerpost_program::signals::StopSignals;
use fingerpost_program::sockets::{self, Passed, unbound};
use fingerpost_program::systemd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::agent::METRICS;
use crate::args::Args;
use crate::believing::read_rings_again;
use crate::names::Names;
use crate::place::{Directory, Environment, SocketOptions, bind_socket};
use crate::profiles::SocketUsers;
use crate::settings::{ServerAddress, Settings};
use crate::state::StateError;
use crate::{Agent, Profiles, StartError, loopback};

/// Serves until a stop signal.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let settings = args.settings.clone().with_file(args.config.as_deref())?;
    log::start(
        settings.log.unwrap_or(LogLevel::Info),
        settings.log_format.unwrap_or(LogFormat::Auto),
    );
    for name in Args::unknown_variables(std::env::vars_os().map(|(name, _)| name)) {
        tracing::warn!("{name} is no variable of the agent, and is in effect nowhere");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(serve(&settings, &Environment::of_process()));
    // What may still be at work on a blocking thread is built for a process that ends at
    // any moment.
    runtime.shutdown_background();
    outcome
}

async fn serve(settings: &Settings, environment: &Environment) -> anyhow::Result<Exit> {
    let mut signals = StopSignals::catch().context("cannot catch signals")?;
    // There is nothing to read again; and whoever closes the terminal of a build that
    // started an agent does not mean the agent.
    let _hang_ups = signal(SignalKind::hangup()).context("cannot catch signals")?;
    raise_open_files();
    // What is missing is told before anything is made.
    settings.options(PathBuf::new())?;
    let names = Names::of_host();
    let profiles = settings.profiles(&names, environment.uid)?;
    let listeners = listen(settings, environment)?;
    let profiles = profiles.on(SocketUsers::of(&listeners, &names));
    let agent = start(settings, environment, &profiles).await?;
    let shutdown = Shutdown::new();
    announce(&listeners, &settings.server_names());
    let mut serving = tokio::spawn(agent.serve(listeners, shutdown.clone()));
    systemd::ready();
    // Their file system may hang, and builds need not wait for that.
    let settings = settings.clone();
    spawn_blocking(move || {
        for missing in settings.missing_logins() {
            tracing::warn!("{missing}");
        }
    });
    tokio::select! {
        signal = signals.next() => tracing::info!(signal, "stopping"),
        ended = &mut serving => {
            ended.context("the agent panicked")?.context("the agent cannot listen")?;
            return Ok(Exit::Ok);
        }
    }
    systemd::stopping();
    shutdown.begin();
    if timeout(STOP_MAX, serving).await.is_err() {
        tracing::warn!("connections were still at work; reports that were answered are safe");
    }
    Ok(Exit::Ok)
}

/// Takes systemd's sockets, or binds the agent's own.
fn listen(settings: &Settings, environment: &Environment) -> anyhow::Result<Vec<Listener>> {
    let (mut builds, mut probes) = (Vec::new(), Vec::new());
    for Passed { name, listener } in sockets::passed()? {
        if name == METRICS {
            probes.push(listener);
        } else if name == BUILDS || Passed::is_unnamed(&name) {
            builds.push(local(listener)?);
        } else {
            let why = format!(
                "systemd passed a socket with FileDescriptorName={name}, which is neither \
                 {BUILDS} nor {METRICS}"
            );
            return Err(failure(Exit::Configuration, why));
        }
    }
    match builds.is_empty() {
        true => builds.push(bind_own(settings, environment)?),
        false if settings.socket_group.is_some() => {
            tracing::warn!("socket_group is not used: SocketGroup= of the socket unit is");
        }
        false => {}
    }
    for address in settings.bind.iter().flatten() {
        builds.push(local(loopback::listen(address)?)?);
    }
    if let (true, Some(address)) = (probes.is_empty(), &settings.metrics) {
        let listener = bind(&address.0, &BindOptions::default());
        probes.push(listener.map_err(|error| unbound(error, "--metrics ADDR"))?);
    }
    for listener in probes.iter().filter(|listener| listener.is_exposed()) {
        let address = listener.address();
        tracing::warn!(listener = %address, "metrics can be read from other machines at {address}");
    }
    builds.extend(probes.into_iter().map(|listener| listener.named(METRICS)));
    Ok(builds)
}

/// What other machines reach would be asked by whoever is there, as this host.
fn local(listener: Listener) -> anyhow::Result<Listener> {
    if listener.is_exposed() {
        let why = format!(
            "{} can be reached from other machines, and an agent is for its own host: let the \
             socket unit name a path or a loopback address",
            listener.address()
        );
        return Err(failure(Exit::Configuration, why));
    }
    Ok(listener)
}

fn bind_own(settings: &Settings, environment: &Environment) -> anyhow::Result<Listener> {
    let place = environment.socket(settings.socket.as_deref())?;
    if let Some(warning) = &place.warning {
        tracing::warn!("{warning}");
    }
    let servers = settings.server.as_deref().unwrap_or_default();
    if let Some(ServerAddress::Native(Address::Unix(server))) = servers.first()
        && std::path::absolute(server).is_ok_and(|server| server == place.path)
    {
        let why = format!("{} would be the agent's own server", place.path.display());
        return Err(failure(Exit::Configuration, why));
    }
    let options = SocketOptions {
        group: settings.socket_group.clone(),
    };
    bind_socket(&place, &options, environment.uid)
}

/// Starts the agent on the first state directory that no other one has.
async fn start(
    settings: &Settings,
    environment: &Environment,
    profiles: &Profiles,
) -> anyhow::Result<Agent> {
    let place = environment.state(settings.state_directory.as_deref())?;
    if let Some(warning) = &place.warning {
        tracing::warn!("{warning}");
    }
    if let Some(outer) = &place.inside {
        outer.prepare(environment.uid)?;
    }
    let mut in_use = None;
    for directory in place.directories() {
        prepare(&directory, environment.uid)?;
        let mut options = settings.options(directory.path.clone())?;
        options.profiles = profiles.clone();
        match Agent::start(&options).await {
            Ok(agent) => {
                let (settings, state) = (settings.clone(), directory.path.clone());
                tokio::spawn(read_rings_again(agent.clone(), settings, state));
                return Ok(agent);
            }
            Err(error @ StartError::State(StateError::InUse { .. })) => {
                _ = in_use.get_or_insert(error);
            }
            Err(error) => return Err(error).or_exit(Exit::Io, "the agent cannot start"),
        }
    }
    let error = in_use.expect("a place has a directory");
    Err(failure(
        Exit::Unavailable,
        format!("{error} (--state-directory)"),
    ))
}

/// Makes a state directory. One that cannot be made or read is no reason not to serve:
/// the agent says that it keeps no reports. One that others can meddle with is.
fn prepare(directory: &Directory, uid: u32) -> anyhow::Result<()> {
    match directory.prepare(uid) {
        Err(error) if Exit::of(&error) == Exit::Io => tracing::warn!("{error:#}"),
        prepared => prepared?,
    }
    Ok(())
}

/// Says where the agent is, as `fingerpost serve` does.
fn announce(listeners: &[Listener], server: &str) {
    let mut out = Out::default();
    for listener in listeners {
        let address = listener.client_address();
        let line = match listener.name() {
            Some(METRICS) => format!("Metrics on {address}"),
            _ => format!("Listening on {address} for {server}\nBB_HASHSERVE = \"{address}\""),
        };
        // That nobody can read it is no reason not to serve.
        let _ = out.line(&line);
    }
}

/// `FileDescriptorName=` of the socket that builds ask.
const BUILDS: &str = "agent";
/// One host's builds ask; more threads would only be idle.
const WORKER_THREADS: usize = 2;
/// From the signal to the end. Operators are promised five seconds.
const STOP_MAX: Duration = Duration::from_millis(4800);
