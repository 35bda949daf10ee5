//! What an agent tells of itself at `/agent/status`, and how people read it.

use serde::{Deserialize, Serialize};

/// How an agent is. A reader takes what a newer or older agent leaves out as nothing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// The agent's process.
    pub pid: u32,
    /// How long it has run.
    pub uptime_seconds: u64,
    /// The server that it asks.
    pub server: ServerStatus,
    /// What keeps builds from waiting for a server that does not answer.
    pub breaker: BreakerState,
    /// Tasks that builds asked for.
    pub lookups: u64,
    /// Those of them that were answered without asking the server.
    pub answered_locally: u64,
    /// Where answers came from.
    pub hit_ratios: HitRatios,
    /// Seconds that builds did not wait, at least: for each answer of the server that look-ups
    /// needed none of, as long as such an answer takes. Look-ups that are sent together wait for
    /// one together. `None` before it answered any.
    pub seconds_saved: Option<f64>,
    /// What is kept of the server's mappings, where it can be followed.
    pub followed: Option<FollowedStatus>,
    /// Reports that the server has not seen.
    pub spool: SpoolStatus,
    /// Reports that the server refused for good.
    pub dead_letters: u64,
    /// Look-ups that were answered as unknown because the server did not answer in time.
    pub misses_given_up: u64,
    /// Tasks whose answers are in memory.
    pub remembered: u64,
    /// What is counted besides, since the start.
    pub counts: Counts,
}

/// What an agent counts besides look-ups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Counts {
    /// Requests that are no lines of a stream.
    pub requests: u64,
    /// Tasks that the server was asked for.
    pub asked: u64,
    /// Reports that the server took at once.
    pub reports: u64,
    /// Reports that it was brought later.
    pub delivered: u64,
    /// Reports and single requests that were answered without its word.
    pub silent: u64,
    /// Reports that it will not hear of, because they could not be kept.
    pub unspooled: u64,
    /// What it refused, and a build was not told.
    pub refused: u64,
    /// Logins that succeeded without its word.
    pub logins: u64,
    /// Answers that nobody signed who is believed.
    pub disbelieved: u64,
    /// Signatures of this host that the server took.
    pub signed: u64,
    /// Reports of builds that may only read.
    pub not_passed_on: u64,
}

/// The server, as its agent sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ServerStatus {
    /// Its address.
    pub address: String,
    /// Whether it answers; `None` before it was first asked.
    pub up: Option<bool>,
    /// Whether it is sent reports, which it may fail at alone.
    pub takes_reports: bool,
    /// Since when, in RFC 3339.
    pub since: Option<String>,
    /// Why it does not answer.
    pub why: Option<String>,
    /// Its words, if it does not take the agent's login. Reports wait until it does.
    pub login_refused: Option<String>,
}

/// Whether the server is asked at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BreakerState {
    /// It is asked.
    #[default]
    Closed,
    /// It is known not to answer, and builds are answered at once.
    Open,
}

/// Parts of the look-ups, from 0 to 1, by what had a unihash for them; `None` before the
/// first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct HitRatios {
    /// The agent's memory.
    pub memory: Option<f64>,
    /// The snapshot, and what changed since.
    pub snapshot: Option<f64>,
    /// Answers of before on disk.
    pub store: Option<f64>,
}

/// What is kept of the server's mappings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct FollowedStatus {
    /// The snapshot on this host; its name at the server.
    pub snapshot: Option<String>,
    /// How long ago it was cut.
    pub snapshot_age_seconds: Option<u64>,
    /// Its rows, and the bytes of its shards.
    pub snapshot_rows: u64,
    /// The same in bytes.
    pub snapshot_bytes: u64,
    /// Changes since, in memory.
    pub changes: u64,
    /// How long ago the server told everything that it had.
    pub current_seconds: Option<u64>,
    /// Whether what is not known here is known not to be.
    pub knows_all: bool,
    /// What went wrong last, unless it went well since.
    pub trouble: Option<String>,
}

/// Reports that wait for the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct SpoolStatus {
    /// How many.
    pub count: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// How long the oldest one has waited.
    pub oldest_seconds: Option<u64>,
}

impl Status {
    /// That of an agent in this process of which nothing else is known.
    pub fn new() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            ..Self::default()
        }
    }

    /// Lines for people.
    pub(crate) fn text(&self) -> String {
        let (version, pid, up) = (&self.version, self.pid, span(self.uptime_seconds));
        let mut lines = vec![
            (
                "agent",
                format!("version {version}, process {pid}, up {up}"),
            ),
            ("server", self.server.text()),
            ("breaker", self.breaker.text().to_owned()),
            ("look-ups", self.lookups_text()),
            ("spool", self.spool.text()),
            ("refused", format!("{} reports", self.dead_letters)),
            ("given up", format!("{} look-ups", self.misses_given_up)),
        ];
        if let Some(followed) = &self.followed {
            lines.insert(4, ("snapshot", followed.text()));
        }
        let lines = lines
            .iter()
            .map(|(name, text)| format!("{name:<9}{text}\n"));
        lines.collect()
    }

    fn lookups_text(&self) -> String {
        let mut text = format!("{}, {} answered here", self.lookups, self.answered_locally);
        let HitRatios {
            memory,
            snapshot,
            store,
        } = self.hit_ratios;
        for (what, ratio) in [("memory", memory), ("snapshot", snapshot), ("disk", store)] {
            if let Some(ratio) = ratio.filter(|ratio| what == "memory" || *ratio > 0.0) {
                text += &format!(", {what} knew {:.1} %", ratio * 100.0);
            }
        }
        if let Some(seconds) = self.seconds_saved.filter(|seconds| *seconds >= 1.0) {
            text += &format!(", {} saved", span(seconds as u64));
        }
        text
    }
}

impl FollowedStatus {
    fn text(&self) -> String {
        let mut text = match (&self.snapshot, self.snapshot_age_seconds) {
            (Some(name), Some(age)) => {
                let (rows, changes) = (self.snapshot_rows, self.changes);
                format!(
                    "{name}, {rows} rows of {} ago, {changes} changes since",
                    span(age)
                )
            }
            _ => "none".to_owned(),
        };
        text += &match self.current_seconds {
            Some(seconds) => format!(", deletions heard of up to {} ago", span(seconds)),
            None => ", deletions not heard of yet".to_owned(),
        };
        if let Some(trouble) = &self.trouble {
            text += &format!(": {trouble}");
        }
        text
    }
}

impl ServerStatus {
    fn text(&self) -> String {
        let does = match self.up {
            None => "was not asked yet",
            Some(true) => "answers",
            Some(false) => "does not answer",
        };
        let mut text = format!("{} {does}", self.address);
        if self.up == Some(true) && !self.takes_reports {
            text += ", and takes no reports";
        }
        if let Some(since) = &self.since {
            text += &format!(" since {since}");
        }
        if let Some(why) = &self.why {
            text += &format!(": {why}");
        }
        if let Some(why) = &self.login_refused {
            text += &format!("; it does not take the agent's login: {why}");
        }
        text
    }
}

impl BreakerState {
    const fn text(self) -> &'static str {
        match self {
            Self::Closed => "closed: the server is asked",
            Self::Open => "open: builds are answered at once, the server is tried quietly",
        }
    }
}

impl SpoolStatus {
    fn text(&self) -> String {
        let mut text = format!("{} reports, {} bytes", self.count, self.bytes);
        if let Some(seconds) = self.oldest_seconds {
            text += &format!(", the oldest has waited {}", span(seconds));
        }
        text
    }
}

/// A time as people say it, in its two largest units.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            version: "1.2.3".to_owned(),
            pid: 7,
            uptime_seconds: 3700,
            server: ServerStatus {
                address: "h:1".to_owned(),
                ..ServerStatus::default()
            },
            ..Status::new()
        }
    }

    #[test]
    fn people_read_lines() {
        let before = "\
            agent    version 0.1.0, process 7, up 1 h 1 min\n\
            server   h:1 was not asked yet\n\
            breaker  closed: the server is asked\n\
            look-ups 0, 0 answered here\n\
            spool    0 reports, 0 bytes\n\
            refused  0 reports\n\
            given up 0 look-ups\n";
        let new = Status {
            version: "0.1.0".to_owned(),
            pid: 7,
            ..status()
        };
        assert_eq!(new.text(), before);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let status = Status {
            server: ServerStatus {
                address: "h:1".to_owned(),
                up: Some(false),
                takes_reports: false,
                since: Some("2026-11-27T00:00:00Z".to_owned()),
                why: Some("connection refused".to_owned()),
                login_refused: Some("Unauthorized".to_owned()),
            },
            lookups: 4,
            answered_locally: 3,
            hit_ratios: HitRatios {
                memory: Some(0.75),
                snapshot: Some(0.2),
                store: Some(0.0),
            },
            seconds_saved: Some(61.5),
            followed: Some(FollowedStatus {
                snapshot: Some("s1".to_owned()),
                snapshot_age_seconds: Some(120),
                snapshot_rows: 1000,
                changes: 3,
                current_seconds: Some(2),
                ..FollowedStatus::default()
            }),
            spool: SpoolStatus {
                count: 2,
                bytes: 9,
                oldest_seconds: Some(61),
            },
            ..status()
        };
        let text = status.text();
        for line in [
            "h:1 does not answer since 2026-11-27T00:00:00Z: connection refused; \
             it does not take the agent's login: Unauthorized\n",
            "4, 3 answered here, memory knew 75.0 %, snapshot knew 20.0 %, 1 min 1 s saved\n",
            "snapshot s1, 1000 rows of 2 min 0 s ago, 3 changes since, deletions heard of up to 2 s ago\n",
            "2 reports, 9 bytes, the oldest has waited 1 min 1 s\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn the_layer_for_bitbake_finds_two_whole_numbers() {
        let json = serde_json::to_value(status()).unwrap();
        assert!(json["lookups"].is_u64() && json["answered_locally"].is_u64());
        assert_eq!(json["breaker"], "closed");
        assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status());
    }

    #[test]
    fn another_versions_status_is_read_as_far_as_it_goes() {
        let text = r#"{"pid": 3, "lookups": 5, "new": {"of": "later"}}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!((status.pid, status.lookups), (3, 5));
    }
}
