//! Reading arguments: a map of names and values, against the declared fields.
//!
//! Names are checked as the reference checks them, with its texts. Values are
//! checked too, which the reference leaves to chance.

use fingerpost_core::{BadArgument, Field, Shape};
use fingerpost_hg_proto::Args;
use fingerpost_hg_proto::Node;
use fingerpost_hg_proto::cbor::{Value, Writer};

use crate::revisions::Wanted;

/// The arguments of one command, whose names are all known.
pub(super) struct Arguments<'a> {
    args: &'a Args,
}

impl<'a> Arguments<'a> {
    /// Refuses names that no field has, then required fields that are missing.
    pub(super) fn of(args: &'a Args, fields: &[Field]) -> Result<Self, BadArgument> {
        let unknown: Vec<_> = args
            .iter()
            .filter(|(name, _)| !fields.iter().any(|field| field.name.as_bytes() == *name))
            .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
            .collect();
        if !unknown.is_empty() {
            let names = unknown.join(", ");
            return Err(BadArgument(format!(
                "unsupported argument to command: {names}"
            )));
        }
        let mut missing: Vec<_> = fields
            .iter()
            .filter(|field| field.required && args.get(field.name.as_bytes()).is_none())
            .map(|field| field.name)
            .collect();
        missing.sort_unstable();
        if !missing.is_empty() {
            let names = missing.join(", ");
            return Err(BadArgument(format!("missing required arguments: {names}")));
        }
        Ok(Self { args })
    }

    /// A value as it came.
    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.args.get(name.as_bytes())
    }

    /// Bytes; empty where it is left out.
    pub(super) fn bytes(&self, name: &str) -> Result<&'a [u8], BadArgument> {
        match self.value(name) {
            None => Ok(b""),
            Some(value) => value.as_bytes().ok_or_else(|| wrong(name, "bytes")),
        }
    }

    /// A truth value; false where it is left out.
    pub(super) fn bool(&self, name: &str) -> Result<bool, BadArgument> {
        match self.value(name) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| wrong(name, "true or false")),
        }
    }

    /// The members of a list or a set; none where it is left out.
    pub(super) fn members(&self, name: &str) -> Result<&'a [Value], BadArgument> {
        match self.value(name) {
            None => Ok(&[]),
            Some(value) => members(value).ok_or_else(|| wrong(name, "a list")),
        }
    }

    /// A list of nodes of 20 bytes each.
    pub(super) fn nodes(&self, name: &str) -> Result<Vec<Node>, BadArgument> {
        let nodes = nodes(self.members(name)?);
        nodes.ok_or_else(|| wrong(name, "a list of nodes of 20 bytes"))
    }

    /// Whether the set `name` has `word`. Words that nobody knows are ignored.
    pub(super) fn has(&self, name: &str, word: &str) -> Result<bool, BadArgument> {
        let mut words = self.members(name)?.iter();
        Ok(words.any(|value| value.as_bytes() == Some(word.as_bytes())))
    }
}

impl Arguments<'_> {
    /// What `fields` and `haveparents` want of each revision.
    pub(super) fn wanted(&self) -> Result<Wanted, BadArgument> {
        Ok(Wanted {
            parents: self.has("fields", "parents")?,
            linknode: self.has("fields", "linknode")?,
            revision: self.has("fields", "revision")?,
            have_parents: self.bool("haveparents")?,
        })
    }
}

/// Appends arguments as everybody would write them: in the order of their
/// declaration, a set as the words of it that are known, a list as an array, and
/// without what is as if it were left out.
pub(crate) fn encode_canonical(args: &Args, fields: &[Field], out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    for field in fields {
        let Some(value) = args.get(field.name.as_bytes()) else {
            continue;
        };
        let given = members(value);
        if is_default(value, given) {
            continue;
        }
        writer.bytes(field.name.as_bytes());
        match (field.shape, given) {
            (Shape::Set(words), Some(given)) => {
                let is_given = |word: &&&str| {
                    let word = word.as_bytes();
                    given.iter().any(|value| value.as_bytes() == Some(word))
                };
                let known = words.iter().filter(is_given);
                writer.array(known.clone().count());
                known.for_each(|word| writer.bytes(word.as_bytes()));
            }
            (Shape::List, Some(given)) => {
                writer.array(given.len());
                given.iter().for_each(|value| writer.value(value));
            }
            _ => writer.value(value),
        }
    }
}

/// Whether a value says no more than none at all.
fn is_default(value: &Value, members: Option<&[Value]>) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bytes(bytes) => bytes.is_empty(),
        _ => members.is_some_and(<[Value]>::is_empty),
    }
}

/// The members of an array or a set: clients may send either for a set.
pub(super) fn members(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Set(set) => Some(set.as_slice()),
        other => other.as_array(),
    }
}

/// All of `values` as nodes, or `None` when one is none.
pub(super) fn nodes(values: &[Value]) -> Option<Vec<Node>> {
    values
        .iter()
        .map(|value| value.as_bytes().and_then(Node::from_slice))
        .collect()
}

fn wrong(name: &str, wanted: &str) -> BadArgument {
    BadArgument(format!("argument {name} must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use fingerpost_core::Argument as _;

    use super::*;
    use crate::commands::manifestdata::ManifestdataArgs;

    fn words(words: &[&str]) -> Vec<Value> {
        words.iter().map(|word| Value::bytes(*word)).collect()
    }

    fn check(one: &[(&str, Value)], other: &[(&str, Value)], are_same: bool) {
        let [one, other] = [one, other].map(|args| {
            let args: Args = args.iter().cloned().collect();
            let mut out = Vec::new();
            encode_canonical(&args, ManifestdataArgs::FIELDS, &mut out);
            out
        });
        assert_eq!(one == other, are_same, "{one:?} {other:?}");
    }

    #[test]
    fn what_asks_for_the_same_is_written_in_one_way() {
        let set = |names: &[&str]| ("fields", Value::set(words(names)));
        let list = |names: &[&str]| ("fields", Value::Array(words(names)));
        let have = |truth| ("haveparents", Value::Bool(truth));
        check(
            &[set(&["parents", "revision"])],
            &[list(&["revision", "parents"])],
            true,
        );
        check(
            &[list(&["parents", "nobody knows"])],
            &[set(&["parents"])],
            true,
        );
        check(&[set(&[]), have(false)], &[], true);
        check(&[set(&["parents"])], &[set(&["revision"])], false);
        check(&[have(true)], &[have(false)], false);
        let nodes = |names: &[&str]| ("nodes", Value::Array(words(names)));
        check(&[nodes(&["a", "b"])], &[nodes(&["b", "a"])], false);
        check(
            &[nodes(&["a"])],
            &[("nodes", Value::set(words(&["a"])))],
            true,
        );
    }
}
