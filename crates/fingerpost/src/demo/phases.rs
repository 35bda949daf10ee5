//! What happens to the server, one thing after the other.

use std::time::Duration;

/// What is done when a phase begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing: all is well.
    None,
    /// The server is killed, and refuses connections since it is gone.
    Kill,
    /// It is started again, with the same database.
    Restart,
    /// It takes connections and requests, and answers nothing.
    Stall,
    /// It answers again, what was asked meanwhile too.
    Resume,
    /// It moves far away: [`AWAY`] for each way.
    Move,
    /// It comes back.
    Return,
}

/// A time in which the server is one way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    /// One word for the screen.
    pub(super) name: &'static str,
    pub(super) event: Event,
    pub(super) lasts: Duration,
    /// Builds of each builder.
    pub(super) builds: usize,
}

/// Part of a build's time between the first builder's begin and the last one's.
pub(super) const STAGGER: f64 = 0.25;
/// One way between agent and server when it is far away; an answer takes two.
pub(super) const AWAY: Duration = Duration::from_millis(25);

/// All of them, which take about a minute, or some seconds.
pub(super) fn all(is_quick: bool) -> Vec<Phase> {
    // What is mended gets longer than what it is mended of: an agent that found the server
    // gone tries it ever less often.
    let phases = [
        ("healthy", Event::None, 2),
        ("killed", Event::Kill, 1),
        ("restarted", Event::Restart, 2),
        ("stalled", Event::Stall, 1),
        ("resumed", Event::Resume, 2),
        ("50 ms away", Event::Move, 2),
        ("returned", Event::Return, 1),
    ];
    let build = match is_quick {
        true => Duration::from_millis(800),
        false => Duration::from_secs(4),
    };
    let phases = phases.iter().map(|(name, event, builds)| Phase {
        name,
        event: *event,
        // Builders do not begin together.
        lasts: build * *builds + build.mul_f64(STAGGER),
        builds: *builds as usize,
    });
    phases.collect()
}

/// How many tasks a builder builds in each build of each phase.
pub(super) fn shares(phases: &[Phase], tasks: usize) -> Vec<Vec<usize>> {
    let builds: usize = phases.iter().map(|phase| phase.builds).sum();
    let mut number = 0;
    let mut shares = Vec::with_capacity(phases.len());
    for phase in phases {
        let of_phase = (0..phase.builds).map(|_| {
            let until = |build: usize| tasks * build / builds;
            number += 1;
            until(number) - until(number - 1)
        });
        shares.push(of_phase.collect());
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tasks_are_shared_out() {
        let check = |tasks: usize| {
            for is_quick in [true, false] {
                let phases = all(is_quick);
                let shares = shares(&phases, tasks);
                assert_eq!(shares.len(), phases.len());
                assert_eq!(shares.iter().flatten().sum::<usize>(), tasks);
            }
        };
        check(15_000);
        check(3);
    }
}
