//! Sockets that systemd's socket activation passed, and what each is for.

use std::collections::BTreeMap;

use fingerpost_net::Listener;
use fingerpost_program::sockets::{self, Passed};

use crate::config::{FIRST_LISTENER, Server};
use crate::exit::{Exit, failure};

/// The name of sockets for metrics and probes, unless a table of
/// `server.listeners` has it.
const PROBES: &str = "metrics";

/// Sockets that were passed, by what they take the place of.
#[derive(Default)]
pub(super) struct Inherited {
    /// Of `server.bind`.
    pub(super) first: Vec<Listener>,
    /// Of tables of `server.listeners`, by their name.
    pub(super) further: BTreeMap<String, Vec<Listener>>,
    /// Of `metrics.bind`.
    pub(super) probes: Vec<Listener>,
}

/// What a socket takes the place of.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    First,
    Further(String),
    Probes,
}

impl Inherited {
    /// Takes all that were passed, in their order.
    pub(super) fn take(server: &Server) -> anyhow::Result<Self> {
        let mut inherited = Self::default();
        for Passed { name, listener } in sockets::passed()? {
            inherited.put(place(server, &name)?, listener);
        }
        Ok(inherited)
    }

    fn put(&mut self, place: Place, listener: Listener) {
        match place {
            Place::First => self.first.push(listener),
            Place::Further(name) => self.further.entry(name).or_default().push(listener),
            Place::Probes => self.probes.push(listener),
        }
    }
}

/// What a socket of this name (`FileDescriptorName=`) is for. A name that means
/// nothing is refused: its socket would be served with another's TLS.
fn place(server: &Server, name: &str) -> anyhow::Result<Place> {
    if server.listeners.contains_key(name) {
        Ok(Place::Further(name.to_owned()))
    } else if name == PROBES {
        Ok(Place::Probes)
    } else if name == FIRST_LISTENER || Passed::is_unnamed(name) {
        Ok(Place::First)
    } else {
        let why = format!(
            "systemd passed a socket with FileDescriptorName={name}, which is neither {PROBES} nor \
             {FIRST_LISTENER} nor a table of [server.listeners]"
        );
        Err(failure(Exit::Configuration, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Option<Place>) {
        let server: Server = toml::from_str("[listeners.builders]\nbind = [':1']").unwrap();
        assert_eq!(place(&server, name).ok(), expected, "{name}");
    }

    #[test]
    fn a_socket_is_for_what_its_name_says() {
        check("builders", Some(Place::Further("builders".to_owned())));
        check("metrics", Some(Place::Probes));
        for name in ["", "unknown", "fingerpost.socket", "server.bind"] {
            check(name, Some(Place::First));
        }
        check("bulders", None);
    }

    #[test]
    fn a_table_called_metrics_has_its_name() {
        let server: Server = toml::from_str("[listeners.metrics]\nbind = [':1']").unwrap();
        let place = place(&server, "metrics").unwrap();
        assert_eq!(place, Place::Further("metrics".to_owned()));
    }
}
