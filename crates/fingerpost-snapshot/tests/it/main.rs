//! The crate from the outside: round trips, damage, signatures, test vectors, and the second
//! implementation.

mod damage;
mod publishing;
mod python;
mod round_trip;
mod vectors;
mod world;
