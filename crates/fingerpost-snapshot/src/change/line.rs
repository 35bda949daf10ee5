//! Lines of a stream of changes, each in its one spelling.

use serde::{Deserialize, Serialize};

use super::{Change, Since};
use crate::{Hash, hex};

/// A line as it is spelled: fields in this order, no white space.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    Mapping(MappingLine),
    Epoch(EpochLine),
    Since(SinceLine),
    End { end: u64 },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MappingLine {
    position: u64,
    method: String,
    #[serde(with = "hex")]
    taskhash: Hash,
    unihash: Option<HexHash>,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct HexHash(#[serde(with = "hex")] Hash);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EpochLine {
    position: u64,
    epoch: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SinceLine {
    format: Format,
    namespace: String,
    epoch: u64,
    position: u64,
}

#[derive(Serialize, Deserialize)]
enum Format {
    #[serde(rename = "fingerpost-changes-v1")]
    V1,
}

impl Line {
    /// Reads a line with its line feed, and nothing that would be written in another way.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let line: Self = serde_json::from_slice(bytes).ok()?;
        let mut written = Vec::with_capacity(bytes.len());
        line.write(&mut written);
        (written == bytes).then_some(line)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(&mut *out, self).expect("texts and numbers are JSON");
        out.push(b'\n');
    }

    pub(super) fn of_since(since: &Since) -> Self {
        Self::Since(SinceLine {
            format: Format::V1,
            namespace: since.namespace.clone(),
            epoch: since.epoch,
            position: since.position,
        })
    }

    pub(super) fn into_since(self) -> Option<Since> {
        let Self::Since(line) = self else {
            return None;
        };
        Some(Since {
            namespace: line.namespace,
            epoch: line.epoch,
            position: line.position,
        })
    }

    pub(super) fn of_change(change: &Change) -> Self {
        let mapping = |position: &u64, method: &String, taskhash: &Hash, unihash| {
            Self::Mapping(MappingLine {
                position: *position,
                method: method.clone(),
                taskhash: *taskhash,
                unihash,
            })
        };
        match change {
            Change::Adopted {
                position,
                method,
                taskhash,
                unihash,
            } => mapping(position, method, taskhash, Some(HexHash(*unihash))),
            Change::Deleted {
                position,
                method,
                taskhash,
            } => mapping(position, method, taskhash, None),
            Change::Epoch { position, epoch } => Self::Epoch(EpochLine {
                position: *position,
                epoch: *epoch,
            }),
        }
    }

    pub(super) fn into_change(self) -> Option<Change> {
        match self {
            Self::Mapping(line) => {
                let (position, method, taskhash) = (line.position, line.method, line.taskhash);
                Some(match line.unihash {
                    Some(HexHash(unihash)) => Change::Adopted {
                        position,
                        method,
                        taskhash,
                        unihash,
                    },
                    None => Change::Deleted {
                        position,
                        method,
                        taskhash,
                    },
                })
            }
            Self::Epoch(EpochLine { position, epoch }) => Some(Change::Epoch { position, epoch }),
            Self::Since(_) | Self::End { .. } => None,
        }
    }
}
