//! The crate from the outside: properties, test vectors, and the second
//! implementation.

mod judging;
mod properties;
mod python;
mod vectors;
mod world;
