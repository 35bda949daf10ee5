//! The service over a temporary SQLite file. The same suite is meant for every
//! store: nothing here names SQLite but the world that it runs in.

mod changes;
mod collect;
mod dump;
mod equivalence;
mod listing;
mod model;
mod namespaces;
mod order;
mod paging;
mod restarts;
mod retention;
mod signed;
mod upstream;
mod world;
