//! What builds noticed of it all.

use std::time::Duration;

use super::checking::End;
use super::farm::Seen;
use super::phases::Event;
use super::reference::{self, words};

/// Everything that is worth telling.
pub(super) struct Summary {
    pub(super) phases: Vec<Seen>,
    pub(super) end: End,
    /// How long a build may wait.
    pub(super) deadline: Duration,
}

impl Summary {
    /// Whether all builds went well, and nothing that they reported was lost.
    pub(super) const fn is_clean(&self) -> bool {
        let end = &self.end;
        end.builds.builds > 0 && end.builds.failed == 0 && end.missing == 0 && end.left == 0
    }

    /// A table and some sentences.
    pub(super) fn text(&self) -> String {
        let head = [
            ["", "", "", "longest", "builds", "reports", "brought"],
            ["phase", "s", "look-ups", "wait", "failed", "kept", "later"],
        ];
        let [above, below] = head.map(|words| words.map(str::to_owned));
        let mut text = row(&above, "the reference client alone");
        text += &row(&below, "would wait (computed)");
        for seen in &self.phases {
            let cells = [
                seen.name.to_owned(),
                format!("{:.1}", seen.lasted.as_secs_f64()),
                seen.builds.lookups.to_string(),
                words(seen.builds.longest),
                seen.builds.failed.to_string(),
                seen.agent.kept.to_string(),
                seen.agent.later.to_string(),
            ];
            text += &row(&cells, &reference::waits(seen.event));
        }
        text + "\n" + &self.builds() + &self.reports() + &self.reference()
    }

    fn builds(&self) -> String {
        let builds = &self.end.builds;
        let longest = self.phases.iter().map(|seen| seen.builds.longest).max();
        let failed = match builds.failed {
            0 => "none failed".to_owned(),
            failed => format!("{failed} FAILED"),
        };
        let mut text = format!(
            "builds: {}, {failed}; longest wait of a build: {:.3} s, its deadline: {} s\n",
            builds.builds,
            longest.unwrap_or_default().as_secs_f64(),
            self.deadline.as_secs_f64(),
        );
        if let Some(trouble) = &self.end.trouble {
            text += &format!("  the first that failed: {trouble}\n");
        }
        text
    }

    fn reports(&self) -> String {
        let End {
            reported,
            missing,
            left,
            builds,
            agent,
            ..
        } = &self.end;
        let lost = match (missing, left) {
            (0, 0) => "none is lost, the server was asked for each task".to_owned(),
            _ => format!("{missing} MISSING on the server, {left} still with the agent"),
        };
        format!(
            "reports: {} of {reported} different tasks; {} of them the agent kept and brought later,\n  \
             {lost}\n  \
             {} had an output that was there already, and share its result\n",
            builds.reports, agent.later, builds.same_output,
        )
    }

    /// A build of the phase in which the server hung, if it had gone on hanging.
    fn reference(&self) -> String {
        let mut text = format!("computed, not measured: {}", reference::basis());
        let stalled = self.phases.iter().find(|seen| seen.event == Event::Stall);
        if let Some(builds) = stalled.map(|seen| seen.builds).filter(|it| it.builds > 0) {
            let batches = builds.batches.div_ceil(builds.builds);
            let reports = builds.reports.div_ceil(builds.builds);
            text += &format!(
                ";\n  a build as those ({batches} batches, {reports} reports) would wait {} for a \
                 server that\n  stays stalled; one that logs in would not come to an end",
                words(reference::whole_build(batches, reports)),
            );
        }
        text + "\n"
    }
}

fn row(
    [name, seconds, lookups, longest, failed, kept, later]: &[String; 7],
    beside: &str,
) -> String {
    format!(
        "{name:<10} {seconds:>5} {lookups:>8} {longest:>7} {failed:>6} {kept:>7} {later:>7}  \
         {beside}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::farm::AgentCounts;
    use crate::demo::tally::Counts;

    fn summary() -> Summary {
        let builds = Counts {
            builds: 8,
            batches: 40,
            lookups: 8000,
            reports: 1280,
            longest: Duration::from_millis(2004),
            ..Counts::default()
        };
        let agent = AgentCounts {
            kept: 900,
            later: 12,
            ..AgentCounts::default()
        };
        Summary {
            phases: vec![Seen {
                name: "stalled",
                event: Event::Stall,
                lasted: Duration::from_secs(8),
                builds,
                agent,
            }],
            end: End {
                reported: 1200,
                builds,
                agent,
                ..End::default()
            },
            deadline: Duration::from_secs(2),
        }
    }

    #[test]
    fn a_phase_is_a_line_with_the_references_waits_beside() {
        let text = summary().text();
        let line =
            "stalled      8.0     8000   2.0 s      0     900      12  8 min/batch, 2 min/report";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("longest wait of a build: 2.004 s"), "{text}");
        // 5 batches of 8 min, 160 reports by 8 at a time, 2 min each.
        assert!(text.contains("would wait 1 h 20 min"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 90), "{text}");
    }

    #[test]
    fn what_failed_or_is_lost_is_said() {
        assert!(summary().is_clean());
        let mut failed = summary();
        failed.end.builds.failed = 1;
        failed.end.trouble = Some("closed".to_owned());
        assert!(!failed.is_clean());
        assert!(failed.text().contains("1 FAILED") && failed.text().contains("closed"));
        let mut lost = summary();
        lost.end.missing = 3;
        assert!(!lost.is_clean() && lost.text().contains("3 MISSING"));
    }
}
