//! Following a server in memory that has real snapshots.

mod answering;
mod fetching;
mod histories;
mod late_answers;
mod restarting;
mod server;
mod world;
