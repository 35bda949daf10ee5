//! What tests of several modules build their cases from.

pub(crate) mod graph;
pub(crate) mod served;
pub(crate) mod world;
