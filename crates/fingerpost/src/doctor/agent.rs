//! An agent behind a socket: what it says of itself and of its server.

use std::path::Path;

use fingerpost_agent::{BreakerState, Status};
use fingerpost_net::connect_unix;
use tokio::time::timeout;

use super::clock::span;
use super::http;
use super::reach::STEP;
use super::report::Finding;
use super::shown;

const ID: &str = "agent";
/// Reports that have waited for longer although the server is there are stuck.
const STUCK_SECONDS: u64 = 3600;

/// Asks whoever listens. Nothing: it is no agent, or does not answer.
pub(super) async fn ask(path: &Path) -> Option<Status> {
    let asking = async {
        let stream = connect_unix(path).await?;
        http::get(stream, "localhost", "/agent/status").await
    };
    let answer = timeout(STEP, asking).await.ok()?.ok()?;
    let is_fine = answer.status == 200;
    is_fine.then(|| serde_json::from_slice(&answer.body).ok())?
}

/// Judges what an agent says, before and after it was asked for a task that it cannot know.
pub(super) fn judge(before: &Status, after: &Status) -> Vec<Finding> {
    let gave_up = after.misses_given_up > before.misses_given_up;
    let mut findings = vec![server(after, gave_up)];
    findings.extend(spool(after));
    findings
}

/// `gave_up`: a look-up was not answered just now, of which the agent's view of its server
/// may not know yet.
fn server(status: &Status, gave_up: bool) -> Finding {
    let address = shown::url(&status.server.address);
    let version = &status.version;
    let since = status.server.since.as_deref().unwrap_or("its start");
    if let Some(why) = &status.server.login_refused {
        return Finding::problem(
            ID,
            format!(
                "builds go on, but the agent's server {address} does not take the agent's login ({why}), \
                 and reports wait until it does: give the agent another one (--token-file, --username)"
            ),
        );
    }
    match (status.server.up, status.breaker) {
        (Some(false), _) | (_, BreakerState::Open) => {
            let why = status.server.why.as_deref().unwrap_or("no reason known");
            Finding::problem(
                ID,
                format!(
                    "builds go on, but the agent's server {address} has not answered since {since} \
                     ({why}): bring it back, or correct --server of the agent"
                ),
            )
        }
        _ if gave_up => Finding::problem(
            ID,
            format!(
                "builds go on, but the agent's server {address} did not answer a look-up just now: see \
                 the agent's log, and look after the server"
            ),
        ),
        (None, _) => Finding::ok(
            ID,
            format!("agent {version}, which has not asked {address} yet"),
        ),
        (Some(true), _) if !status.server.takes_reports => Finding::warning(
            ID,
            format!(
                "the agent's server {address} takes no reports, so what is built here is not shared: \
                 give the agent a login that may report (--username, --password-file)"
            ),
        ),
        (Some(true), _) => Finding::ok(ID, format!("agent {version}, and {address} answers it")),
    }
}

fn spool(status: &Status) -> Vec<Finding> {
    const ID: &str = "spool";
    let mut findings = Vec::new();
    let spool = &status.spool;
    let age = spool.oldest_seconds.unwrap_or_default();
    let says = format!(
        "{} reports wait for the server, the oldest for {}",
        spool.count,
        span(age)
    );
    findings.push(match (spool.count, age) {
        (0, _) => Finding::ok(ID, "no report waits for the server"),
        (_, ..=STUCK_SECONDS) => Finding::ok(ID, says),
        _ => Finding::warning(
            ID,
            format!("{says}: look into the agent's log why they are not taken"),
        ),
    });
    if status.dead_letters > 0 {
        findings.push(Finding::warning(
            ID,
            format!(
                "the server refused {} reports for good: look into the agent's log, and give its login \
                 @report",
                status.dead_letters
            ),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use fingerpost_agent::{ServerStatus, SpoolStatus};

    use super::super::report::State;
    use super::*;

    fn states(status: &Status) -> Vec<State> {
        judge(status, status)
            .iter()
            .map(|found| found.state)
            .collect()
    }

    fn status(up: Option<bool>) -> Status {
        Status {
            server: ServerStatus {
                address: "wss://h:443".to_owned(),
                up,
                takes_reports: true,
                since: None,
                why: Some("connection refused".to_owned()),
                login_refused: None,
            },
            ..Status::new()
        }
    }

    #[test]
    fn an_agent_is_as_good_as_its_server() {
        assert_eq!(states(&status(Some(true))), [State::Ok, State::Ok]);
        assert_eq!(states(&status(None)), [State::Ok, State::Ok]);
        let down = server(&status(Some(false)), false);
        assert_eq!(down.state, State::Problem);
        assert!(down.says.contains("(connection refused)"), "{}", down.says);
        assert_eq!(server(&status(Some(true)), true).state, State::Problem);
        let mut over = status(Some(true));
        over.server.login_refused = Some("Unauthorized".to_owned());
        let over = server(&over, true);
        assert_eq!(over.state, State::Problem);
        assert!(over.says.contains("login (Unauthorized)"), "{}", over.says);
        let mut refusing = status(Some(true));
        refusing.server.takes_reports = false;
        assert_eq!(states(&refusing)[0], State::Warning);
    }

    #[test]
    fn reports_that_wait_for_long_are_told() {
        let mut late = status(Some(true));
        late.spool = SpoolStatus {
            count: 3,
            bytes: 9,
            oldest_seconds: Some(7200),
        };
        late.dead_letters = 1;
        assert_eq!(states(&late), [State::Ok, State::Warning, State::Warning]);
        late.spool.oldest_seconds = Some(60);
        assert_eq!(states(&late)[1], State::Ok);
    }
}
