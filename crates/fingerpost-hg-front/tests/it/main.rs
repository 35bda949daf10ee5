//! The door in memory: requests in, answers out, over repositories in
//! temporary directories.

mod audited;
mod client;
mod damage;
mod elsewhere;
mod following;
mod hostile;
mod index;
mod look_ups;
mod places;
mod redirected;
mod remembered;
mod replay;
mod shelf;
mod warmed;
mod world;
mod written;
