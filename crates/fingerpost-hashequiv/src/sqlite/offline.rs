//! A database file that is read without a service.

use std::path::Path;

use fingerpost_db::{OpenError, Settings};
use rusqlite::Connection;

use super::{MIGRATIONS, changes, namespace_number};
use crate::changes::{Cut, MappingPage};
use crate::namespace::NamespaceId;
use crate::store::StoreError;

/// A namespace of a file, which is read only: a server may use it meanwhile.
pub struct NamespaceFile {
    conn: Connection,
    at: NamespaceId,
}

/// A file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It has no such namespace.
    #[error("there is no namespace '{0}' in it")]
    NoNamespace(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NamespaceFile {
    /// Opens the namespace of this name.
    pub fn open(path: &Path, namespace: &str) -> Result<Self, FileError> {
        let conn = fingerpost_db::connect_read_only(&Settings::new(path), MIGRATIONS)?;
        let at = namespace_number(&conn, namespace).map_err(StoreError::database)?;
        let at = at.ok_or_else(|| FileError::NoNamespace(namespace.to_owned()))?;
        Ok(Self { conn, at })
    }

    /// As [`HashEquiv::cut`](crate::HashEquiv::cut).
    pub fn cut(&self) -> Result<Cut, FileError> {
        let cut = changes::cut(&self.conn, self.at);
        Ok(cut.map_err(StoreError::database)?)
    }

    /// As [`HashEquiv::mappings`](crate::HashEquiv::mappings).
    pub fn mappings(&self, after: i64, limit: usize) -> Result<MappingPage, FileError> {
        let page = changes::mappings(&self.conn, self.at, after, limit);
        Ok(page.map_err(StoreError::database)?)
    }
}
