//! A configuration file of hgweb: which repositories it names.

use std::path::PathBuf;

use super::BadSite;
use super::collection::Collection;
use super::layers::{Item, Layers};
use super::name::normalized;
use super::values::list;

/// What `[paths]` and `[collections]` name.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Names with their directories and the line that says so.
    pub(super) named: Vec<(String, PathBuf, String)>,
    /// Directories whose repositories appear below a prefix.
    pub(super) collections: Vec<Collection>,
}

/// Takes the places out of the layers that the file was read into.
///
/// # Errors
///
/// What is wrong, with file and line.
pub(super) fn take_places(layers: &mut Layers) -> Result<Places, BadSite> {
    let mut places = Places::default();
    for (name, item) in layers.take_section("paths") {
        let name = text(&name, &item)?;
        let prefix = normalized(name).map_err(|why| bad(&item, name, why))?;
        let paths = list(&item.value)
            .ok_or_else(|| bad(&item, name, "has quotation that this server does not read"))?;
        for path in paths {
            path_of(&mut places, &prefix, &path).map_err(|why| bad(&item, name, why))?;
            if let Some(named) = places.named.last_mut().filter(|named| named.2.is_empty()) {
                named.2 = item.place.to_string();
            }
        }
    }
    for (strip, item) in layers.take_section("collections") {
        let strip = text(&strip, &item)?;
        let directory = text(&item.value, &item)?;
        let prefix = collection_prefix(strip, directory).map_err(|why| bad(&item, strip, why))?;
        places.collections.push(Collection {
            prefix,
            directory: PathBuf::from(directory),
            nested: false,
        });
    }
    Ok(places)
}

/// One path of `[paths]`: a repository, or `DIR/*`, or `DIR/**`.
fn path_of(places: &mut Places, prefix: &str, path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("is not an absolute path");
    }
    let (directory, nested) = match path.rsplit_once('/') {
        Some((directory, "*")) => (directory, false),
        Some((directory, "**")) => (directory, true),
        _ => {
            let path = PathBuf::from(path);
            places.named.push((prefix.to_owned(), path, String::new()));
            return Ok(());
        }
    };
    places.collections.push(Collection {
        prefix: prefix.to_owned(),
        directory: PathBuf::from(if directory.is_empty() { "/" } else { directory }),
        nested,
    });
    Ok(())
}

/// The URL prefix of `strip = directory`: what is left of the directory when
/// `strip` is taken off its beginning, or the whole of it.
fn collection_prefix(strip: &str, directory: &str) -> Result<String, &'static str> {
    let directory = directory.trim_end_matches('/');
    let strip = strip.trim_end_matches('/');
    if !directory.starts_with('/') {
        return Err("is not an absolute path");
    }
    if strip.len() > directory.len() && strip.starts_with(directory) {
        return Err("takes off more than its directory, which this server does not do");
    }
    normalized(directory.strip_prefix(strip).unwrap_or(directory))
}

fn text<'a>(bytes: &'a [u8], item: &Item) -> Result<&'a str, BadSite> {
    std::str::from_utf8(bytes).map_err(|_| BadSite::new(format!("{}: no UTF-8", item.place)))
}

fn bad(item: &Item, name: &str, why: &str) -> BadSite {
    BadSite::new(format!("{}: {name} {why}", item.place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_takes_its_key_off_the_directory() {
        let prefix = |strip, directory| collection_prefix(strip, directory);
        assert_eq!(prefix("/srv/hg", "/srv/hg"), Ok(String::new()));
        assert_eq!(prefix("/srv/hg/", "/srv/hg/"), Ok(String::new()));
        assert_eq!(prefix("/srv", "/srv/hg"), Ok("hg".to_owned()));
        assert_eq!(prefix("/srv/h", "/srv/hg"), Ok("g".to_owned()));
        assert_eq!(prefix("/other", "/srv/hg"), Ok("srv/hg".to_owned()));
        assert_eq!(prefix("team", "/srv/hg"), Ok("srv/hg".to_owned()));
        assert!(prefix("/srv/hg/team", "/srv/hg").is_err());
        assert!(prefix("x", "srv/hg").is_err());
    }

    #[test]
    fn stars_make_collections() {
        let mut places = Places::default();
        for path in ["/srv/a/*", "/srv/b/**", "/srv/c", "/*"] {
            path_of(&mut places, "p", path).unwrap();
        }
        let collections = places.collections.iter();
        let shown: Vec<_> = collections
            .map(|one| (one.directory.to_str().unwrap(), one.nested))
            .collect();
        assert_eq!(shown, [("/srv/a", false), ("/srv/b", true), ("/", false)]);
        assert_eq!(places.named.len(), 1);
        assert!(path_of(&mut places, "p", "srv/*").is_err());
    }
}
