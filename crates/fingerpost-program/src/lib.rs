//! What a program of ours has, whatever it does: exit codes, log lines, the signals that
//! stop it, what systemd passes and wants to hear, standard output, secrets from files.
//!
//! Programs are `fingerpost` and `fingerpost-agent`. This crate knows no product and no
//! configuration: what was chosen is an argument.

pub mod exit;
pub mod log;
pub mod out;
pub mod secret;
pub mod signals;
pub mod sockets;
pub mod systemd;
