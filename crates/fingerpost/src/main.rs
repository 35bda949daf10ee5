//! Fingerpost: one server for build farms.

mod config;
mod exit;
mod log;
mod progress;

fn main() {}
