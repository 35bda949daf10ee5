//! What a connection asks, one request after the other.

use std::sync::Arc;

use fingerpost_hashequiv_proto::types::encode_hex;

use super::draw::Draw;
use super::http::HttpArgs;
use super::listing::Trees;
use super::wire::{ENTER_STREAM, Expected, HANDSHAKE, LEAVE_STREAM, Wire};

/// The two protocols under comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Protocol {
    /// BitBake's line protocol, version 1.1.
    Hashequiv,
    /// Redis' protocol, GET and SET only.
    Redis,
    /// The JSON door over HTTP/1.1, look-ups of one task only; or any other server
    /// of HTTP with `--http-path`.
    Http,
}

/// The kinds of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Mode {
    /// Look-ups, one JSON message each (Redis: GET).
    Get,
    /// Look-ups, one line each (Redis: GET).
    GetStream,
    /// Reports of new results.
    Report,
    /// Twenty look-ups of a stream, then one report, over and over.
    Mixed,
    /// Stores each key once: report-equiv (Redis: SET).
    Store,
}

/// What the reports of a run are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Siginfo {
    /// No siginfo; 20,000 different tasks.
    None,
    /// Every report is about a task that was never seen.
    New,
    /// Eight of ten reports rebuild a task seen before: 2 to 30 % of the
    /// listing's lines differ from its first build.
    Rebuild,
    /// The same, but 2 to 30 % differ from the build before, so that tasks
    /// drift away from what they were.
    Drift,
}

/// Look-ups between two reports in mixed mode.
const LOOKUPS_PER_REPORT: u32 = 20;
/// Reports with numbers from here on do not meet the keys of look-ups.
const FIRST_REPORT: u64 = 1 << 40;
const TASKS: [&str; 8] = [
    "do_populate_sysroot",
    "do_package",
    "do_packagedata",
    "do_package_write_ipk",
    "do_populate_lic",
    "do_package_qa",
    "do_deploy",
    "do_create_spdx",
];

/// Makes the requests of one thread.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) protocol: Protocol,
    pub(super) mode: Mode,
    pub(super) wire: Wire,
    pub(super) draw: Draw,
    pub(super) reporter: Option<Reporter>,
    pub(super) http: HttpArgs,
}

impl Script {
    /// What a new connection sends before its first request.
    pub(super) fn open(&self, out: &mut Vec<u8>) -> Option<Expected> {
        if self.protocol != Protocol::Hashequiv {
            return None;
        }
        out.extend_from_slice(HANDSHAKE);
        (self.mode == Mode::GetStream).then(|| {
            out.extend_from_slice(ENTER_STREAM);
            Expected::Entered
        })
    }

    /// Appends one request, and in mixed mode what changes the mode before it.
    /// `step` belongs to the connection. Hands the expected answers to `sent`;
    /// exactly one of them counts.
    pub(super) fn push(
        &mut self,
        out: &mut Vec<u8>,
        step: &mut u32,
        mut sent: impl FnMut(Expected),
    ) {
        match (self.protocol, self.mode) {
            (Protocol::Redis, Mode::Store) => {
                self.wire.push_redis_set(out, self.draw.next().key);
                sent(Expected::Stored);
            }
            (Protocol::Redis, _) => sent(self.push_redis_get(out)),
            (Protocol::Http, _) => {
                let drawn = self.draw.next();
                sent(self.http.push(out, &self.wire, drawn.key, drawn.present));
            }
            (Protocol::Hashequiv, Mode::Get) => sent(self.push_get(out)),
            (Protocol::Hashequiv, Mode::GetStream) => sent(self.push_line(out)),
            (Protocol::Hashequiv, Mode::Report) => sent(self.push_report(out)),
            (Protocol::Hashequiv, Mode::Mixed) => self.push_mixed(out, step, sent),
            (Protocol::Hashequiv, Mode::Store) => {
                let key = self.draw.next().key;
                self.wire.push_report_equiv(out, key);
                sent(Expected::Row(key));
            }
        }
    }

    fn push_mixed(&mut self, out: &mut Vec<u8>, step: &mut u32, mut sent: impl FnMut(Expected)) {
        if *step == 0 {
            out.extend_from_slice(ENTER_STREAM);
            sent(Expected::Entered);
        }
        if *step < LOOKUPS_PER_REPORT {
            sent(self.push_line(out));
            *step += 1;
        } else {
            out.extend_from_slice(LEAVE_STREAM);
            sent(Expected::Left);
            sent(self.push_report(out));
            *step = 0;
        }
    }

    fn push_line(&mut self, out: &mut Vec<u8>) -> Expected {
        let drawn = self.draw.next();
        self.wire.push_stream_line(out, drawn.key);
        if drawn.present {
            Expected::Line(drawn.key)
        } else {
            Expected::Blank
        }
    }

    fn push_get(&mut self, out: &mut Vec<u8>) -> Expected {
        let drawn = self.draw.next();
        self.wire.push_get(out, drawn.key);
        if drawn.present {
            Expected::Row(drawn.key)
        } else {
            Expected::Null
        }
    }

    fn push_redis_get(&mut self, out: &mut Vec<u8>) -> Expected {
        let drawn = self.draw.next();
        self.wire.push_redis_get(out, drawn.key);
        if drawn.present {
            Expected::Bulk(drawn.key)
        } else {
            Expected::Nil
        }
    }

    fn push_report(&mut self, out: &mut Vec<u8>) -> Expected {
        let reporter = self
            .reporter
            .as_mut()
            .expect("modes that report have a reporter");
        let key = reporter.push(out, &self.wire, &mut self.draw);
        Expected::Row(key)
    }
}

/// Makes the reports of one thread. Every report has a taskhash and an outhash
/// of its own, so that the server stores each and answers its own unihash.
#[derive(Debug)]
pub(super) struct Reporter {
    siginfo: Siginfo,
    /// Present unless there is no siginfo.
    trees: Option<Arc<Trees>>,
    siginfo_bytes: usize,
    /// The number of the next report; threads take turns.
    next: u64,
    threads: u64,
    /// The tasks this thread has reported, by how often they were rebuilt.
    rebuilds: Vec<u32>,
}

impl Reporter {
    /// The reports number `first`, `first + threads`, ... of a run.
    pub(super) const fn new(
        siginfo: Siginfo,
        trees: Option<Arc<Trees>>,
        siginfo_bytes: usize,
        first: u64,
        threads: u64,
    ) -> Self {
        Self {
            siginfo,
            trees,
            siginfo_bytes,
            next: first,
            threads,
            rebuilds: Vec::new(),
        }
    }

    /// Appends a report and returns its key.
    fn push(&mut self, out: &mut Vec<u8>, wire: &Wire, draw: &mut Draw) -> u64 {
        let key = FIRST_REPORT + self.next;
        let (task, version) = self.task(draw);
        self.next += self.threads;
        out.extend_from_slice(b"{\"report\": {\"taskhash\": \"");
        out.extend_from_slice(&encode_hex(&wire.keys.taskhash(key)));
        out.extend_from_slice(b"\", \"method\": \"");
        out.extend_from_slice(wire.method.as_bytes());
        out.extend_from_slice(b"\", \"outhash\": \"");
        out.extend_from_slice(&encode_hex(&wire.keys.outhash(key)));
        out.extend_from_slice(b"\", \"unihash\": \"");
        out.extend_from_slice(&encode_hex(&wire.keys.unihash(key)));
        out.extend_from_slice(metadata(task).as_bytes());
        if let Some(trees) = &self.trees {
            out.extend_from_slice(b", \"outhash_siginfo\": \"OEOuthashBasic\\n");
            let builds = match self.siginfo {
                Siginfo::Drift => 1..=version,
                _ => version.max(1)..=version,
            };
            trees.push_listing(out, task, builds, self.siginfo_bytes);
            out.push(b'"');
        }
        out.extend_from_slice(b"}}\n");
        key
    }

    /// The task of the next report, and how often it was rebuilt.
    fn task(&mut self, draw: &mut Draw) -> (u64, u32) {
        match self.siginfo {
            Siginfo::None => (draw.below(20_000), 0),
            Siginfo::New => (self.next, 0),
            Siginfo::Rebuild | Siginfo::Drift => {
                let known = self.rebuilds.len() as u64;
                if known == 0 || draw.below(10) < 2 {
                    self.rebuilds.push(0);
                    return (self.numbered(known), 0);
                }
                let chosen = draw.below(known);
                let rebuilds = &mut self.rebuilds[chosen as usize];
                *rebuilds += 1;
                (self.numbered(chosen), self.rebuilds[chosen as usize])
            }
        }
    }

    /// This thread's task `index` among those of all threads.
    const fn numbered(&self, index: u64) -> u64 {
        index * self.threads + self.next % self.threads
    }
}

/// The fields that name a task, from the unihash's closing quote on.
fn metadata(task: u64) -> String {
    let recipe = task / TASKS.len() as u64;
    let name = TASKS[(task % TASKS.len() as u64) as usize];
    format!(
        "\", \"owner\": \"builder\", \"PN\": \"recipe-{recipe}\", \"PV\": \"1.{}\", \"PR\": \"r0\", \
         \"task\": \"{name}\"",
        recipe % 40
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::draw::Distribution;
    use crate::bench::keys::{Keys, METHOD};

    fn script(mode: Mode, siginfo: Siginfo) -> Script {
        Script {
            protocol: Protocol::Hashequiv,
            mode,
            wire: Wire {
                keys: Keys::new(1),
                method: METHOD.to_owned(),
            },
            draw: Draw::random(Distribution::Uniform, 100, 0.0, 1).unwrap(),
            reporter: Some(Reporter::new(siginfo, None, 0, 0, 1)),
            http: HttpArgs::default(),
        }
    }

    #[test]
    fn mixed_load_reports_after_twenty_look_ups() {
        let mut script = script(Mode::Mixed, Siginfo::None);
        let (mut out, mut step, mut sent) = (Vec::new(), 0, Vec::new());
        for _ in 0..42 {
            script.push(&mut out, &mut step, |expected| sent.push(expected));
        }
        assert_eq!(sent.iter().filter(|expected| expected.counts()).count(), 42);
        assert_eq!(
            sent.iter()
                .filter(|expected| matches!(expected, Expected::Row(_)))
                .count(),
            2
        );
        assert_eq!(sent[0], Expected::Entered);
        assert_eq!(sent[21], Expected::Left);
    }

    #[test]
    fn reports_are_json_with_a_key_of_their_own() {
        let mut script = script(Mode::Report, Siginfo::None);
        let (mut out, mut sent) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            script.push(&mut out, &mut 0, |expected| sent.push(expected));
        }
        assert_ne!(sent[0], sent[1]);
        for line in String::from_utf8(out).unwrap().lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["report"]["unihash"].as_str().unwrap().len(), 64);
        }
    }

    #[test]
    fn eight_of_ten_reports_rebuild() {
        let mut draw = Draw::random(Distribution::Uniform, 100, 0.0, 1).unwrap();
        let mut reporter = Reporter::new(Siginfo::Rebuild, None, 0, 0, 1);
        let rebuilt = (0..10_000)
            .filter(|_| reporter.task(&mut draw).1 > 0)
            .count();
        assert!((7_700..8_300).contains(&rebuilt), "{rebuilt}");
    }
}
