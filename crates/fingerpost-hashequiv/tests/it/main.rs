//! The service over a temporary SQLite file, and over a PostgreSQL: what is said here
//! holds for every store, unless it is about files.

mod changes;
mod collect;
mod copying;
mod dump;
mod equivalence;
mod explained;
mod listing;
mod model;
mod namespaces;
mod order;
mod outages;
mod paging;
mod place;
mod restarts;
mod retention;
mod signed;
mod upstream;
mod world;
