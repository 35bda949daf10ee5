//! The real program, tested from the outside; and the service on a drive that
//! fails, which no process can be given from the outside.
//!
//! One binary for all of it: each further one is another link of everything.

mod bad_targets;
mod cache;
mod client;
mod clones;
mod cloning;
mod compressed;
mod damage;
mod durability;
mod eviction;
mod flipped;
mod flooding;
mod following;
mod full_disk;
mod fuzz;
mod hostile;
mod imported;
mod in_process;
mod keys;
mod logins;
mod logs;
mod lying;
mod moving;
mod moving_postgres;
mod private;
mod private_issuer;
mod program;
mod questions;
mod redirect_nginx;
mod redirect_targets;
mod redirects;
mod remembering;
mod restarting;
mod retention;
mod serving_snapshots;
mod shadow;
mod sharing;
mod signed;
mod small_disk;
mod snapshots;
mod spoiling;
mod stopping;
mod store_faults;
mod store_limits;
mod sweeping;
mod tls;
mod top;
mod traces;
mod transcripts;
mod upstream;
mod warming;
mod world;
