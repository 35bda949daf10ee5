//! Fuzz targets of the JSON door's inputs.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fingerpost_core::{Field, Registry};
use fingerpost_hashequiv::HashEquiv;
use serde::de::IgnoredAny;

use super::routes::{ROUTES, Route};
use super::{arguments, bounded};

/// Elements of an array that are taken.
const ITEMS_MAX: usize = 8;

/// What becomes an argument is an object of the command's fields with all that it
/// needs, whatever was asked; no more elements of an array are kept than may be. The
/// first line is a query, the rest a body.
pub(crate) fn fuzz_json_body(data: &[u8]) {
    static COMMANDS: LazyLock<Registry<HashEquiv>> = LazyLock::new(fingerpost_hashequiv::commands);
    let end = data.iter().position(|byte| *byte == b'\n');
    let (query, body) = data.split_at(end.unwrap_or(data.len()));
    let query = std::str::from_utf8(query).map_or(Ok(Vec::new()), arguments::parameters);
    for route in ROUTES {
        let Some((_, entry)) = COMMANDS.find(route.command, false) else {
            continue;
        };
        check(entry.fields, route, Vec::new(), Some(body));
        if let Ok(query) = &query {
            check(entry.fields, route, query.clone(), None);
        }
    }
    if let Ok(Some(items)) = bounded::items(body, ITEMS_MAX) {
        assert!(items.len() <= ITEMS_MAX, "{} elements", items.len());
    }
}

fn check(fields: &[Field], route: &Route, query: Vec<(String, String)>, body: Option<&[u8]>) {
    let in_path = route.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some((name.to_owned(), "\"x\\".to_owned()))
    });
    let path: Vec<_> = in_path.collect();
    let Ok(argument) = arguments::argument(fields, route, &path, query, body) else {
        return;
    };
    let given = serde_json::from_str::<BTreeMap<String, IgnoredAny>>(&argument);
    let given = given.unwrap_or_else(|error| panic!("{argument}: {error}"));
    for name in given.keys() {
        let is_known = fields.iter().any(|field| field.name == name)
            || path.iter().any(|(known, _)| known == name)
            || route
                .fixed
                .iter()
                .chain(route.defaults)
                .any(|(known, _)| known == name);
        assert!(is_known, "{}: {name} in {argument}", route.command);
    }
    for field in fields.iter().filter(|field| field.required) {
        assert!(
            given.contains_key(field.name),
            "{}: {argument}",
            route.command
        );
    }
}
