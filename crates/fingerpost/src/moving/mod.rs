//! `fingerpost import`, `export` and `shadow`: from `bitbake-hashserv`, and back.

mod export;
mod follow;
mod import;
mod shadow;
mod source;
mod stages;

pub(crate) use export::{ExportArgs, export};
pub(crate) use import::{ImportArgs, exit_of_opening, import, import_database, imported_path};
pub(crate) use shadow::{ShadowArgs, shadow};
