//! The way to a host and port: its name, and whether somebody accepts connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use fingerpost_net::Host;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use super::report::Finding;

/// The longest wait for each step; BitBake's own are half a minute and more.
pub(super) const STEP: Duration = Duration::from_secs(1);

const RESOLVE: &str = "resolve";
const CONNECT: &str = "connect";

/// What a read of files gives; nothing if their file system does not answer in time, as one
/// of a server that is away. What still waits is left behind.
pub(super) async fn within<T: Send + 'static>(
    limit: Duration,
    read: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let reading = tokio::task::spawn_blocking(read);
    timeout(limit, reading).await.ok()?.ok()
}

/// Connects as BitBake does: to one address after the other, in the resolver's order.
pub(super) async fn check(host: &Host, port: u16) -> (Option<TcpStream>, Vec<Finding>) {
    let (addresses, mut findings) = resolve(host, port).await;
    let mut failed: Vec<(SocketAddr, io::Error)> = Vec::new();
    let give_up = Instant::now() + STEP;
    for address in addresses {
        let connected = timeout_at(give_up, TcpStream::connect(address)).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                findings.push(reached(address, &failed));
                return (Some(stream), findings);
            }
            Err(error) => failed.push((address, error)),
        }
    }
    findings.extend(failed.first().map(|(at, error)| unreached(*at, error)));
    (None, findings)
}

async fn resolve(host: &Host, port: u16) -> (Vec<SocketAddr>, Vec<Finding>) {
    let name = host.to_resolve();
    let looked_up = timeout(STEP, lookup_host((name.as_str(), port))).await;
    let wrong = |why: String| (Vec::new(), vec![Finding::problem(RESOLVE, why)]);
    match looked_up {
        Err(_) => wrong(format!(
            "the resolver says nothing of {name} within a second: check the host's name servers, or \
             put the address into BB_HASHSERVE"
        )),
        Ok(Err(error)) => wrong(format!(
            "{name} has no address ({error}): correct the name, or the host's name servers"
        )),
        Ok(Ok(found)) => {
            let found: Vec<_> = found.collect();
            let shown: Vec<_> = found.iter().map(|at| at.ip().to_string()).collect();
            let says = format!("{name} is {}", shown.join(", "));
            (found, vec![Finding::ok(RESOLVE, says)])
        }
    }
}

fn reached(address: SocketAddr, failed: &[(SocketAddr, io::Error)]) -> Finding {
    match failed.first() {
        None => Finding::ok(CONNECT, format!("{address} accepts connections")),
        Some((first, error)) => Finding::warning(
            CONNECT,
            format!(
                "{address} accepts connections, but BitBake tries {first} before, which does not \
                 ({}): take that address from the name",
                why(error)
            ),
        ),
    }
}

fn unreached(address: SocketAddr, error: &io::Error) -> Finding {
    let says = match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "nobody listens on {address} (connection refused): start the server, or correct the port"
        ),
        io::ErrorKind::TimedOut => format!(
            "{address} does not accept within a second, and BitBake waits two minutes for each try: \
             check firewalls and whether the host is up"
        ),
        _ => format!("{address} cannot be reached ({error}): check the network"),
    };
    Finding::problem(CONNECT, says)
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_read_that_does_not_end_is_left_behind() {
        assert_eq!(within(STEP, || 1).await, Some(1));
        let (keep, silent) = std::sync::mpsc::sync_channel::<()>(0);
        let little = Duration::from_millis(10);
        assert_eq!(within(little, move || silent.recv().is_ok()).await, None);
        drop(keep);
    }
}
