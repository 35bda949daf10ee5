//! Sockets: those that systemd's socket activation passed, and why others cannot be bound.

use fingerpost_net::{BindError, Listener};
use listenfd::ListenFd;

use crate::exit::{Exit, failure};

/// A listening socket that systemd passed.
#[derive(Debug)]
pub struct Passed {
    /// Its `FileDescriptorName=`.
    pub name: String,
    /// The socket.
    pub listener: Listener,
}

impl Passed {
    /// Whether `name` is one that nobody chose: without a name of its own a socket has
    /// that of its unit, and `unknown` where there is none.
    pub fn is_unnamed(name: &str) -> bool {
        matches!(name, "" | "unknown") || name.ends_with(".socket")
    }
}

/// Takes all sockets that were passed, in their order. To be called once.
///
/// # Errors
///
/// Something that was passed is no listening socket of TCP or Unix.
pub fn passed() -> anyhow::Result<Vec<Passed>> {
    let mut passed = ListenFd::from_env();
    // Not the variable of a program that had other sockets.
    let names = match passed.len() {
        0 => String::new(),
        _ => std::env::var("LISTEN_FDNAMES").unwrap_or_default(),
    };
    let mut names = names.split(':');
    let mut taken = Vec::new();
    for index in 0..passed.len() {
        let name = names.next().unwrap_or_default().to_owned();
        if let Some(listener) = listener(&mut passed, index)? {
            taken.push(Passed { name, listener });
        }
    }
    Ok(taken)
}

fn listener(passed: &mut ListenFd, index: usize) -> anyhow::Result<Option<Listener>> {
    let listener = match passed.take_tcp_listener(index) {
        Ok(socket) => socket.map(Listener::from_tcp),
        // Not TCP, so it has to be Unix.
        Err(_) => match passed.take_unix_listener(index) {
            Ok(socket) => socket.map(Listener::from_unix),
            Err(error) => Some(Err(error)),
        },
    };
    listener.transpose().map_err(|error| {
        let why = format!("cannot use socket {index} that systemd passed: {error}");
        failure(Exit::Configuration, why)
    })
}

/// The sentence and the exit code for an address that could not be bound. `way_out` is
/// the flag with which another one is chosen.
pub fn unbound(error: BindError, way_out: &str) -> anyhow::Error {
    let exit = match &error {
        BindError::Taken { .. } | BindError::TakenByUnknown(_) => Exit::Unavailable,
        BindError::Denied(_) => Exit::Denied,
        BindError::ClientOnly(_) | BindError::NotASocket(_) => Exit::Configuration,
        BindError::Unknown { .. } | BindError::NotHere(_) => Exit::Unavailable,
        BindError::Io { .. } => Exit::Io,
    };
    let error = anyhow::Error::new(error);
    match exit {
        Exit::Unavailable => failure(exit, format!("{error:#} ({way_out})")),
        _ => failure(exit, format!("{error:#}")),
    }
}
