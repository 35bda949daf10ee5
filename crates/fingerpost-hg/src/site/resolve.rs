//! From configuration files to the settings of a repository.
//!
//! | key | which files count |
//! | --- | --- |
//! | `web.allow_read`, `deny_read`, `allow-push`, `deny_push` | what every reading permits |
//! | `web.allow-pull`, `web.push_ssl`, `web.hidden`, `server.uncompressed` | the narrower value of all readings |
//! | `server.view` | likewise; wider than `served` is refused |
//! | `phases.publish`, `web.name`, `description`, `contact` | the last one of all, trusted or not |
//! | `server.uncompressedallowsecret` | none: what is secret stays here |
//! | `hooks.preoutgoing*`, `[narrowacl]` | any: rules about reading that only `hg` can carry out |
//!
//! `phases.publish` is neither wider nor narrower. It decides whether drafts
//! are announced as drafts or as public, to people who may read them anyway;
//! the owner of a repository decides that, and Mercurial too takes it from
//! files that it does not trust.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::access::{Names, WebRules};
use super::layers::{Item, Layers, Reading};
use super::values::{list, truth};
use super::{AccessRules, Note, OwnRules, RepositorySettings, ServerView};

/// Why the settings cannot be evaluated, in one sentence that names file and
/// line.
pub(super) type Unevaluable = String;

/// Reads the settings out of `layers`.
///
/// # Errors
///
/// A sentence about the first rule that this server cannot carry out.
pub(super) fn resolve(
    layers: &Layers,
    own: Vec<Arc<OwnRules>>,
) -> Result<RepositorySettings, Unevaluable> {
    refuse_foreign_rules(layers)?;
    let readings = layers.readings();
    let mut notes = Vec::new();
    let mut web = Vec::new();
    let mut view = ServerView::Served;
    let mut hidden = false;
    let mut raw_store_files = true;
    for (index, reading) in readings.iter().enumerate() {
        web.push(web_rules(reading, &mut notes)?);
        view = view.max(view_of(reading, index == 0, &mut notes)?);
        hidden |= flag(reading, "web", &["hidden"], false)?;
        raw_store_files &= flag(reading, "server", &["uncompressed"], true)?;
    }
    for untrusted in readings.iter().skip(1) {
        note_what_was_ignored(&readings[0], untrusted, &mut notes);
    }
    if let Some(item) = on(&readings, "server", "uncompressedallowsecret")? {
        notes.push(note(
            &item,
            "is never honoured: what is secret is not served",
            "server.uncompressedallowsecret",
        ));
    }
    let mut told = BTreeSet::new();
    notes.retain(|note| told.insert((note.place.clone(), note.sentence.clone())));
    let text = |name| Some(text_of(&layers.last_of_all("web", name)?));
    Ok(RepositorySettings {
        publishing: match layers.last_of_all("phases", "publish") {
            Some(item) => truth_of(&item, "phases.publish")?,
            None => true,
        },
        hidden,
        view,
        raw_store_files,
        access: AccessRules::new(web, own),
        name: text("name"),
        description: text("description"),
        contact: text("contact"),
        notes,
    })
}

/// Refuses what restricts reading by means that only Mercurial has.
fn refuse_foreign_rules(layers: &Layers) -> Result<(), Unevaluable> {
    for (section, prefix, what) in FOREIGN {
        for name in layers.names(section) {
            let name = String::from_utf8_lossy(name);
            let is_it = name == prefix || name.starts_with(&format!("{prefix}."));
            if !(prefix.is_empty() || is_it) {
                continue;
            }
            let readings = layers.readings();
            let mut items = readings
                .iter()
                .filter_map(|reading| reading.find(section, &[&name]));
            if let Some(item) = items.find(|item| !item.value.is_empty()) {
                return Err(format!("{}: {section}.{name} {what}", item.place));
            }
        }
    }
    Ok(())
}

fn web_rules(reading: &Reading<'_>, notes: &mut Vec<Note>) -> Result<WebRules, Unevaluable> {
    let mut rules = WebRules {
        deny_read: read_list(reading, "deny_read", notes)?,
        allow_read: read_list(reading, "allow_read", notes)?,
        allow_pull: flag(reading, "web", &["allow-pull", "allowpull"], true)?,
        push_tls: flag(reading, "web", &["push_ssl"], true)?,
        ..WebRules::default()
    };
    match push_list(reading, &["deny_push"], notes) {
        Ok(names) => rules.deny_push = names.unwrap_or_default(),
        Err(note) => {
            rules.push_unknown = true;
            notes.push(note);
        }
    }
    match push_list(reading, &["allow-push", "allow_push"], notes) {
        Ok(names) => rules.allow_push = names,
        Err(note) => {
            rules.push_unknown = true;
            notes.push(note);
        }
    }
    Ok(rules)
}

/// A list of who may read; one that cannot be evaluated refuses the
/// repository.
fn read_list(
    reading: &Reading<'_>,
    name: &str,
    notes: &mut Vec<Note>,
) -> Result<Names, Unevaluable> {
    let Some(item) = reading.find("web", &[name]) else {
        return Ok(Names::default());
    };
    let names = names_of(&item).map_err(|why| format!("{}: web.{name} {why}", item.place))?;
    note_stray_star(&names, &item, name, notes);
    Ok(names)
}

/// A list of who may push; one that cannot be evaluated leaves reading alone.
fn push_list(
    reading: &Reading<'_>,
    spellings: &[&str],
    notes: &mut Vec<Note>,
) -> Result<Option<Names>, Note> {
    let Some(item) = reading.find("web", spellings) else {
        return Ok(None);
    };
    let key = spellings.first().copied().unwrap_or_default();
    let names = names_of(&item).map_err(|why| {
        note(
            &item,
            &format!("{why}, so nobody pushes"),
            &format!("web.{key}"),
        )
    })?;
    note_stray_star(&names, &item, key, notes);
    Ok(Some(names))
}

fn names_of(item: &Item) -> Result<Names, &'static str> {
    let names =
        list(&item.value).ok_or("is a list with quotation that this server does not read")?;
    if names.iter().any(|name| name.starts_with('@')) {
        return Err("names a group, and this server knows no groups");
    }
    Ok(Names::new(names))
}

fn note_stray_star(names: &Names, item: &Item, key: &str, notes: &mut Vec<Note>) {
    if names.has_stray_star() {
        let sentence = "has a star among names: a list that allows takes it for a user of that \
                        name, as hgweb does; one that denies takes it for everybody";
        notes.push(note(item, sentence, &format!("web.{key}")));
    }
}

/// The view in one reading. `all` and others that show more than `served`, or
/// that we do not have, are refused; where only an untrusted file asks for more,
/// it is ignored.
fn view_of(
    reading: &Reading<'_>,
    trusted: bool,
    notes: &mut Vec<Note>,
) -> Result<ServerView, Unevaluable> {
    let Some(item) = reading.find("server", &["view"]) else {
        return Ok(ServerView::Served);
    };
    match &*item.value {
        b"served" => Ok(ServerView::Served),
        b"immutable" => Ok(ServerView::Immutable),
        b"all" | b"visible" | b"" if !trusted => {
            notes.push(note(
                &item,
                "is ignored: its file is not trusted",
                "server.view",
            ));
            Ok(ServerView::Served)
        }
        _ => Err(format!(
            "{}: server.view is neither served nor immutable",
            item.place
        )),
    }
}

fn flag(
    reading: &Reading<'_>,
    section: &str,
    spellings: &[&str],
    default: bool,
) -> Result<bool, Unevaluable> {
    let Some(item) = reading.find(section, spellings) else {
        return Ok(default);
    };
    let key = spellings.first().copied().unwrap_or_default();
    truth_of(&item, &format!("{section}.{key}"))
}

fn truth_of(item: &Item, key: &str) -> Result<bool, Unevaluable> {
    truth(&item.value).ok_or_else(|| format!("{}: {key} is neither true nor false", item.place))
}

/// The item that switches `name` on in any reading.
fn on(readings: &[Reading<'_>], section: &str, name: &str) -> Result<Option<Item>, Unevaluable> {
    for reading in readings {
        if flag(reading, section, &[name], false)? {
            return Ok(reading.find(section, &[name]));
        }
    }
    Ok(None)
}

/// Notes where an untrusted file says something about access that is not, or
/// only partly, honoured.
fn note_what_was_ignored(trusted: &Reading<'_>, untrusted: &Reading<'_>, notes: &mut Vec<Note>) {
    for (section, spellings, wide) in NARROWING {
        let Some(item) = untrusted.find(section, spellings) else {
            continue;
        };
        let before = trusted.find(section, spellings);
        if before.is_some_and(|before| before.place == item.place) {
            continue;
        }
        let key = format!(
            "{section}.{}",
            spellings.first().copied().unwrap_or_default()
        );
        match wide {
            None => notes.push(note(&item, "only narrows: its file is not trusted", &key)),
            Some(wide) if truth(&item.value) == Some(*wide) => {
                notes.push(note(&item, "is ignored: its file is not trusted", &key));
            }
            Some(_) => {}
        }
    }
}

fn note(item: &Item, sentence: &str, key: &str) -> Note {
    Note {
        place: item.place.to_string(),
        sentence: format!("{key} {sentence}"),
    }
}

/// A text for people: bounded, without control characters.
fn text_of(item: &Item) -> String {
    let text = String::from_utf8_lossy(&item.value);
    let clean = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    text.chars().take(TEXT_CHARS_MAX).map(clean).collect()
}

/// Section, key or beginning of keys, and why nothing is served with it.
const FOREIGN: [(&str, &str, &str); 2] = [
    (
        "hooks",
        "preoutgoing",
        "is a hook that decides about pulls, and this server runs no hooks",
    ),
    (
        "narrowacl",
        "",
        "limits which files are read, and this server does not know how",
    ),
];

/// Keys that only narrow in files that are not trusted: section, spellings,
/// and for truth values the one that widens.
const NARROWING: &[(&str, &[&str], Option<bool>)] = &[
    ("web", &["deny_read"], None),
    ("web", &["allow_read"], None),
    ("web", &["deny_push"], None),
    ("web", &["allow-push", "allow_push"], None),
    ("web", &["allow-pull", "allowpull"], Some(true)),
    ("web", &["push_ssl"], Some(false)),
    ("web", &["hidden"], Some(false)),
    ("server", &["uncompressed"], Some(true)),
];

const TEXT_CHARS_MAX: usize = 1000;

#[cfg(test)]
mod tests;
