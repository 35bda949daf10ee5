//! One connection's copy: what its client said goes to Fingerpost as well, and
//! what both servers answered is compared.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_hashequiv_proto::client::AnswerInbox;
use fingerpost_hashequiv_proto::request;
use fingerpost_hashequiv_proto::{Framing, Inbound, Inbox, Limits, Mode};
use fingerpost_net::Address;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::answers::same;
use super::door::{Side, connect};
use super::tally::{Asked, Tally};

/// Reads that wait to be compared; with more, the comparison is given up.
const EVENTS_MAX: usize = 256;
/// Bytes of requests and answers that wait for their counterparts.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// How long Fingerpost may take for what the reference has answered when the
/// connection ends.
const GRACE: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What happened on the connection between client and reference.
#[derive(Debug)]
pub(super) enum Event {
    FromClient(Vec<u8>),
    FromReference(Vec<u8>),
    /// The reference closed before the client did.
    ReferenceClosed,
}

/// Tells a mirror what happens; never waits.
pub(super) struct MirrorHandle {
    events: Option<mpsc::Sender<Event>>,
    tally: Arc<Tally>,
    peer: String,
}

impl MirrorHandle {
    /// Passes an event on, unless the comparison is too far behind: then it is
    /// given up.
    pub(super) fn tell(&mut self, event: Event) {
        let Some(events) = &self.events else {
            return;
        };
        if let Err(error) = events.try_send(event) {
            self.events = None;
            if matches!(error, mpsc::error::TrySendError::Full(_)) {
                self.tally.abandoned(&self.peer);
            }
        }
    }
}

/// Makes the mirror of a connection. The future ends when the handle is dropped
/// and Fingerpost has answered or had its time.
pub(super) fn mirror(
    fingerpost: Address,
    peer: String,
    tally: Arc<Tally>,
) -> (MirrorHandle, impl Future<Output = ()> + Send) {
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let handle = MirrorHandle {
        events: Some(sender),
        tally: Arc::clone(&tally),
        peer: peer.clone(),
    };
    let running = async move {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, connect(&fingerpost));
        let connected = connecting
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match connected {
            Ok(stream) => Mirror::new(peer, tally).run(stream, events).await,
            Err(error) => tally.unreachable(&peer, &error),
        }
    };
    (handle, running)
}

struct Mirror {
    peer: String,
    tally: Arc<Tally>,
    comparison: Comparison,
}

impl Mirror {
    fn new(peer: String, tally: Arc<Tally>) -> Self {
        Self {
            peer,
            tally,
            comparison: Comparison::new(),
        }
    }

    async fn run(mut self, stream: Box<dyn Side>, mut events: mpsc::Receiver<Event>) {
        let (mut from_fingerpost, mut to_fingerpost) = tokio::io::split(stream);
        let mut outgoing: Vec<u8> = Vec::new();
        let mut incoming = vec![0; 16 << 10];
        let mut reference_closed = false;
        let mut deadline = pin!(tokio::time::sleep(Duration::MAX));
        let mut ended = false;
        loop {
            tokio::select! {
                event = events.recv(), if !ended => match event {
                    Some(Event::FromClient(bytes)) => {
                        outgoing.extend_from_slice(&bytes);
                        self.comparison.asked(&bytes);
                    }
                    Some(Event::FromReference(bytes)) => self.comparison.reference(&bytes),
                    Some(Event::ReferenceClosed) => reference_closed = true,
                    None => {
                        ended = true;
                        deadline.as_mut().reset(tokio::time::Instant::now() + GRACE);
                    }
                },
                written = to_fingerpost.write(&outgoing), if !outgoing.is_empty() => match written {
                    Ok(count) => drop(outgoing.drain(..count)),
                    // It closed; what it answered before is read still.
                    Err(_) => outgoing.clear(),
                },
                read = from_fingerpost.read(&mut incoming) => match read {
                    Ok(count) if count > 0 => self.comparison.fingerpost(&incoming[..count]),
                    _ => {
                        self.comparison.fingerpost_closed = true;
                        break;
                    }
                },
                () = &mut deadline, if ended => break,
            }
            self.compare();
            if self.comparison.is_overfull(outgoing.len()) {
                self.tally.abandoned(&self.peer);
                return;
            }
            if ended && outgoing.is_empty() && self.comparison.is_settled() {
                break;
            }
        }
        if !ended {
            self.drain(&mut events, &mut reference_closed).await;
        }
        if self.comparison.fingerpost_closed && !ended && !reference_closed {
            self.tally.closed_first(&self.peer);
        }
        if reference_closed || self.comparison.fingerpost_closed {
            self.compare_ends(reference_closed);
        }
    }

    /// After Fingerpost closed: what the reference answers to requests that were
    /// sent before still counts.
    async fn drain(&mut self, events: &mut mpsc::Receiver<Event>, reference_closed: &mut bool) {
        let draining = async {
            while let Some(event) = events.recv().await {
                match event {
                    Event::FromClient(bytes) => self.comparison.asked(&bytes),
                    Event::FromReference(bytes) => self.comparison.reference(&bytes),
                    Event::ReferenceClosed => *reference_closed = true,
                }
                self.compare();
                // One answer that Fingerpost did not give tells enough.
                if !self.comparison.of_reference.is_empty() || *reference_closed {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(GRACE, draining).await;
    }

    /// Compares what both have answered.
    fn compare(&mut self) {
        while let Some((asked, reference, fingerpost)) = self.comparison.next() {
            if same(&reference, &fingerpost) {
                self.tally.same(asked.command);
            } else {
                let answers = (Some(reference.as_str()), Some(fingerpost.as_str()));
                self.tally
                    .different(&self.peer, &asked, answers.0, answers.1);
            }
        }
    }

    /// Compares how the connection ended: the first request that only one of
    /// them answered, or that neither did.
    fn compare_ends(&mut self, reference_closed: bool) {
        let Some(asked) = self.comparison.requests.pop_front() else {
            return;
        };
        let reference = self.comparison.of_reference.pop_front();
        let fingerpost = self.comparison.of_fingerpost.pop_front();
        match (&reference, &fingerpost) {
            (None, None) if reference_closed && self.comparison.fingerpost_closed => {
                self.tally.same(asked.command);
            }
            // The client left before anybody answered.
            (None, None) if !reference_closed => {}
            (reference, fingerpost) => {
                let answers = (reference.as_deref(), fingerpost.as_deref());
                self.tally
                    .different(&self.peer, &asked, answers.0, answers.1);
            }
        }
    }
}

/// Three streams of bytes, and what was taken from them and not compared.
struct Comparison {
    client: Inbox,
    mode: Mode,
    from_reference: AnswerInbox,
    from_fingerpost: AnswerInbox,
    requests: VecDeque<Asked>,
    of_reference: VecDeque<String>,
    of_fingerpost: VecDeque<String>,
    waiting_bytes: usize,
    fingerpost_closed: bool,
    /// Bytes came that are not the protocol: nothing more can be compared.
    lost: bool,
}

impl Comparison {
    fn new() -> Self {
        let answers = || AnswerInbox::new(Framing::Lines, Limits::default());
        Self {
            client: Inbox::new(Framing::Lines, Limits::default()),
            mode: Mode::Requests,
            from_reference: answers(),
            from_fingerpost: answers(),
            requests: VecDeque::new(),
            of_reference: VecDeque::new(),
            of_fingerpost: VecDeque::new(),
            waiting_bytes: 0,
            fingerpost_closed: false,
            lost: false,
        }
    }

    /// Takes in what the client sent.
    fn asked(&mut self, bytes: &[u8]) {
        self.client.push(bytes);
        while !self.lost {
            let asked = match self.client.next(self.mode) {
                Ok(Some(inbound)) => asked(inbound, &mut self.mode),
                Ok(None) => return,
                Err(_) => {
                    // Both servers close on it; nothing after it is answered.
                    self.lost = true;
                    Some(Asked {
                        command: "(not the protocol)",
                        text: String::new(),
                    })
                }
            };
            if let Some(asked) = asked {
                self.waiting_bytes += asked.text.len();
                self.requests.push_back(asked);
            }
        }
    }

    fn reference(&mut self, bytes: &[u8]) {
        let taken = take_answers(&mut self.from_reference, bytes, &mut self.of_reference);
        self.waiting_bytes += taken;
    }

    fn fingerpost(&mut self, bytes: &[u8]) {
        let taken = take_answers(&mut self.from_fingerpost, bytes, &mut self.of_fingerpost);
        self.waiting_bytes += taken;
    }

    /// The next request that both have answered.
    fn next(&mut self) -> Option<(Asked, String, String)> {
        if self.requests.is_empty() || self.of_reference.is_empty() || self.of_fingerpost.is_empty()
        {
            return None;
        }
        let asked = self.requests.pop_front()?;
        let reference = self.of_reference.pop_front()?;
        let fingerpost = self.of_fingerpost.pop_front()?;
        self.waiting_bytes -= asked.text.len() + reference.len() + fingerpost.len();
        Some((asked, reference, fingerpost))
    }

    /// Whether every answer of the reference was compared.
    fn is_settled(&self) -> bool {
        self.of_reference.is_empty() && self.requests.is_empty()
    }

    fn is_overfull(&self, outgoing: usize) -> bool {
        let unread =
            self.client.pending() + self.from_reference.pending() + self.from_fingerpost.pending();
        self.waiting_bytes + unread + outgoing > WAITING_BYTES_MAX
    }
}

fn take_answers(inbox: &mut AnswerInbox, bytes: &[u8], answers: &mut VecDeque<String>) -> usize {
    inbox.buffer().extend_from_slice(bytes);
    let mut taken = 0;
    // An answer that breaks the rules ends what can be compared: its request
    // stays unanswered.
    while let Ok(Some(answer)) = inbox.next() {
        taken += answer.len();
        answers.push_back(answer.to_owned());
    }
    taken
}

/// What is to be answered, and what mode the client is in behind it.
fn asked(inbound: Inbound<'_>, mode: &mut Mode) -> Option<Asked> {
    let (command, text) = match inbound {
        Inbound::Opened { needs_headers } => {
            // The header block of both servers is one empty line.
            return needs_headers.then(|| Asked {
                command: "handshake",
                text: String::new(),
            });
        }
        Inbound::Goodbye => return None,
        Inbound::Line(line) => ("stream line", line),
        Inbound::StreamEnd => {
            *mode = Mode::Requests;
            ("stream end", "END")
        }
        Inbound::Request(text) => {
            let command = command_of(text);
            if command.ends_with("-stream") {
                *mode = Mode::Stream;
            }
            (command, text)
        }
    };
    let has_secret = command == "auth";
    Some(Asked {
        command,
        text: if has_secret {
            String::new()
        } else {
            text.to_owned()
        },
    })
}

/// The command that a server would choose.
fn command_of(text: &str) -> &'static str {
    let commands = super::door::command_names();
    let known = |key: &str| commands.iter().position(|name| *name == key);
    match request::select(text, &known) {
        Ok(selected) => commands[selected.index],
        Err(_) => "(unknown)",
    }
}
