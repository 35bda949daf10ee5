//! What was compared, by command.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use parking_lot::Mutex;

/// Bytes of a text that are shown.
const SHOWN_BYTES: usize = 500;

/// Counts, and differences as log lines.
pub(super) struct Tally {
    log_max: u64,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Commands are those of the protocol, so there are few.
    commands: BTreeMap<&'static str, Command>,
    differences: u64,
    abandoned: u64,
    unreachable: u64,
    closed_first: u64,
}

#[derive(Clone, Copy, Default)]
struct Command {
    compared: u64,
    different: u64,
}

/// What an answer was to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) command: &'static str,
    /// The request, unless it has a secret.
    pub(super) text: String,
}

impl Tally {
    pub(super) fn new(log_max: u64) -> Self {
        Self {
            log_max,
            counts: Mutex::default(),
        }
    }

    /// Two answers mean the same.
    pub(super) fn same(&self, command: &'static str) {
        self.counts
            .lock()
            .commands
            .entry(command)
            .or_default()
            .compared += 1;
    }

    /// They do not. `None` is a closed connection.
    pub(super) fn different(
        &self,
        peer: &str,
        asked: &Asked,
        reference: Option<&str>,
        fingerpost: Option<&str>,
    ) {
        let differences = {
            let mut counts = self.counts.lock();
            let command = counts.commands.entry(asked.command).or_default();
            command.compared += 1;
            command.different += 1;
            counts.differences += 1;
            counts.differences
        };
        if differences > self.log_max {
            return;
        }
        tracing::warn!(
            peer,
            command = asked.command,
            request = shown(Some(&asked.text)),
            reference = shown(reference),
            fingerpost = shown(fingerpost),
            "the answers differ"
        );
        if differences == self.log_max {
            tracing::warn!("further differences are counted, not logged");
        }
    }

    /// A connection's comparison fell too far behind.
    pub(super) fn abandoned(&self, peer: &str) {
        self.counts.lock().abandoned += 1;
        tracing::warn!(
            peer,
            "Fingerpost is too slow: this connection is not compared any more"
        );
    }

    /// Fingerpost closed a connection that the reference kept.
    pub(super) fn closed_first(&self, peer: &str) {
        self.counts.lock().closed_first += 1;
        tracing::warn!(
            peer,
            "Fingerpost closed first: this connection is not compared any more"
        );
    }

    /// Fingerpost could not be reached for a connection.
    pub(super) fn unreachable(&self, peer: &str, error: &std::io::Error) {
        self.counts.lock().unreachable += 1;
        tracing::warn!(peer, %error, "Fingerpost cannot be reached: this connection is not compared");
    }

    pub(super) fn differences(&self) -> u64 {
        self.counts.lock().differences
    }

    /// The counts as lines.
    pub(super) fn summary(&self) -> String {
        let counts = self.counts.lock();
        let mut text = String::new();
        for (command, count) in &counts.commands {
            let _ = writeln!(
                text,
                "{command}: {} compared, {} different",
                count.compared, count.different
            );
        }
        for (what, count) in [
            ("connections whose comparison fell behind", counts.abandoned),
            (
                "connections for which Fingerpost could not be reached",
                counts.unreachable,
            ),
            (
                "connections that Fingerpost closed first",
                counts.closed_first,
            ),
        ] {
            if count > 0 {
                let _ = writeln!(text, "{what}: {count}");
            }
        }
        let _ = writeln!(text, "{} differences", counts.differences);
        text
    }
}

/// The beginning of a text; what may hold a token is not shown.
fn shown(text: Option<&str>) -> String {
    let Some(text) = text else {
        return "(closed)".to_owned();
    };
    if text.contains("\"token\"") {
        return "(has a token)".to_owned();
    }
    match text.char_indices().nth(SHOWN_BYTES) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_by_command() {
        let tally = Tally::new(0);
        tally.same("get");
        let asked = Asked {
            command: "get",
            text: String::new(),
        };
        tally.different("peer", &asked, None, Some("null"));
        tally.abandoned("peer");
        assert_eq!(
            tally.summary(),
            "get: 2 compared, 1 different\nconnections whose comparison fell behind: 1\n1 differences\n"
        );
        assert_eq!(tally.differences(), 1);
    }

    #[test]
    fn tokens_are_not_shown_and_long_texts_are_cut() {
        assert_eq!(shown(Some(r#"{"token": "x"}"#)), "(has a token)");
        assert_eq!(shown(None), "(closed)");
        assert!(shown(Some(&"ä".repeat(10_000))).len() < 1100);
    }
}
