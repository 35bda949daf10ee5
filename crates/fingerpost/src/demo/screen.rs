//! What happens, as it happens: a row that is drawn again in its place on a terminal, a
//! line each second elsewhere.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use super::farm::Seen;
use super::phases::Event;
use super::reference::words;
use crate::out::Out;

/// Where rows are shown.
pub(super) struct Screen {
    out: Out,
    style: Style,
    /// Rows of this phase, the oldest of which is about [`WINDOW`] old.
    shown: VecDeque<Row>,
    is_headed: bool,
    /// Whether the cursor is behind a row that may be drawn over.
    is_in_row: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Style {
    /// Rows are drawn over.
    redraw: bool,
    colour: bool,
}

/// How a phase goes.
#[derive(Clone, Debug)]
pub(super) struct Row {
    name: &'static str,
    event: Event,
    lasted: Duration,
    lookups: u64,
    reports: u64,
    /// Parts of the look-ups of this phase.
    found: Option<f64>,
    on_host: Option<f64>,
    longest: Duration,
    spool: u64,
}

impl Row {
    pub(super) fn of(seen: &Seen) -> Self {
        let part = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
        let (builds, agent) = (&seen.builds, &seen.agent);
        Self {
            name: seen.name,
            event: seen.event,
            lasted: seen.lasted,
            lookups: builds.lookups,
            reports: builds.reports,
            found: part(builds.found, builds.lookups),
            on_host: part(agent.locally, agent.lookups),
            longest: builds.longest,
            spool: agent.spool,
        }
    }
}

impl Screen {
    /// That of this process.
    pub(super) fn of_terminal() -> Self {
        let variable = |name| std::env::var_os(name);
        let style = Style::of(
            io::stdout().is_terminal(),
            variable("TERM").as_deref(),
            variable("NO_COLOR").as_deref(),
        );
        Self {
            out: Out::default(),
            style,
            shown: VecDeque::new(),
            is_headed: false,
            is_in_row: false,
        }
    }

    /// Shows a line that stays, or several.
    pub(super) fn say(&mut self, lines: &str) -> io::Result<()> {
        // An interrupt comes amid a row.
        if std::mem::take(&mut self.is_in_row) {
            self.out.line("")?;
        }
        self.out.line(lines)
    }

    /// Whether nobody looks any more.
    pub(super) const fn is_closed(&self) -> bool {
        self.out.is_closed()
    }

    /// How often there is something to show.
    pub(super) const fn every(&self) -> Duration {
        match self.style.redraw {
            true => Duration::from_millis(200),
            false => Duration::from_secs(1),
        }
    }

    /// Shows how a phase goes, with the rates of the last second.
    pub(super) fn draw(&mut self, row: &Row) -> io::Result<()> {
        let is_old = |it: &Row| it.lasted + WINDOW <= row.lasted;
        while self.shown.get(1).is_some_and(is_old) {
            self.shown.pop_front();
        }
        let text = text(row, self.shown.front());
        self.shown.push_back(row.clone());
        self.head()?;
        let text = self.style.paint(row.event, &text);
        self.is_in_row = self.style.redraw;
        match self.style.redraw {
            true => self.out.bytes(format!("\r{text}\x1b[K").as_bytes()),
            false => self.out.line(&text),
        }
    }

    /// A phase is over: on a terminal its row stays, with the rates of all of it.
    pub(super) fn leave(&mut self, row: &Row) -> io::Result<()> {
        self.shown.clear();
        self.is_in_row = false;
        if !self.style.redraw {
            return Ok(());
        }
        self.head()?;
        let text = self.style.paint(row.event, &text(row, None));
        self.out.bytes(format!("\r{text}\x1b[K\n").as_bytes())
    }

    fn head(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.is_headed, true) {
            return Ok(());
        }
        self.out.line(&format!(
            "{:<10} {:>5} {:>10} {:>9} {:>5} {:>7} {:>12} {:>7}",
            "phase", "s", "look-ups/s", "reports/s", "found", "on host", "longest wait", "spool"
        ))
    }
}

/// A row, with the rates since another one of its phase.
fn text(row: &Row, before: Option<&Row>) -> String {
    let zero = (Duration::ZERO, 0, 0);
    let (at, lookups, reports) = before.map_or(zero, |before| {
        (before.lasted, before.lookups, before.reports)
    });
    let seconds = row.lasted.saturating_sub(at).as_secs_f64().max(0.001);
    let percent = |part: Option<f64>| {
        part.map_or_else(|| "-".to_owned(), |part| format!("{:.0}%", part * 100.0))
    };
    format!(
        "{:<10} {:>5.1} {:>10.0} {:>9.0} {:>5} {:>7} {:>12} {:>7}",
        row.name,
        row.lasted.as_secs_f64(),
        row.lookups.saturating_sub(lookups) as f64 / seconds,
        row.reports.saturating_sub(reports) as f64 / seconds,
        percent(row.found),
        percent(row.on_host),
        words(row.longest),
        row.spool,
    )
}

impl Style {
    /// What a terminal gets; <https://no-color.org> is honoured.
    fn of(is_terminal: bool, term: Option<&OsStr>, no_color: Option<&OsStr>) -> Self {
        let redraw = is_terminal && term.is_some_and(|term| term != "dumb");
        let no_color = no_color.is_some_and(|it| !it.is_empty());
        Self {
            redraw,
            colour: redraw && !no_color,
        }
    }

    /// The name of a phase by how the server is.
    fn paint(self, event: Event, row: &str) -> String {
        let colour = match event {
            _ if !self.colour => return row.to_owned(),
            Event::None | Event::Restart | Event::Resume | Event::Return => 32,
            Event::Kill | Event::Stall => 31,
            Event::Move => 33,
        };
        let end = row.len().min(NAME);
        format!("\x1b[{colour}m{}\x1b[0m{}", &row[..end], &row[end..])
    }
}

/// Rates are those of such a time.
const WINDOW: Duration = Duration::from_secs(1);
/// Letters of a phase's name.
const NAME: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(millis: u64, lookups: u64) -> Row {
        Row {
            name: "50 ms away",
            event: Event::Move,
            lasted: Duration::from_millis(millis),
            lookups,
            reports: 30,
            found: Some(0.5),
            on_host: None,
            longest: Duration::from_millis(1500),
            spool: 7,
        }
    }

    #[test]
    fn rates_are_those_since_the_row_before() {
        let (before, now) = (row(1000, 100), row(3000, 500));
        assert_eq!(
            text(&now, Some(&before)),
            "50 ms away   3.0        200         0   50%       -        1.5 s       7"
        );
        assert!(text(&now, None).starts_with("50 ms away   3.0        167        10 "));
    }

    #[test]
    fn colours_and_redrawing_are_for_terminals_that_want_them() {
        let check = |is_terminal, term: &str, no_color: Option<&str>, redraw, colour| {
            let style = Style::of(is_terminal, Some(term.as_ref()), no_color.map(OsStr::new));
            assert_eq!(style, Style { redraw, colour });
        };
        check(true, "xterm", None, true, true);
        check(true, "xterm", Some(""), true, true);
        check(true, "xterm", Some("1"), true, false);
        check(true, "dumb", None, false, false);
        check(false, "xterm", None, false, false);
        let style = Style {
            redraw: true,
            colour: true,
        };
        let painted = style.paint(Event::Stall, "stalled      1.0");
        assert_eq!(painted, "\x1b[31mstalled   \x1b[0m   1.0");
    }
}
