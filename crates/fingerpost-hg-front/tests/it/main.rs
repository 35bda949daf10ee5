//! The door in memory: requests in, answers out, over repositories in
//! temporary directories.

mod replay;
mod world;
