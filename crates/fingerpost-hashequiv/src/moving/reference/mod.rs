//! Databases of the reference server, as they are met in the field.

mod generation;
mod open;
mod outputs;
mod rows;

pub use generation::Generation;
pub(super) use generation::{CURRENT_SCHEMA, Tables};
pub(super) use open::Reference;
pub use open::generation_of;
pub(super) use outputs::{
    COLUMNS as OUTPUT_COLUMNS, count_outputs, read_outputs, read_outputs_by_created,
};
pub(super) use rows::{Listing, MappingBatch, MappingRow, OutputBatch, OutputRow, read_mappings};
