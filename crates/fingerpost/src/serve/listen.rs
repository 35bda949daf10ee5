//! Sockets: systemd's when it passed some, else the configured addresses.

use fingerpost_net::{Address, BindError, BindOptions, Listener, bind};
use listenfd::ListenFd;

use crate::config::{Config, Loaded};
use crate::exit::{Exit, failure};

/// What the server listens on.
pub(super) struct Listeners {
    /// Everything is spoken here.
    pub(super) service: Vec<Listener>,
    /// Metrics and probes alone.
    pub(super) probes: Option<Listener>,
}

/// Takes systemd's sockets, or binds.
pub(super) fn listen(loaded: &Loaded) -> anyhow::Result<Listeners> {
    let inherited = inherited()?;
    let service = if inherited.is_empty() {
        bind_all(&loaded.config)?
    } else {
        inherited
    };
    if service.is_empty() {
        return Err(failure(
            Exit::Configuration,
            "server.bind names no address to listen on",
        ));
    }
    Ok(Listeners {
        service,
        probes: bind_probes(loaded)?,
    })
}

/// Sockets passed by systemd's socket activation, in its order.
fn inherited() -> anyhow::Result<Vec<Listener>> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        let listener = match passed.take_tcp_listener(index) {
            Ok(Some(socket)) => Listener::from_tcp(socket),
            Ok(None) => continue,
            // Not TCP, so it has to be Unix.
            Err(_) => match passed.take_unix_listener(index) {
                Ok(Some(socket)) => Listener::from_unix(socket),
                Ok(None) => continue,
                Err(error) => Err(error),
            },
        };
        listeners.push(listener.map_err(|error| {
            let why = format!("cannot use socket {index} that systemd passed: {error}");
            failure(Exit::Configuration, why)
        })?);
    }
    Ok(listeners)
}

fn bind_all(config: &Config) -> anyhow::Result<Vec<Listener>> {
    let options = BindOptions {
        reuse_port: config.server.reuse_port,
        ..BindOptions::default()
    };
    let addresses = config.server.bind.iter();
    addresses
        .map(|address| bind(&address.0, &options).map_err(explain))
        .collect()
}

/// Binds one address with the default options.
pub(crate) fn bind_one(address: &Address) -> anyhow::Result<Listener> {
    bind(address, &BindOptions::default()).map_err(explain)
}

/// The address of metrics alone. Somebody who did not ask for it loses nothing
/// when another server has it already.
fn bind_probes(loaded: &Loaded) -> anyhow::Result<Option<Listener>> {
    let Some(address) = &loaded.config.metrics.bind.0 else {
        return Ok(None);
    };
    match bind(&address.0, &BindOptions::default()) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if loaded.is_set("metrics.bind") => Err(explain(error)),
        Err(error) => {
            tracing::warn!("no separate address for metrics and probes: {error}");
            Ok(None)
        }
    }
}

fn explain(error: BindError) -> anyhow::Error {
    let exit = match &error {
        BindError::Taken { .. } | BindError::TakenByUnknown(_) => Exit::Unavailable,
        BindError::Denied(_) => Exit::Denied,
        BindError::ClientOnly(_) | BindError::NotASocket(_) => Exit::Configuration,
        BindError::Unknown { .. } | BindError::NotHere(_) => Exit::Unavailable,
        BindError::Io { .. } => Exit::Io,
    };
    let way_out = if exit == Exit::Unavailable {
        " (--bind ADDR)"
    } else {
        ""
    };
    failure(exit, format!("{:#}{way_out}", anyhow::Error::new(error)))
}
