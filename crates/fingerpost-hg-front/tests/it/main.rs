//! The door in memory: requests in, answers out, over repositories in
//! temporary directories.

mod index;
mod replay;
mod world;
