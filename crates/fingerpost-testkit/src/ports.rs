//! Ports for servers that must know theirs before they start.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;
use rand::RngExt as _;

/// The claims of this process, which end with it.
static CLAIMS: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());

/// A port of 127.0.0.1 that nobody listens on at the moment, that the system gives to
/// nobody who asks for any (those begin at 32768), and that this function gives to
/// nobody else while this process lives, so that a server can leave it and come back.
pub fn free_port() -> Result<u16> {
    let mut random = rand::rng();
    for _ in 0..200 {
        let port = random.random_range(20_000..32_000);
        let Some(claim) = claim(port) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            CLAIMS.lock().push(claim);
            return Ok(port);
        }
    }
    bail!("no port is free")
}

/// Listens again on an address that this process has just left. For at most 5 seconds it
/// is tried again: a program that another thread starts holds a copy of every socket
/// between its `fork` and its `exec`, that of the closed listener too.
pub(crate) async fn listen_again(address: std::net::SocketAddr) -> Result<tokio::net::TcpListener> {
    for _ in 0..100 {
        match tokio::net::TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            bound => return bound.with_context(|| format!("no listener on {address}")),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("{address} is taken")
}

/// The claim is a name that the kernel keeps, as it keeps ports: one holder at a time,
/// no file, nothing left behind by a process that was killed.
fn claim(port: u16) -> Option<UnixDatagram> {
    let name = format!("fingerpost-testkit-port-{port}");
    let name = SocketAddr::from_abstract_name(name).ok()?;
    UnixDatagram::bind_addr(&name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_claimed_once() {
        let port = free_port().unwrap();
        assert!(claim(port).is_none());
    }

    #[tokio::test]
    async fn a_listener_that_closes_late_is_waited_for() {
        let before = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = before.local_addr().unwrap();
        let closing = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(120)).await;
            drop(before);
        });
        let again = listen_again(address).await.unwrap();
        assert_eq!(again.local_addr().unwrap(), address);
        closing.await.unwrap();
    }
}
