//! The manifest: what a snapshot is of, and which shards it has.

use fingerpost_signatures::UnixTime;
use serde::{Deserialize, Serialize};

use crate::shard::{SHARD_BYTES_MAX, SHARD_ROWS_MAX};
use crate::side::SIDE_BYTES_MAX;
use crate::{Digest, Hash, hex};

/// Bytes of a manifest at most.
pub const MANIFEST_BYTES_MAX: usize = 8 << 20;

/// Methods of a snapshot at most.
pub const METHODS_MAX: usize = 256;

/// Shards of a snapshot at most, of all methods together.
pub const SHARDS_MAX: usize = 16_384;

/// Bytes of the name of a namespace or method at most; at least there is one.
pub const NAME_BYTES_MAX: usize = 255;

/// No number in a manifest or change is larger: every JSON parser has it exactly.
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// What a snapshot is of, and which shards it has. Its bytes are JSON in one form, so that they
/// can be signed; [`parse`](Manifest::parse) checks all that is said of the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: Format,
    /// The namespace, 1 to [`NAME_BYTES_MAX`] bytes. Its own rows only, none of those it falls back to.
    pub namespace: String,
    /// The deletion epoch at which it was cut, at most [`NUMBER_MAX`].
    pub epoch: u64,
    /// The last position of the change sequence that is in it, at most [`NUMBER_MAX`].
    pub position: u64,
    /// When it was cut, as its maker says.
    #[serde(with = "seconds")]
    pub created: UnixTime,
    /// Rows of the namespace that are not in it, because a hash is not 64 lower-case hex digits
    /// or the method does not fit. With 0, a taskhash that is not in it is not known.
    pub left_out: u64,
    /// Its methods in the order of their bytes, at most [`METHODS_MAX`].
    pub methods: Vec<MethodShards>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "fingerpost-snapshot-v1")]
    V1,
}

/// The rows of one method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodShards {
    /// The method, 1 to [`NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Rows of all its shards.
    pub rows: u64,
    /// Its shards in the order of their first taskhashes; at least one.
    pub shards: Vec<ShardEntry>,
}

/// A shard: the rows from its first taskhash to before that of the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    /// Its name.
    pub sha256: Digest,
    /// Its length.
    pub bytes: u64,
    /// Its rows, 1 to [`SHARD_ROWS_MAX`].
    pub rows: u32,
    /// Its first taskhash.
    #[serde(with = "hex")]
    pub first: Hash,
    /// The signatures of its rows, if any has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signatures: Option<SideEntry>,
}

/// The side shard with the signatures of a shard's rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideEntry {
    /// Its name.
    pub sha256: Digest,
    /// Its length.
    pub bytes: u64,
    /// Rows that have a signature, at least 1.
    pub rows: u32,
}

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Longer than [`MANIFEST_BYTES_MAX`].
    #[error("longer than {MANIFEST_BYTES_MAX} bytes")]
    TooLong,
    /// Not JSON of this shape.
    #[error("not the JSON of a manifest")]
    Json(#[source] serde_json::Error),
    /// The same value has another spelling.
    #[error("not in canonical form")]
    NotCanonical,
    /// A field has a value that it cannot have.
    #[error("wrong value: {0}")]
    Value(&'static str),
}

impl Manifest {
    /// The manifest of a snapshot without methods.
    pub(crate) const fn new(
        namespace: String,
        epoch: u64,
        position: u64,
        created: UnixTime,
    ) -> Self {
        Self {
            format: Format::V1,
            namespace,
            epoch,
            position,
            created,
            left_out: 0,
            methods: Vec::new(),
        }
    }

    /// Reads a manifest that nobody vouches for; [`verify`](crate::verify()) reads a signed one.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLong);
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        manifest.check()?;
        if manifest.to_bytes() != bytes {
            return Err(ManifestError::NotCanonical);
        }
        Ok(manifest)
    }

    /// Its one spelling: JSON without white space, fields in the order of the declaration, and a
    /// line feed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("texts and numbers are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// Rows of all methods.
    pub fn rows(&self) -> u64 {
        self.methods.iter().map(|method| method.rows).sum()
    }

    /// Its shards with the numbers of their methods.
    pub fn shards(&self) -> impl Iterator<Item = (usize, &ShardEntry)> {
        let methods = self.methods.iter().enumerate();
        methods.flat_map(|(number, method)| method.shards.iter().map(move |shard| (number, shard)))
    }

    /// The number of a method.
    pub(crate) fn method(&self, name: &str) -> Option<usize> {
        self.methods
            .binary_search_by(|method| method.name.as_str().cmp(name))
            .ok()
    }

    /// Whether the values are those of a snapshot.
    pub(crate) fn check(&self) -> Result<(), ManifestError> {
        let numbers = [self.epoch, self.position, self.left_out];
        ensure(is_name(&self.namespace), "namespace")?;
        ensure(numbers.iter().all(|n| *n <= NUMBER_MAX), "a number")?;
        ensure(self.methods.len() <= METHODS_MAX, "too many methods")?;
        ensure(self.shards().count() <= SHARDS_MAX, "too many shards")?;
        let ascending = self.methods.is_sorted_by(|a, b| a.name < b.name);
        ensure(ascending, "the order of methods")?;
        self.methods.iter().try_for_each(MethodShards::check)
    }
}

impl MethodShards {
    /// The shard in whose range the taskhash is.
    pub(crate) fn shard_of(&self, taskhash: &Hash) -> Option<usize> {
        let after = self
            .shards
            .partition_point(|shard| shard.first <= *taskhash);
        after.checked_sub(1)
    }

    fn check(&self) -> Result<(), ManifestError> {
        ensure(is_name(&self.name), "the name of a method")?;
        ensure(!self.shards.is_empty(), "a method without shards")?;
        let ascending = self.shards.is_sorted_by(|a, b| a.first < b.first);
        ensure(ascending, "the order of shards")?;
        // Neither overflows: rows and number of shards are bounded.
        let rows = self.shards.iter().map(|shard| u64::from(shard.rows));
        ensure(rows.sum::<u64>() == self.rows, "the rows of a method")?;
        self.shards.iter().try_for_each(ShardEntry::check)
    }
}

impl ShardEntry {
    fn check(&self) -> Result<(), ManifestError> {
        let rows = 1..=SHARD_ROWS_MAX;
        ensure(rows.contains(&self.rows), "the rows of a shard")?;
        ensure(self.bytes <= SHARD_BYTES_MAX, "the length of a shard")?;
        let Some(side) = &self.signatures else {
            return Ok(());
        };
        ensure((1..=self.rows).contains(&side.rows), "signed rows")?;
        ensure(side.bytes <= SIDE_BYTES_MAX, "the length of signatures")
    }
}

/// Whether a text can be the name of a namespace or method.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
}

fn ensure(holds: bool, what: &'static str) -> Result<(), ManifestError> {
    holds.then_some(()).ok_or(ManifestError::Value(what))
}

/// Seconds since 1970 as a number.
mod seconds {
    use fingerpost_signatures::UnixTime;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &UnixTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(time.seconds())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<UnixTime, D::Error> {
        let seconds = u64::deserialize(deserializer)?;
        UnixTime::new(seconds).ok_or_else(|| D::Error::custom("after the year 9999"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let created = UnixTime::new(1_795_000_000).unwrap();
        let mut manifest = Manifest::new("main".to_owned(), 1, 2, created);
        let shard = |first: u8, signatures| ShardEntry {
            sha256: Digest::of(&[first]),
            bytes: 100,
            rows: 2,
            first: [first; 32],
            signatures,
        };
        let side = SideEntry {
            sha256: Digest::of(b"side"),
            bytes: 50,
            rows: 1,
        };
        manifest.methods = vec![MethodShards {
            name: "m".to_owned(),
            rows: 4,
            shards: vec![shard(0, None), shard(7, Some(side))],
        }];
        manifest
    }

    #[test]
    fn a_manifest_is_read_as_it_is_written() {
        let manifest = manifest();
        assert_eq!(Manifest::parse(&manifest.to_bytes()).unwrap(), manifest);
    }

    #[test]
    fn a_taskhash_is_in_the_shard_that_begins_before_it() {
        let method = &manifest().methods[0];
        assert_eq!(method.shard_of(&[0; 32]), Some(0));
        assert_eq!(method.shard_of(&[6; 32]), Some(0));
        assert_eq!(method.shard_of(&[7; 32]), Some(1));
        assert_eq!(method.shard_of(&[255; 32]), Some(1));
    }

    #[test]
    fn impossible_values_are_refused() {
        let check = |change: fn(&mut Manifest)| {
            let mut manifest = manifest();
            change(&mut manifest);
            let parsed = Manifest::parse(&manifest.to_bytes());
            assert!(matches!(parsed, Err(ManifestError::Value(_))), "{parsed:?}");
        };
        check(|m| m.namespace.clear());
        check(|m| m.namespace = "n".repeat(NAME_BYTES_MAX + 1));
        check(|m| m.epoch = NUMBER_MAX + 1);
        check(|m| m.position = u64::MAX);
        check(|m| m.methods[0].name.clear());
        check(|m| m.methods[0].rows = 3);
        check(|m| m.methods[0].shards.clear());
        check(|m| m.methods[0].shards.swap(0, 1));
        check(|m| m.methods[0].shards[1].first = [0; 32]);
        check(|m| m.methods[0].shards[0].rows = 0);
        check(|m| m.methods[0].shards[0].rows = SHARD_ROWS_MAX + 1);
        check(|m| m.methods[0].shards[0].bytes = u64::MAX);
        check(|m| m.methods.push(m.methods[0].clone()));
        check(|m| m.methods = vec![m.methods[0].clone(); METHODS_MAX + 1]);
        check(|m| m.methods[0].shards[1].signatures.as_mut().unwrap().rows = 3);
        check(|m| m.methods[0].shards[1].signatures.as_mut().unwrap().bytes = 1 << 40);
    }

    #[test]
    fn a_second_spelling_is_refused() {
        let text = String::from_utf8(manifest().to_bytes()).unwrap();
        let check = |wrong: String| {
            assert_ne!(wrong, text);
            assert!(Manifest::parse(wrong.as_bytes()).is_err(), "{wrong}");
        };
        check(text.trim_end().to_owned());
        check(format!("{text}\n"));
        check(text.replace("\"epoch\":1", "\"epoch\": 1"));
        check(text.replace("\"epoch\":1,\"position\":2", "\"position\":2,\"epoch\":1"));
        check(text.replace("\"epoch\":1", "\"epoch\":1,\"epoch\":1"));
        check(text.replace("\"epoch\":1", "\"epoch\":1.0"));
        check(text.replace("\"epoch\":1", "\"epoch\":1,\"more\":1"));
        check(text.replace("main", "\\u006dain"));
        check(text.replace("-v1", "-v2"));
        check(text.replacen(
            "\"first\":\"0707",
            "\"signatures\":null,\"first\":\"0707",
            1,
        ));
    }
}
