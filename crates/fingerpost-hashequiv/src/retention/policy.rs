//! What is configured.

use std::path::PathBuf;

use serde::Serialize;

use super::rows::Kind;
use crate::query::{Column, Conditions};

/// Why a row goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Term {
    /// It was made too long ago.
    Age,
    /// Nobody used it for too long.
    Unused,
    /// There are too many; those go that were not used for longest.
    Rows,
    /// They take too much; those go that were not used for longest.
    Bytes,
}

impl Term {
    /// Every term, in the order in which they are asked.
    pub const ALL: [Self; 4] = [Self::Age, Self::Unused, Self::Rows, Self::Bytes];

    /// Its name in metrics and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Unused => "unused",
            Self::Rows => "rows",
            Self::Bytes => "bytes",
        }
    }
}

/// Terms for rows of one kind. A row goes when one of them says so; without any, none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Days after which a row goes, used or not.
    pub max_age_days: Option<u64>,
    /// Days without use after which a row goes.
    pub unused_days: Option<u64>,
    /// Rows that stay at most, in each method of each namespace.
    pub max_rows: Option<u64>,
    /// Bytes that the rows of each method of each namespace take at most, as
    /// [`RetainedRow::bytes`](super::RetainedRow::bytes) counts them.
    pub max_bytes: Option<u64>,
}

impl Terms {
    /// Whether nothing goes.
    pub const fn is_empty(&self) -> bool {
        self.max_age_days.is_none() && self.unused_days.is_none() && !self.need_sums()
    }

    /// Whether all rows must be counted before it is known which go.
    pub(super) const fn need_sums(&self) -> bool {
        self.max_rows.is_some() || self.max_bytes.is_some()
    }
}

/// What holds in some namespaces for some methods. Of several rules the first one that
/// matches counts, alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Name of a namespace, or a pattern: `*` is any text, `?` any character.
    pub namespace: String,
    /// Name of a method, or a pattern.
    pub method: String,
    /// For the relation U.
    pub mappings: Terms,
    /// For rows of the relation O.
    pub outputs: Terms,
    /// For the listings of rows of the relation O, which stay without them.
    pub siginfo: Terms,
    /// Tasks that stay, with all that belongs to them: what `gc-mark` would mark.
    pub pins: Vec<Conditions>,
    /// File with unihashes, one a line, whose tasks stay as well. Read at each run.
    pub keep_file: Option<PathBuf>,
}

/// A rule that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct BadRule {
    /// The key in the rule.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

impl Rule {
    /// The terms for rows of a kind.
    pub const fn terms(&self, kind: Kind) -> &Terms {
        match kind {
            Kind::Mappings => &self.mappings,
            Kind::Outputs => &self.outputs,
            Kind::Siginfo => &self.siginfo,
        }
    }

    fn check(&self) -> Result<(), BadRule> {
        let bad = |key: &str, why: &str| {
            Err(BadRule {
                key: key.to_owned(),
                why: why.to_owned(),
            })
        };
        for (key, pattern) in [("namespace", &self.namespace), ("method", &self.method)] {
            if pattern.is_empty() {
                return bad(key, "is a name, or a pattern with * and ?");
            }
        }
        for kind in Kind::ALL {
            let (terms, name) = (self.terms(kind), kind.as_str());
            for (key, days) in [
                ("max_age_days", terms.max_age_days),
                ("unused_days", terms.unused_days),
            ] {
                if days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
                    return bad(&format!("{name}.{key}"), "is 1 to 36500");
                }
            }
            for (key, most) in [("max_rows", terms.max_rows), ("max_bytes", terms.max_bytes)] {
                if most == Some(0) {
                    return bad(&format!("{name}.{key}"), "is at least 1");
                }
            }
        }
        for (number, pin) in (1..).zip(&self.pins) {
            let foreign = pin.0.iter().find(|(column, _)| !column.in_unihashes());
            if let Some((column, _)) = foreign {
                let column: Column = *column;
                let why = "gc-mark compares method, taskhash, unihash and gc_mark only";
                return bad(&format!("pins[{number}].{}", column.as_str()), why);
            }
            if pin.is_empty() {
                return bad(&format!("pins[{number}]"), "has no condition");
            }
        }
        Ok(())
    }
}

/// Rules, of which the first one that matches counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The rules.
    pub rules: Vec<Rule>,
}

impl Policy {
    /// Checks what types cannot. The error has the number of the rule, from 1 on.
    pub fn check(&self) -> Result<(), (usize, BadRule)> {
        for (number, rule) in (1..).zip(&self.rules) {
            rule.check().map_err(|bad| (number, bad))?;
        }
        Ok(())
    }

    /// Whether some rule has terms for rows of this kind.
    pub(super) fn concerns(&self, kind: Kind) -> bool {
        self.rules.iter().any(|rule| !rule.terms(kind).is_empty())
    }
}

/// A hundred years.
const DAYS_MAX: u64 = 36_500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_named() {
        let rule = |change: fn(&mut Rule)| {
            let mut rule = Rule {
                namespace: "*".to_owned(),
                method: "*".to_owned(),
                ..Rule::default()
            };
            change(&mut rule);
            rule.check().map_err(|bad| bad.key)
        };
        let check = |change, key: &str| assert_eq!(rule(change), Err(key.to_owned()));
        assert_eq!(rule(|_| ()), Ok(()));
        check(|rule| rule.method.clear(), "method");
        check(
            |rule| rule.mappings.max_age_days = Some(0),
            "mappings.max_age_days",
        );
        check(|rule| rule.siginfo.max_bytes = Some(0), "siginfo.max_bytes");
        check(|rule| rule.pins.push(Conditions::default()), "pins[1]");
        check(
            |rule| {
                let pin = Conditions(vec![(Column::Pn, "zlib".to_owned())]);
                rule.pins.push(pin);
            },
            "pins[1].PN",
        );
    }
}
