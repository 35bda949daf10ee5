//! Containers that are being filled.

use super::limits::DecodeError;
use super::value::{Map, Value};

/// A container whose items are still coming. There is at least one to come.
#[derive(Debug)]
pub(super) enum Container {
    Array {
        items: Vec<Value>,
        left: usize,
    },
    Set {
        members: Vec<Value>,
        left: usize,
    },
    Map {
        pairs: Vec<(Value, Value)>,
        key: Option<Value>,
        left: usize,
    },
}

/// What a container begins with room for, whatever its head claims.
const ROOM_ITEMS: usize = 64;

impl Container {
    pub(super) fn array(left: usize) -> Self {
        let items = Vec::with_capacity(left.min(ROOM_ITEMS));
        Self::Array { items, left }
    }

    pub(super) fn set(left: usize) -> Self {
        let members = Vec::with_capacity(left.min(ROOM_ITEMS));
        Self::Set { members, left }
    }

    pub(super) fn map(left: usize) -> Self {
        Self::Map {
            pairs: Vec::with_capacity(left.min(ROOM_ITEMS)),
            key: None,
            left,
        }
    }

    /// Whether the next item may be a container.
    pub(super) fn check_container(&self) -> Result<(), DecodeError> {
        match self {
            Self::Set { .. } => Err(DecodeError::ContainerInSet),
            Self::Map { key: None, .. } => Err(DecodeError::ContainerAsKey),
            Self::Map { .. } | Self::Array { .. } => Ok(()),
        }
    }

    /// Adds an item. True: that was the last one.
    pub(super) fn add(&mut self, value: Value) -> bool {
        let left = match self {
            Self::Array { items, left } => {
                items.push(value);
                left
            }
            Self::Set { members, left } => {
                members.push(value);
                left
            }
            Self::Map { pairs, key, left } => match key.take() {
                None => {
                    *key = Some(value);
                    return false;
                }
                Some(key) => {
                    pairs.push((key, value));
                    left
                }
            },
        };
        *left = left.saturating_sub(1);
        *left == 0
    }

    /// The value that is now complete.
    pub(super) fn close(self) -> Result<Value, DecodeError> {
        match self {
            Self::Array { items, .. } => Ok(Value::Array(items)),
            Self::Set { members, .. } => Ok(Value::set(members)),
            Self::Map { pairs, .. } => Map::from_unique(pairs)
                .map(Value::Map)
                .ok_or(DecodeError::DuplicateKey),
        }
    }
}
