//! What goes by itself: `[retention]` and its `[[retention.rules]]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fingerpost_hashequiv::query::{Column, Conditions};
use fingerpost_hashequiv::retention::{Policy, Rule, Schedule, Terms};
use serde::{Deserialize, Serialize};

use super::BadConfig;
use super::check::check_range;
use super::keys::{Kind, Table, Value, keys};
use super::tree::Config;

keys! {
    /// What goes in some namespaces for some methods.
    RetentionRule {
        /// The namespace, or a pattern in which `*` is any text and `?` any character.
        namespace: String = "*".to_owned();
        /// The method, or a pattern.
        method: String = "*".to_owned();
        /// When mappings go: `max_age_days` after they were made, used or not;
        /// `unused_days` without use; those beyond `max_rows` or `max_bytes` that were
        /// not used for longest, counted in each method of each namespace. One of them
        /// is enough.
        mappings: Option<RetentionTerms> = None, example "{ unused_days = 90 }";
        /// When rows of outputs go. Their use is that of their task.
        outputs: Option<RetentionTerms> = None, example "{ unused_days = 90 }";
        /// When the texts of listings go. The rows of their outputs stay.
        siginfo: Option<RetentionTerms> = None, example "{ max_age_days = 30 }";
        /// Tasks that stay with all that belongs to them: conditions on `method`,
        /// `taskhash`, `unihash` and `gc_mark`, as `gc-mark` takes them.
        pins: Vec<BTreeMap<String, String>> = Vec::new(),
            example "[{ gc_mark = \"release-5.0\" }]";
        /// File with unihashes, one a line, whose tasks stay too. It is read at each
        /// run; when it cannot be, or has none, nothing is deleted.
        keep_file: Option<PathBuf> = None, example "\"/etc/fingerpost/keep.txt\"";
    }
}

/// When rows go.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionTerms {
    max_age_days: Option<u64>,
    unused_days: Option<u64>,
    max_rows: Option<u64>,
    max_bytes: Option<u64>,
}

impl Value for RetentionTerms {
    const KIND: Kind = Kind::Names;
}

impl Value for Vec<BTreeMap<String, String>> {
    const KIND: Kind = Kind::List;
}

impl Value for Vec<RetentionRule> {
    const KIND: Kind = Kind::Rows(&Table {
        keys: RetentionRule::KEYS,
        defaults: || serde_json::to_value(RetentionRule::default()).expect("a table is plain data"),
    });
}

fn terms(configured: Option<RetentionTerms>) -> Terms {
    let terms = configured.unwrap_or_default();
    Terms {
        max_age_days: terms.max_age_days,
        unused_days: terms.unused_days,
        max_rows: terms.max_rows,
        max_bytes: terms.max_bytes,
    }
}

impl RetentionRule {
    fn rule(&self) -> Result<Rule, (String, String)> {
        let pins = (1..).zip(&self.pins);
        let pins = pins.map(|(number, pin)| conditions(number, pin));
        Ok(Rule {
            namespace: self.namespace.clone(),
            method: self.method.clone(),
            mappings: terms(self.mappings),
            outputs: terms(self.outputs),
            siginfo: terms(self.siginfo),
            pins: pins.collect::<Result<_, _>>()?,
            keep_file: self.keep_file.clone(),
        })
    }
}

fn conditions(
    number: usize,
    pin: &BTreeMap<String, String>,
) -> Result<Conditions, (String, String)> {
    let condition = |(name, value): (&String, &String)| match Column::parse(name) {
        Some(column) => Ok((column, value.clone())),
        None => Err((
            format!("pins[{number}].{name}"),
            "there is no such column".to_owned(),
        )),
    };
    let conditions: Result<_, _> = pin.iter().map(condition).collect();
    conditions.map(Conditions)
}

impl Config {
    /// The policy, checked.
    pub(crate) fn retention_policy(&self) -> Result<Policy, BadConfig> {
        let refuse = |number: usize, key: &str, why: &str| {
            BadConfig(format!("retention.rules[{number}].{key}: {why}"))
        };
        let rules = (1..).zip(&self.retention.rules).map(|(number, rule)| {
            let rule = rule.rule();
            rule.map_err(|(key, why)| refuse(number, &key, &why))
        });
        let policy = Policy {
            rules: rules.collect::<Result<_, _>>()?,
        };
        let checked = policy.check();
        checked.map_err(|(number, bad)| refuse(number, &bad.key, &bad.why))?;
        Ok(policy)
    }

    /// When it is applied.
    pub(crate) fn retention_schedule(&self) -> Schedule {
        let retention = &self.retention;
        match (retention.daily_hour, retention.every_hours) {
            (Some(hour), _) => Schedule::DailyAt(hour),
            (None, 0) => Schedule::Off,
            (None, hours) => Schedule::EveryHours(hours),
        }
    }

    pub(super) fn check_retention(&self) -> Result<(), BadConfig> {
        check_range(
            "retention.every_hours",
            self.retention.every_hours,
            0..=8760,
        )?;
        if let Some(hour) = self.retention.daily_hour {
            check_range("retention.daily_hour", hour, 0..=23)?;
        }
        self.retention_policy().map(drop)
    }

    pub(super) fn check_retention_together(&self) -> Result<(), BadConfig> {
        let refuse = |why: &str| Err(BadConfig(why.to_owned()));
        let retention = &self.retention;
        if retention.daily_hour.is_some() && retention.every_hours > 0 {
            return refuse("retention.daily_hour and retention.every_hours: choose one");
        }
        if self.retention_schedule() != Schedule::Off && retention.rules.is_empty() {
            return refuse("retention has a schedule and no [[retention.rules]]");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_thing_that_is_wrong_is_named() {
        let said = |text: &str| {
            let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
            let checked = config.check().and_then(|()| config.check_together());
            checked.map_err(|bad| bad.to_string())
        };
        let check = |text: &str, why: &str| {
            let said = said(text).err().unwrap_or_default();
            assert!(
                said.contains(why) && said.is_empty() == why.is_empty(),
                "{said}"
            );
        };
        let rule = "[[retention.rules]]\nmappings = { unused_days = 30 }\n";
        check(rule, "");
        check(&format!("[retention]\ndaily_hour = 3\n{rule}"), "");
        check(
            "[retention]\ndaily_hour = 24\n",
            "retention.daily_hour is 0 to 23",
        );
        check("[retention]\ndaily_hour = 3\n", "no [[retention.rules]]");
        let both = "[retention]\ndaily_hour = 3\nevery_hours = 2\n";
        check(both, "choose one");
        let second = |line: &str| format!("{rule}[[retention.rules]]\n{line}\n");
        check(
            &second("outputs = { max_age_days = 0 }"),
            "retention.rules[2].outputs.max_age_days: is 1 to 36500",
        );
        check(&second("method = ''"), "retention.rules[2].method: ");
        check(
            &second("pins = [{ method = 'm' }, { nm = 'm' }]"),
            "retention.rules[2].pins[2].nm: ",
        );
        check(
            &second("pins = [{ PN = 'zlib' }]"),
            "retention.rules[2].pins[1].PN: gc-mark compares",
        );
        check(&second("mappings = { days = 1 }"), "days");
    }
}
