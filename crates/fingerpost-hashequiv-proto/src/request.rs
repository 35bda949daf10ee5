//! Which command a message asks for.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::wire::Misbehaved;

/// White space of JSON.
pub(crate) const JSON_BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// The command of a message, and its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected<'a> {
    /// What `known` said of the command's name.
    pub index: usize,
    /// JSON text of the argument.
    pub argument: &'a str,
}

/// Picks the command of a message: of the keys for which `known` has an index,
/// the one with the lowest; of equal keys the last. Unknown keys are ignored.
///
/// The whole text is checked to be one JSON value, but only the top level is
/// looked at; nothing is copied. Fails with [`Misbehaved::NotJson`],
/// [`Misbehaved::NotAnObject`] or [`Misbehaved::UnknownCommand`].
pub fn select<'a>(
    text: &'a str,
    known: &dyn Fn(&str) -> Option<usize>,
) -> Result<Selected<'a>, Misbehaved> {
    top_level(text, Pick { known })?.ok_or(Misbehaved::UnknownCommand)
}

/// Whether the text is an object with this key.
pub(crate) fn has_key(text: &str, wanted: &str) -> bool {
    select(text, &|key| (key == wanted).then_some(0)).is_ok()
}

fn top_level<'a>(text: &'a str, pick: Pick<'_>) -> Result<Option<Selected<'a>>, Misbehaved> {
    if !text
        .trim_start_matches([' ', '\t', '\n', '\r'])
        .starts_with('{')
    {
        return Err(match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Misbehaved::NotAnObject,
            Err(_) => Misbehaved::NotJson,
        });
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let selected = json
        .deserialize_map(pick)
        .map_err(|_| Misbehaved::NotJson)?;
    json.end().map_err(|_| Misbehaved::NotJson)?;
    Ok(selected)
}

/// Visits the keys of the top level.
struct Pick<'k> {
    known: &'k dyn Fn(&str) -> Option<usize>,
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Option<Selected<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut best: Option<Selected<'de>> = None;
        while let Some(index) = object.next_key_seed(Key { known: self.known })? {
            match index {
                Some(index) if best.is_none_or(|best| index <= best.index) => {
                    let argument = object.next_value::<&RawValue>()?.get();
                    best = Some(Selected { index, argument });
                }
                _ => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(best)
    }
}

/// Looks a key up without copying it.
struct Key<'k> {
    known: &'k dyn Fn(&str) -> Option<usize>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok((self.known)(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(text: &str) -> Result<(usize, &str), Misbehaved> {
        let known = |name: &str| {
            ["ping", "get", "get-stats"]
                .iter()
                .position(|&known| known == name)
        };
        select(text, &known).map(|selected| (selected.index, selected.argument))
    }

    #[test]
    fn the_order_of_the_commands_decides() {
        assert_eq!(pick("{\"get\": {\"a\": 1}, \"ping\": {}}"), Ok((0, "{}")));
        assert_eq!(
            pick("{\"get-stats\": null, \"get\": [ 1 ]}"),
            Ok((1, "[ 1 ]"))
        );
        assert_eq!(pick("{\"get\": 1, \"get-stats\": null}"), Ok((1, "1")));
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        assert_eq!(pick("{\"get\": 1, \"ping\": 2, \"get\": 3}"), Ok((0, "2")));
        assert_eq!(
            pick("{\"get\": 1, \"get\": {\"x\": null}}"),
            Ok((1, "{\"x\": null}"))
        );
        assert_eq!(pick("{\"get\": 1, \"\\u0067et\": 2}"), Ok((1, "2")));
    }

    #[test]
    fn unknown_keys_are_ignored() {
        assert_eq!(
            pick("{\"xyz\": [1, {}], \"ping\": \"x\", \"Ping\": 1}"),
            Ok((0, "\"x\""))
        );
        assert_eq!(
            pick("{\"frobnicate\": {}}"),
            Err(Misbehaved::UnknownCommand)
        );
        assert_eq!(pick("{}"), Err(Misbehaved::UnknownCommand));
        assert_eq!(
            pick("{\"chunk-stream\": null}"),
            Err(Misbehaved::UnknownCommand)
        );
    }

    #[test]
    fn any_spelling_of_an_object_will_do() {
        assert_eq!(pick(" \r\n\t{\n\"ping\"\t:\r{ } } \n"), Ok((0, "{ }")));
        assert_eq!(pick("{\"ping\":\"\\ud800\"}"), Ok((0, "\"\\ud800\"")));
        assert_eq!(pick("{\"ping\":1e999999}"), Ok((0, "1e999999")));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[\"ping\"]", "\"ping\"", "5", "true", " null"] {
            assert_eq!(pick(text), Err(Misbehaved::NotAnObject), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "{\"ping\": ",
            "{\"ping\": {}} x",
            "{\"ping\": {}}{}",
            "{\"ping\": {},}",
            "{ping: 1}",
            "{\"ping\": nul}",
            "{\"ping\": \"\n\"}",
            "{1: 2}",
            "nonsense",
            "\u{feff}{\"ping\": 1}",
            "\u{a0}{\"ping\": 1}",
            "{\"ping\": 01}",
        ] {
            assert_eq!(pick(text), Err(Misbehaved::NotJson), "{text:?}");
        }
    }

    #[test]
    fn depth_is_no_problem() {
        let deep = format!("{{\"ping\": {}{}}}", "[".repeat(30_000), "]".repeat(30_000));
        assert_eq!(pick(&deep).unwrap().0, 0);
        let deep = format!(
            "{{\"xyz\": {}{}}}",
            "{\"a\":".repeat(10_000),
            "1".to_owned() + &"}".repeat(10_000)
        );
        assert_eq!(pick(&deep), Err(Misbehaved::UnknownCommand));
    }
}
