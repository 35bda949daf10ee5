//! Decoded values, in their canonical order.

use std::cmp::Ordering;

/// One value of the subset.
///
/// The order is the canonical one of map keys and set members: first by type
/// name (null, bool, bytes, map, int, array, set), then by value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An integer. CBOR holds those from -2^64 to 2^64 - 1; the decoder yields
    /// no other, the writer takes the nearest of them for any other.
    Int(i128),
    /// A byte string: every name, path, node and text of the protocol.
    Bytes(Vec<u8>),
    /// An array, in its own order.
    Array(Vec<Self>),
    /// A map, in canonical order.
    Map(Map),
    /// A set, in canonical order.
    Set(Set),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

impl Value {
    /// The byte string of these bytes.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// The values inside this one: itself, keys and members included.
    pub fn items(&self) -> usize {
        1 + match self {
            Self::Array(members) => members.iter().map(Self::items).sum(),
            Self::Set(set) => set.len(),
            Self::Map(map) => map
                .iter()
                .map(|(key, value)| key.items() + value.items())
                .sum(),
            _ => 0,
        }
    }

    /// The map of these pairs; of pairs with equal keys the last one counts.
    pub fn map(pairs: impl IntoIterator<Item = (Self, Self)>) -> Self {
        Self::Map(pairs.into_iter().collect())
    }

    /// The map whose keys are these byte strings.
    pub fn record<'a>(pairs: impl IntoIterator<Item = (&'a [u8], Self)>) -> Self {
        Self::map(pairs.into_iter().map(|(key, value)| (key.into(), value)))
    }

    /// The set of these members.
    pub fn set(members: impl IntoIterator<Item = Self>) -> Self {
        Self::Set(members.into_iter().collect())
    }

    /// The byte string, if this is one.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The items, if this is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The map, if this is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The set, if this is one.
    pub fn as_set(&self) -> Option<&Set> {
        match self {
            Self::Set(set) => Some(set),
            _ => None,
        }
    }

    /// The truth, if this is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The number, if this is an integer from 0 to 2^64 - 1.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The number, if this is an integer of 64 bits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(number) => i64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The value under a byte string, if this is a map that has it.
    pub fn get(&self, key: &[u8]) -> Option<&Self> {
        self.as_map()?.get(key)
    }

    /// What the type is called in messages: `bytes`, `array`, `map`...
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Bytes(_) => "bytes",
            Self::Map(_) => "map",
            Self::Int(_) => "int",
            Self::Array(_) => "array",
            Self::Set(_) => "set",
        }
    }

    /// The place of the type among the types, by the names that Python gives
    /// them: `NoneType`, `bool`, `bytes`, `dict`, `int`, `list`, `set`.
    const fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Bytes(_) => BYTES_RANK,
            Self::Map(_) => 3,
            Self::Int(_) => 4,
            Self::Array(_) => 5,
            Self::Set(_) => 6,
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bytes(one), Self::Bytes(other)) => one.cmp(other),
            (Self::Int(one), Self::Int(other)) => one.cmp(other),
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            (Self::Array(one), Self::Array(other)) => one.cmp(other),
            (Self::Map(one), Self::Map(other)) => one.0.cmp(&other.0),
            (Self::Set(one), Self::Set(other)) => one.0.cmp(&other.0),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(number.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number.into())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<Self>> for Value {
    fn from(items: Vec<Self>) -> Self {
        Self::Array(items)
    }
}

/// A map: pairs in canonical order of their keys, no key twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map(Vec<(Value, Value)>);

impl Map {
    /// Sorts pairs into a map; `None` if a key is there twice.
    pub(super) fn from_unique(mut pairs: Vec<(Value, Value)>) -> Option<Self> {
        // What comes in canonical order, as it does from most peers, is sorted
        // in one pass.
        pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        let unique = pairs.windows(2).all(|pair| pair[0].0 != pair[1].0);
        unique.then_some(Self(pairs))
    }

    /// The value under a byte string.
    pub fn get(&self, key: &[u8]) -> Option<&Value> {
        let found = self.0.binary_search_by(|(own, _)| match own {
            Value::Bytes(own) => own.as_slice().cmp(key),
            _ => own.rank().cmp(&BYTES_RANK),
        });
        found
            .ok()
            .and_then(|index| self.0.get(index))
            .map(|(_, value)| value)
    }

    /// The pairs in canonical order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Value, &Value)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The pairs in canonical order, with every key taken for a byte string;
    /// `None` stands for a key that is something else.
    pub fn records(&self) -> impl ExactSizeIterator<Item = (Option<&[u8]>, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_bytes(), value))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The place of byte strings among the types.
const BYTES_RANK: u8 = 2;

impl FromIterator<(Value, Value)> for Map {
    fn from_iter<T: IntoIterator<Item = (Value, Value)>>(pairs: T) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        // Stable: of equal keys the last one given is the last one here.
        pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        pairs.dedup_by(|later, kept| {
            let equal = later.0 == kept.0;
            if equal {
                std::mem::swap(later, kept);
            }
            equal
        });
        Self(pairs)
    }
}

impl IntoIterator for Map {
    type Item = (Value, Value);
    type IntoIter = std::vec::IntoIter<(Value, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A set: members in canonical order, none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set(Vec<Value>);

impl Set {
    /// The members in canonical order.
    pub fn iter(&self) -> std::slice::Iter<'_, Value> {
        self.0.iter()
    }

    /// The members in canonical order.
    pub fn as_slice(&self) -> &[Value] {
        &self.0
    }

    /// Whether the byte string is a member.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.0.iter().any(|own| own.as_bytes() == Some(member))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Value> for Set {
    fn from_iter<T: IntoIterator<Item = Value>>(members: T) -> Self {
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort();
        members.dedup();
        Self(members)
    }
}

impl IntoIterator for Set {
    type Item = Value;
    type IntoIter = std::vec::IntoIter<Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Set {
    type Item = &'a Value;
    type IntoIter = std::slice::Iter<'a, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_ordered_by_their_names() {
        let sorted = [
            Value::Null,
            Value::Bool(true),
            Value::bytes(""),
            Value::map([]),
            Value::Int(-5),
            Value::Array(Vec::new()),
            Value::set([]),
        ];
        assert!(sorted.is_sorted());
    }

    #[test]
    fn byte_strings_are_ordered_bytewise_whatever_their_length() {
        assert!(Value::bytes("aa") < Value::bytes("b"));
        assert!(Value::bytes("a") < Value::bytes("aa"));
    }

    #[test]
    fn of_equal_keys_the_last_one_counts() {
        let map = Value::record([(&b"k"[..], 1_u64.into()), (b"a", 3_u64.into())]);
        assert_eq!(map.get(b"k").and_then(Value::as_u64), Some(1));
        let pairs = [1_u64, 2, 3].map(|number| (Value::from(b"k"), number.into()));
        let map = Value::map(pairs);
        assert_eq!(map.as_map().map(Map::len), Some(1));
        assert_eq!(map.get(b"k").and_then(Value::as_u64), Some(3));
    }

    #[test]
    fn keys_of_other_types_do_not_hide_byte_strings() {
        let map = Value::map([
            (Value::Int(1), Value::Null),
            (Value::Null, Value::Null),
            (b"k".into(), Value::Bool(true)),
        ]);
        assert_eq!(map.get(b"k"), Some(&Value::Bool(true)));
        assert_eq!(map.get(b"other"), None);
    }

    #[test]
    fn sets_hold_a_member_once() {
        let set: Set = [b"b", b"a", b"b"].map(Value::from).into_iter().collect();
        assert_eq!(set.as_slice(), [Value::from(b"a"), Value::from(b"b")]);
        assert!(set.contains(b"b") && !set.contains(b"c"));
    }
}
