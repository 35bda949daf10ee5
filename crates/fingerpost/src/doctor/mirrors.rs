//! `SSTATE_MIRRORS`: pairs of a pattern and where to look instead.

use super::report::Finding;
use super::shown;
use super::variables::Variables;

const ID: &str = "mirrors";

/// A pair of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mirror {
    pattern: String,
    place: String,
}

/// The mirrors of a build.
#[derive(Debug, Default)]
pub(super) struct Mirrors {
    all: Vec<Mirror>,
    /// A word without its other half.
    odd: bool,
    /// `BB_NO_NETWORK` holds for them too.
    is_offline: bool,
}

impl Mirrors {
    /// Reads the variable as BitBake does, to which the two characters `\n` are a blank.
    pub(super) fn of(variables: &Variables) -> Self {
        let text = variables.get("SSTATE_MIRRORS").unwrap_or_default();
        let text = text.replace("\\n", " ");
        let words: Vec<_> = text.split_whitespace().collect();
        let pairs = words.chunks_exact(2).map(|pair| Mirror {
            pattern: pair[0].to_owned(),
            place: pair[1].to_owned(),
        });
        Self {
            all: pairs.collect(),
            odd: words.len() % 2 == 1,
            is_offline: variables.is_true("BB_NO_NETWORK")
                && !variables.is_true("SSTATE_MIRROR_ALLOW_NETWORK"),
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The first one, without what must not be shown.
    pub(super) fn first_shown(&self) -> Option<String> {
        self.all.first().map(Mirror::shown)
    }

    /// Whether BitBake finds anything with them.
    pub(super) fn check(&self) -> Vec<Finding> {
        if self.odd {
            return vec![Finding::problem(
                ID,
                "SSTATE_MIRRORS has an odd number of words, and BitBake uses none of them: write \
                 pairs, `file://.* https://HOST/PATH;downloadfilename=PATH`",
            )];
        }
        if let Some(mirror) = self.all.iter().find(|mirror| mirror.is_remote())
            && self.is_offline
        {
            return vec![Finding::problem(
                ID,
                format!(
                    "BB_NO_NETWORK keeps BitBake from {}: set SSTATE_MIRROR_ALLOW_NETWORK = \"1\"",
                    mirror.shown()
                ),
            )];
        }
        let found: Vec<_> = self.all.iter().filter_map(Mirror::check).collect();
        match (found.is_empty(), self.first_shown()) {
            (true, Some(first)) => {
                let says = match self.all.len() {
                    1 => first,
                    count => format!("{first} and {} more", count - 1),
                };
                vec![Finding::ok(ID, says)]
            }
            _ => found,
        }
    }
}

impl Mirror {
    fn shown(&self) -> String {
        shown::url(&self.place)
    }

    /// The place without its parameters, one of which ends in `PATH` as well.
    fn path(&self) -> &str {
        let end = self.place.find(';').unwrap_or(self.place.len());
        &self.place[..end]
    }

    fn is_remote(&self) -> bool {
        !self.place.starts_with("file:")
    }

    /// Whether the place takes over what a group of the pattern matched, which is the other
    /// way to say where an object is: `file://universal/(.*) https://HOST/other/\1`.
    fn has_group(&self) -> bool {
        let after = self.path().split('\\').skip(1);
        let mut after = after.filter_map(|text| text.chars().next());
        after.any(|first| first.is_ascii_digit() || first == 'g')
    }

    fn check(&self) -> Option<Finding> {
        let shown = self.shown();
        if !self.pattern.starts_with("file:") && !self.pattern.starts_with('.') {
            return Some(Finding::warning(
                ID,
                format!(
                    "sstate objects are file:// to BitBake, and the pattern of {shown} matches none: \
                     write `file://.*`"
                ),
            ));
        }
        if !self.path().contains("PATH") && !self.has_group() {
            return Some(Finding::problem(
                ID,
                format!(
                    "{shown} lacks PATH, so objects are looked for without their directories and not \
                     found: write {}/PATH;downloadfilename=PATH",
                    shown.trim_end_matches('/')
                ),
            ));
        }
        let is_http = self.place.starts_with("http://") || self.place.starts_with("https://");
        if is_http && !self.place.contains("downloadfilename=PATH") {
            return Some(Finding::warning(
                ID,
                format!(
                    "{shown} lacks a file name of its own: write {shown};downloadfilename=PATH, or \
                     objects land in SSTATE_DIR without their directories"
                ),
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::super::variables::set;
    use super::*;

    fn check(mirrors: &str) -> Vec<(State, String)> {
        let found = Mirrors::of(&set(&[("SSTATE_MIRRORS", mirrors)])).check();
        found
            .into_iter()
            .map(|found| (found.state, found.says))
            .collect()
    }

    fn only(mirrors: &str) -> (State, String) {
        let mut found = check(mirrors);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn pairs_with_path_are_fine() {
        let line = "file://.* https://h/PATH;downloadfilename=PATH";
        assert_eq!(only(line), (State::Ok, "https://h/PATH".to_owned()));
        let lines = format!("{line} \\n {line}");
        assert_eq!(only(&lines).1, "https://h/PATH and 1 more");
        assert_eq!(only("file://.* file:///share/PATH").0, State::Ok);
        assert_eq!(check(""), []);
    }

    #[test]
    fn a_group_of_the_pattern_may_stand_for_the_path() {
        for place in [r"https://h/other/\1", r"https://h/other/\g<1>"] {
            let line = format!("file://universal/(.*) {place};downloadfilename=PATH");
            assert_eq!(only(&line), (State::Ok, place.to_owned()));
        }
        let manual = r"file://universal-4.9/(.*) https://h/universal-4.8/\1";
        assert_eq!(only(manual).0, State::Warning);
        assert_eq!(only(r"file://(.*) https://h/\x").0, State::Problem);
    }

    #[test]
    fn a_build_without_network_needs_leave_for_mirrors() {
        let offline = ("BB_NO_NETWORK", "1");
        let allowed = ("SSTATE_MIRROR_ALLOW_NETWORK", "1");
        let remote = "file://.* https://h/PATH;downloadfilename=PATH";
        let state = |mirrors, more: &[(&str, &str)]| {
            let values = [&[("SSTATE_MIRRORS", mirrors)], more].concat();
            Mirrors::of(&set(&values)).check()[0].state
        };
        assert_eq!(state(remote, &[offline]), State::Problem);
        assert_eq!(state(remote, &[offline, allowed]), State::Ok);
        assert_eq!(state(remote, &[("BB_NO_NETWORK", "0")]), State::Ok);
        assert_eq!(state("file://.* file:///a/PATH", &[offline]), State::Ok);
    }

    #[test]
    fn what_finds_nothing_is_told() {
        let (state, says) = only("file://.* http://h/sstate/");
        assert_eq!(state, State::Problem);
        assert!(says.contains("write http://h/sstate/PATH;"), "{says}");
        let by_parameter = "file://.* https://h/;downloadfilename=PATH";
        assert_eq!(only(by_parameter).0, State::Problem);
        assert_eq!(only("file://.* https://h/PATH").0, State::Warning);
        assert_eq!(only("https://.* https://h/PATH").0, State::Warning);
        assert_eq!(only("file://.*").0, State::Problem);
    }

    #[test]
    fn passwords_of_mirrors_are_not_shown() {
        for line in [
            "file://.* https://u:hunter2@h/PATH;downloadfilename=PATH",
            "file://.* https://h/;user=u;pswd=hunter2",
            "hunter2://.* https://u:hunter2@h/PATH",
        ] {
            assert!(!only(line).1.contains("hunter2"), "{line}");
        }
    }
}
