//! What was found, and how it is shown.

use serde::Serialize;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// Could not be looked at.
    NotChecked,
    /// Builds go on, but lose something or may.
    Warning,
    /// Builds fail, hang or share nothing.
    Problem,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The check, under a name that scripts may count on.
    pub(super) id: &'static str,
    /// How it ended.
    pub(super) state: State,
    /// A sentence; of what is not right, what to change. Never a password.
    pub(super) says: String,
}

impl Finding {
    /// As it should be.
    pub(super) fn ok(id: &'static str, says: impl Into<String>) -> Self {
        Self::new(id, State::Ok, says)
    }

    /// Could not be looked at, and why.
    pub(super) fn not_checked(id: &'static str, says: impl Into<String>) -> Self {
        Self::new(id, State::NotChecked, says)
    }

    /// Builds go on all the same.
    pub(super) fn warning(id: &'static str, says: impl Into<String>) -> Self {
        Self::new(id, State::Warning, says)
    }

    /// To be changed.
    pub(super) fn problem(id: &'static str, says: impl Into<String>) -> Self {
        Self::new(id, State::Problem, says)
    }

    /// Some of it is a server's or an agent's word, which must not reach a terminal as it is.
    fn new(id: &'static str, state: State, says: impl Into<String>) -> Self {
        Self {
            id,
            state,
            says: says.into().replace(char::is_control, " "),
        }
    }
}

/// All findings, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    /// Adds what a check found.
    pub(super) fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.0.extend(findings);
    }

    /// Adds how a step ended; nothing if those behind it cannot be made.
    pub(super) fn step(&mut self, made: Result<Finding, Finding>) -> Option<()> {
        let goes_on = made.is_ok();
        self.0.push(made.unwrap_or_else(|problem| problem));
        goes_on.then_some(())
    }

    /// Whether that check said anything.
    pub(super) fn has(&self, id: &str) -> bool {
        self.0.iter().any(|finding| finding.id == id)
    }

    /// Whether anything must be changed.
    pub(super) fn has_problem(&self) -> bool {
        self.count(State::Problem) > 0
    }

    fn count(&self, state: State) -> usize {
        let of_state = self.0.iter().filter(|finding| finding.state == state);
        of_state.count()
    }

    /// For programs: an array in the order of the checks.
    pub(super) fn json(&self) -> String {
        serde_json::to_string_pretty(&self.0).expect("texts are always JSON")
    }

    /// For people: a line for each, what is worst last, where the eye is.
    pub(super) fn text(&self) -> String {
        let mut findings: Vec<_> = self.0.iter().collect();
        findings.sort_by_key(|finding| finding.state);
        let lines = findings.iter().map(|finding| {
            let state = finding.state.word();
            format!("{state:<11}  {:<11}  {}\n", finding.id, finding.says)
        });
        lines.chain([self.summary()]).collect()
    }

    fn summary(&self) -> String {
        let (problems, warnings) = (self.count(State::Problem), self.count(State::Warning));
        let of = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        match (problems, warnings) {
            (0, 0) => "\nNothing is wrong.\n".to_owned(),
            _ => format!(
                "\n{}, {}.\n",
                of(problems, "problem"),
                of(warnings, "warning")
            ),
        }
    }
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotChecked => "not checked",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.add([
            Finding::problem("address", "change it"),
            Finding::ok("handler", "asks the server"),
            Finding::not_checked("clock", "no answer"),
            Finding::warning("pairing", "think of it"),
        ]);
        report
    }

    #[test]
    fn people_read_problems_last() {
        let expected = "\
            ok           handler      asks the server\n\
            not checked  clock        no answer\n\
            warning      pairing      think of it\n\
            problem      address      change it\n\
            \n1 problem, 1 warning.\n";
        assert_eq!(report().text(), expected);
    }

    #[test]
    fn programs_read_the_order_of_the_checks() {
        let read: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(read[0]["id"], "address");
        assert_eq!(read[2]["state"], "not-checked");
        assert_eq!(read[3]["says"], "think of it");
    }

    #[test]
    fn a_finding_is_one_line_and_draws_nothing() {
        let told = Finding::ok("login", "it is refused (\x1b[2Jno\nok  all is well)");
        assert_eq!(told.says, "it is refused ( [2Jno ok  all is well)");
    }

    #[test]
    fn only_a_problem_is_one() {
        let mut fine = Report::default();
        fine.add([Finding::warning("a", ""), Finding::not_checked("b", "")]);
        assert!(!fine.has_problem() && report().has_problem());
    }
}
