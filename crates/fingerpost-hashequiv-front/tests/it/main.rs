//! The door and the client against each other, and against peers that misbehave.

mod audited;
mod commands;
mod guards;
mod json;
mod limits;
mod logins;
mod namespaces;
mod sessions;
mod streams;
mod transports;
mod upstream;
mod world;
