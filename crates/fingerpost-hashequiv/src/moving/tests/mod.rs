//! Databases of every schema version are made by our own SQL, imported,
//! compared, and exported again.

mod export;
mod fixture;
mod following;
mod following_postgres;
mod fresh;
mod generations;
mod merge;
mod namespaces;
mod oddities;
mod opening;
mod postgres;
mod resume;
