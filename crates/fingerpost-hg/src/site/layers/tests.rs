use std::collections::BTreeMap;

use super::super::open::Trust;
use super::*;

/// A directory of configuration files. Those whose name begins with
/// `untrusted` are not trusted.
struct Directory(tempfile::TempDir);

impl Directory {
    fn with(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Self(dir)
    }

    fn layers(&self, names: &[&str]) -> Result<Layers, String> {
        let environment = BTreeMap::new();
        let mut files = Files::new(Trust::ByName, &environment);
        let mut layers = Layers::default();
        for name in names {
            let pushed = layers.push(&self.0.path().join(name), &mut files);
            pushed.map_err(|error| error.to_string())?;
        }
        Ok(layers)
    }

    /// `web.NAME` in each reading, `-` where it is not set.
    fn readings(&self, names: &[&str], key: &[&str]) -> String {
        let layers = self.layers(names).unwrap();
        let values = layers.readings().into_iter().map(|reading| {
            let item = reading.find("web", key);
            item.map_or_else(
                || "-".to_owned(),
                |item| String::from_utf8(item.value.to_vec()).unwrap(),
            )
        });
        values.collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn the_last_trusted_value_wins() {
    let dir = Directory::with(&[("a", "[web]\nk = 1\nk = 2\n"), ("b", "[web]\nk = 3\n")]);
    assert_eq!(dir.readings(&["a"], &["k"]), "2");
    assert_eq!(dir.readings(&["a", "b"], &["k"]), "3");
    assert_eq!(dir.readings(&["b", "a", "none"], &["k"]), "2");
}

#[test]
fn unset_takes_back_what_lower_layers_say() {
    let dir = Directory::with(&[
        ("a", "[web]\nk = 1\n"),
        ("b", "[web]\n%unset k\n"),
        ("c", "[web]\n%unset k\nk = 2\n"),
        ("untrusted", "[web]\n%unset k\n"),
    ]);
    assert_eq!(dir.readings(&["a", "b"], &["k"]), "-");
    assert_eq!(dir.readings(&["a", "c"], &["k"]), "2");
    assert_eq!(dir.readings(&["a", "untrusted"], &["k"]), "1 -");
}

#[test]
fn an_untrusted_layer_is_a_reading_of_its_own() {
    let dir = Directory::with(&[
        ("a", "[web]\nk = 1\n"),
        ("untrusted1", "[web]\nk = 2\n"),
        ("untrusted2", "[web]\nk = 3\n"),
    ]);
    assert_eq!(dir.readings(&["a", "untrusted1"], &["k"]), "1 2");
    assert_eq!(dir.readings(&["untrusted1", "a"], &["k"]), "1 1");
    assert_eq!(
        dir.readings(&["a", "untrusted1", "untrusted2"], &["k"]),
        "1 2 3"
    );
    assert_eq!(dir.readings(&["untrusted1", "untrusted2"], &["k"]), "- 2 3");
}

#[test]
fn of_two_spellings_the_later_file_decides_and_then_the_first() {
    let dir = Directory::with(&[
        ("a", "[web]\nallow_push = old\nallow-push = new\n"),
        ("b", "[web]\nallow_push = old\n"),
        ("c", "[web]\nallow-push = new\n%include b\n"),
        ("d", "[web]\n%include b\n[web]\nallow-push = after\n"),
    ]);
    let key = &["allow-push", "allow_push"];
    assert_eq!(dir.readings(&["a"], key), "new");
    assert_eq!(dir.readings(&["b"], key), "old");
    assert_eq!(dir.readings(&["a", "b"], key), "old");
    assert_eq!(dir.readings(&["c"], key), "old");
    assert_eq!(dir.readings(&["d"], key), "after");
}

#[test]
fn an_include_stands_where_it_is_written_and_keeps_the_section_around_it() {
    let dir = Directory::with(&[
        ("a", "[web]\nk = 1\n%include b\nj = 3\n"),
        ("b", "[web]\nk = 2\n[phases]\npublish = no\n"),
    ]);
    assert_eq!(dir.readings(&["a"], &["k"]), "2");
    assert_eq!(dir.readings(&["a"], &["j"]), "3");
}

#[test]
fn an_include_is_trusted_when_both_files_are() {
    let dir = Directory::with(&[
        ("a", "%include untrusted\n"),
        ("untrusted", "[web]\nk = 1\n"),
        ("untrusted2", "%include b\n"),
        ("b", "[web]\nk = 2\n"),
    ]);
    assert_eq!(dir.readings(&["a"], &["k"]), "- 1");
    assert_eq!(dir.readings(&["untrusted2"], &["k"]), "- 2");
}

#[test]
fn what_cannot_be_included_is_an_error_with_its_line() {
    let dir = Directory::with(&[
        ("missing", "\n%include none\n"),
        ("self", "%include self\n"),
        ("variable", "%include $NONE\n"),
        ("home", "%include ~other/rc\n"),
        ("broken", "[web]\nx\n"),
    ]);
    let refusal = |name: &str| dir.layers(&[name]).unwrap_err();
    assert!(
        refusal("missing").contains("missing:2: "),
        "{}",
        refusal("missing")
    );
    assert!(refusal("self").contains("includes deeper than 8 files"));
    assert!(refusal("variable").contains("variable in its path is not set"));
    assert!(refusal("home").contains("home directory of another user"));
    assert!(refusal("broken").ends_with("broken: line 2: neither key nor heading"));
}

#[test]
fn settings_are_counted() {
    let many = format!("[web]\n{}", "a=1\n".repeat(KEPT_MAX + 1));
    let dir = Directory::with(&[("many", &many)]);
    assert!(dir.layers(&["many"]).unwrap_err().contains("more than"));
    let others = format!("[ui]\n{}", "a=1\n".repeat(KEPT_MAX + 1));
    let dir = Directory::with(&[("others", &others)]);
    assert_eq!(
        dir.layers(&["others"]),
        Ok(Layers {
            layers: 1,
            level: 1,
            ..Layers::default()
        })
    );
}

#[test]
fn a_section_is_taken_out_with_its_last_values() {
    let dir = Directory::with(&[(
        "a",
        "[paths]\nx = 1\ny = 2\nx = 3\nz = 4\n%unset z\n[web]\nk=1\n",
    )]);
    let mut layers = dir.layers(&["a"]).unwrap();
    let taken = layers.take_section("paths");
    let shown: Vec<_> = taken
        .iter()
        .map(|(name, item)| (&**name, &*item.value))
        .collect();
    assert_eq!(shown, [(&b"x"[..], &b"3"[..]), (b"y", b"2")]);
    assert!(layers.names("paths").is_empty() && layers.names("web").len() == 1);
}
