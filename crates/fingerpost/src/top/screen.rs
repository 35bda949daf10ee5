//! Figures for people.

use super::figures::{Figures, Latency};

/// What is shown of one look. On a terminal that is drawn over it is put in the
/// place of the one before.
pub(super) fn frame(text: &str, redraw: bool) -> String {
    if !redraw {
        return text.to_owned();
    }
    // To the corner; each line clears what was behind it, the last what was below.
    format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
}

/// The figures as some lines of text.
pub(super) fn text(place: &str, figures: &Figures) -> String {
    let ready = match figures.ready {
        Some(true) if figures.database_up == Some(false) => "ready, DATABASE AWAY",
        Some(true) => "ready",
        Some(false) => "NOT READY",
        None => "",
    };
    let up = figures.up_seconds.map(duration).unwrap_or_default();
    let mut out = format!(
        "{place}  fingerpost {}  up {up}  {ready}\n\n",
        printable(&figures.version)
    );
    let mut line = |name: &str, rest: String| out.push_str(&format!("{name:<12} {rest}\n"));
    line(
        "look-ups",
        format!(
            "{:>9}/s  known {:>6}  memory {:>6}  {}",
            number(figures.lookups),
            percent(figures.known),
            percent(figures.from_memory),
            latency(figures.lookup),
        ),
    );
    let reports = number(figures.reports);
    let blank = "";
    line(
        "reports",
        format!("{reports:>9}/s  {blank:<27}  {}", latency(figures.report)),
    );
    let group = figures.group.map_or_else(|| "-".to_owned(), number);
    line(
        "commits",
        format!(
            "{:>9}/s  group {group:>6}  queue {:>7}  {}",
            number(figures.commits),
            number(figures.write_queue),
            latency(figures.commit),
        ),
    );
    line(
        "connections",
        format!(
            "{:>9}    of {:>9}  refused {}/s  failed {}/s",
            number(figures.connections),
            number(figures.connections_limit),
            number(figures.refused),
            number(figures.failed),
        ),
    );
    let (cache, limit) = (bytes(figures.cache_bytes), bytes(figures.cache_limit_bytes));
    line("cache", format!("{cache:>9}    of {limit:>9}"));
    let upstream = match figures.upstream_up {
        Some(true) => "upstream asked",
        Some(false) => "UPSTREAM DOWN",
        None => "",
    };
    let memory = bytes(figures.memory_bytes);
    line(
        "process",
        format!("{:>9.2}    cores, {memory}  {upstream}", figures.processor),
    );
    if !figures.commands.is_empty() {
        out.push_str(&format!(
            "\n{:<22} {:>9} {:>9} {:>9} {:>9}\n",
            "command", "/s", "failed/s", "p50", "p99"
        ));
    }
    for command in figures.commands.iter().take(COMMANDS_MAX) {
        out.push_str(&format!(
            "{:<22} {:>9} {:>9} {:>9} {:>9}\n",
            printable(&command.name),
            number(command.rate),
            number(command.failed),
            time(command.latency.p50),
            time(command.latency.p99),
        ));
    }
    out
}

/// So that a page of whatever we were sent to cannot draw.
fn printable(text: &str) -> String {
    let characters = text.chars().filter(|it| !it.is_control());
    characters.take(40).collect()
}

fn latency(latency: Latency) -> String {
    format!("p50 {:>7}  p99 {:>7}", time(latency.p50), time(latency.p99))
}

fn number(number: f64) -> String {
    match number {
        it if it >= 1e6 => format!("{:.1} M", it / 1e6),
        it if it >= 1e4 => format!("{:.1} k", it / 1e3),
        it if it >= 10.0 || it.fract() == 0.0 => format!("{it:.0}"),
        it => format!("{it:.1}"),
    }
}

fn percent(part: Option<f64>) -> String {
    part.map_or_else(|| "-".to_owned(), |part| format!("{:.1}%", part * 100.0))
}

fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(it) if it >= 1.0 => format!("{it:.1} s"),
        Some(it) if it >= 1e-3 => format!("{:.1} ms", it * 1e3),
        Some(it) => format!("{:.0} us", it * 1e6),
    }
}

fn bytes(bytes: f64) -> String {
    match bytes {
        it if it >= GIB => format!("{:.1} GiB", it / GIB),
        it => format!("{:.1} MiB", it / MIB),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        it if it >= 172_800.0 => format!("{:.0} d", it / 86_400.0),
        it if it >= 7_200.0 => format!("{:.0} h", it / 3_600.0),
        it if it >= 120.0 => format!("{:.0} min", it / 60.0),
        it => format!("{it:.0} s"),
    }
}

const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1_073_741_824.0;
/// More would not fit on a screen.
const COMMANDS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::figures::Command;
    use super::*;

    fn figures() -> Figures {
        let fast = Latency {
            p50: Some(0.000_012),
            p99: Some(0.0025),
        };
        Figures {
            version: "0.1.0\x1b[2J".to_owned(),
            ready: Some(true),
            up_seconds: Some(7300.0),
            lookups: 123_456.0,
            known: Some(0.5),
            lookup: fast,
            connections: 12.0,
            cache_limit_bytes: 134_217_728.0,
            upstream_up: Some(false),
            commands: vec![Command {
                name: "get-stream".to_owned(),
                rate: 2.5,
                failed: 0.0,
                latency: fast,
            }],
            ..Figures::default()
        }
    }

    #[test]
    fn a_look_is_some_lines_without_control_characters() {
        let text = text("http://h:1/metrics", &figures());
        let mut lines = text.lines();
        let head = "http://h:1/metrics  fingerpost 0.1.0[2J  up 2 h  ready";
        assert_eq!(lines.next(), Some(head));
        let lookups =
            "look-ups       123.5 k/s  known  50.0%  memory      -  p50   12 us  p99  2.5 ms";
        assert_eq!(lines.nth(1), Some(lookups));
        assert!(text.contains("UPSTREAM DOWN"), "{text}");
        assert!(text.contains("get-stream "), "{text}");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }

    #[test]
    fn a_terminal_is_drawn_over_and_a_pipe_is_not() {
        assert_eq!(frame("a\nb\n", false), "a\nb\n");
        assert_eq!(frame("a\nb\n", true), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
    }
}
