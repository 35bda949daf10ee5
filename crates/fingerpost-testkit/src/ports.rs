//! Ports for servers that must know theirs before they start.

use std::net::TcpListener;

use anyhow::{Result, bail};
use rand::RngExt as _;

/// A port of 127.0.0.1 that nobody listens on at the moment, and that the system
/// gives to nobody who asks for any: those begin at 32768.
pub fn free_port() -> Result<u16> {
    let mut random = rand::rng();
    for _ in 0..200 {
        let port = random.random_range(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}
