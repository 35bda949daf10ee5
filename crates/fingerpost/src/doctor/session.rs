//! A session with the server: whether it answers, whom it lets in, and which server it is.
//!
//! Nothing that is sent changes anything: look-ups of a hash that nobody has, streams that
//! are opened and left, and a `report-equiv` without its unihash, which every server refuses.

use std::time::Duration;

use fingerpost_core::with_causes;
use fingerpost_hashequiv_client::{
    Client, ClientError, ClientOptions, ConnectError, Credentials, Request, request,
};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::reach::STEP;
use super::report::Finding;

const SESSION: &str = "session";
const LOGIN: &str = "login";
const PERMISSIONS: &str = "permissions";
const SERVER: &str = "server";

/// A refused login is answered after a second.
const LOGIN_PATIENCE: Duration = Duration::from_secs(3);
/// An agent's own deadline for look-ups is two seconds, if nobody changed it.
const AGENT_PATIENCE: Duration = Duration::from_secs(3);
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Opens a session and pings.
pub(super) async fn ping(options: &ClientOptions) -> Result<Finding, Finding> {
    let mut client = Client::new(bounded(options));
    let began = Instant::now();
    match client.call(&request::ping()).await {
        Ok(answer) if answer.alive => {
            let took = began.elapsed().as_secs_f64() * 1000.0;
            let says = format!("opened and pinged within {took:.1} ms");
            Ok(Finding::ok(SESSION, says))
        }
        Ok(_) => Err(Finding::problem(
            SESSION,
            "the server says that it is not alive: restart it",
        )),
        Err(error) => Err(Finding::problem(SESSION, unpinged(&error))),
    }
}

/// Looks up a task that nobody knows; an agent has to ask its server for it.
pub(super) async fn look_up(options: &ClientOptions) {
    let hash: [u8; 32] = rand::random();
    let taskhash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let options = ClientOptions {
        receive_timeout: AGENT_PATIENCE,
        total_time: AGENT_PATIENCE,
        ..bounded(options)
    };
    // What came of it is in the agent's counts.
    _ = Client::new(options)
        .unihashes(&[("fingerpost", taskhash)])
        .await;
}

/// Who asks a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// Builds, which look up and report.
    Builds,
    /// A build's own server, which looks up and never reports.
    OwnServer,
}

/// What this caller may do, and which server it is; `named` is what it calls itself.
/// Nothing, if the server stops answering.
pub(super) async fn rights(
    options: ClientOptions,
    asker: Asker,
    named: Option<String>,
) -> Vec<Finding> {
    let mut client = Client::new(bounded(&options));
    match Known::ask(&mut client).await {
        Ok(known) => vec![known.permissions(asker), known.server(named)],
        Err(_) => Vec::new(),
    }
}

fn bounded(options: &ClientOptions) -> ClientOptions {
    ClientOptions {
        connect_timeout: STEP,
        receive_timeout: STEP,
        total_time: 2 * STEP,
        tries: 1,
        ..options.clone()
    }
}

fn unpinged(error: &ClientError) -> String {
    match error {
        ClientError::Timeout(_)
        | ClientError::Connect {
            cause: ConnectError::Timeout(_),
            ..
        } => "it accepts connections and does not answer within a second, and BitBake waits for \
              minutes at each task, with a login without end: restart the server, or let builds ask \
              an agent"
            .to_owned(),
        ClientError::Connect {
            cause: ConnectError::WebSocket(why),
            ..
        } => format!(
            "no WebSocket is opened there ({why}): correct host, port and path, or have the proxy pass \
             upgrades on"
        ),
        ClientError::Connect { cause, .. } => format!(
            "there is no way to the server ({}): check the address, and the proxy if there is one",
            with_causes(cause)
        ),
        ClientError::Closed | ClientError::Broken(_) => {
            "it closes the session, as what does not speak version 1.1 of the protocol does: correct \
             host and port, or replace the server by a newer one"
                .to_owned()
        }
        ClientError::Told(why) => format!("it refuses a ping ({why}): correct the address"),
        other => format!(
            "what answers is no hash equivalence server ({}): correct host and port",
            with_causes(other)
        ),
    }
}

/// The options with the login, if it is one.
pub(super) async fn log_in(
    options: &ClientOptions,
    credentials: Credentials,
) -> (Option<ClientOptions>, Finding) {
    let username = credentials.username.clone();
    let request = request::auth(&username, &credentials.token);
    let mut client = Client::new(ClientOptions {
        receive_timeout: LOGIN_PATIENCE,
        total_time: LOGIN_PATIENCE + STEP,
        ..bounded(options)
    });
    let problem = |says: String| (None, Finding::problem(LOGIN, says));
    match client.call(&request).await {
        Ok(answer) => {
            let permissions = answer.permissions.join(" ");
            let says = match permissions.is_empty() {
                true => format!("logged in as {username}, without permissions of its own"),
                false => format!("logged in as {username} with {permissions}"),
            };
            let options = ClientOptions {
                credentials: Some(credentials),
                ..options.clone()
            };
            (Some(options), Finding::ok(LOGIN, says))
        }
        Err(ClientError::Told(why)) => problem(format!(
            "the login as {username} is refused ({why}), which ends every build: get a new token, and \
             mind that Fingerpost refuses logins without TLS from other hosts"
        )),
        Err(ClientError::Closed) => problem(
            "the server knows no logins and closes: empty BB_HASHSERVE_USERNAME and \
             BB_HASHSERVE_PASSWORD, or replace it by a newer one"
                .to_owned(),
        ),
        Err(error) => problem(format!(
            "the login as {username} is not answered ({}), and builds wait for that without end: look \
             into the server's log, or let builds ask an agent",
            with_causes(&error)
        )),
    }
}

/// What a server made of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// It did it, or would have.
    Yes,
    /// It refused the caller with this.
    Denied(String),
    /// It closed: the command is unknown, or its argument is nonsense.
    Closed,
}

impl Word {
    fn is_known(&self) -> bool {
        *self != Self::Closed
    }
}

/// What a server made of each; nothing of what was not asked, because it would tell no more
/// and be in the log of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    get_stream: Word,
    exists_stream: Word,
    report_equiv: Word,
    get_signed: Word,
    gc_status: Option<Word>,
    gc_mark_stream: Option<Word>,
}

impl Known {
    async fn ask(client: &mut Client) -> Result<Self, ClientError> {
        let nonsense = Request::<Box<RawValue>>::verbatim("report-equiv", "{}");
        let signed = request::get_signed("fingerpost", NOBODY);
        let mut known = Self {
            get_stream: word(client.unihashes(&[("fingerpost", NOBODY)]).await)?,
            exists_stream: word(client.exist(&[NOBODY]).await)?,
            report_equiv: word(client.call(&nonsense).await)?,
            get_signed: word(client.call(&signed).await)?,
            gc_status: None,
            gc_mark_stream: None,
        };
        if known.report_equiv == Word::Closed {
            let answer = client.call(&request::gc_status()).await;
            known.gc_status = Some(word(answer)?);
        }
        if !known.get_signed.is_known() {
            let answer = client.call(&request::gc_mark_stream()).await;
            known.gc_mark_stream = Some(word(answer)?);
        }
        Ok(known)
    }

    /// A server that does not store closes on all that would, `gc-status` too.
    fn is_read_only(&self) -> bool {
        self.exists_stream.is_known() && self.gc_status == Some(Word::Closed)
    }

    fn permissions(&self, asker: Asker) -> Finding {
        match (&self.get_stream, &self.report_equiv) {
            (Word::Denied(why), _) => Finding::problem(
                PERMISSIONS,
                format!(
                    "look-ups are refused ({why}), which ends every build: give the caller @read, or \
                     log in"
                ),
            ),
            (Word::Closed, _) => Finding::problem(
                PERMISSIONS,
                "the server closes on look-ups: replace it by one that knows get-stream",
            ),
            (Word::Yes, _) if asker == Asker::OwnServer => Finding::ok(
                PERMISSIONS,
                "may look up, and nothing else is asked of an upstream",
            ),
            (Word::Yes, Word::Denied(why)) => Finding::warning(
                PERMISSIONS,
                format!(
                    "may look up and not report ({why}), so what is built here is not shared: that is \
                     right for jobs that must not be believed, else give the caller @report"
                ),
            ),
            (Word::Yes, Word::Closed) if self.is_read_only() => Finding::warning(
                PERMISSIONS,
                "the server is read-only, so what is built here is not shared: that is right for jobs \
                 that must not be believed, else ask a server that stores",
            ),
            _ => Finding::ok(PERMISSIONS, "may look up and report"),
        }
    }

    fn server(&self, named: Option<String>) -> Finding {
        if self.get_signed.is_known() {
            let named = named.unwrap_or_else(|| "Fingerpost".to_owned());
            return Finding::ok(SERVER, named);
        }
        match (&self.exists_stream, &self.gc_mark_stream) {
            (Word::Closed, _) => Finding::warning(
                SERVER,
                "older than BitBake 2.8 (scarthgap): it closes on exists-stream, at which newer clients \
                 try again and warn; update the server",
            ),
            (_, Some(Word::Closed)) => Finding::ok(
                SERVER,
                "a server as of BitBake 2.8 (scarthgap), without gc-mark-stream",
            ),
            _ => Finding::ok(SERVER, "a server as of a BitBake that has gc-mark-stream"),
        }
    }
}

/// A refusal for what is asked is none of the caller.
fn word<T>(answer: Result<T, ClientError>) -> Result<Word, ClientError> {
    match answer {
        Ok(_) => Ok(Word::Yes),
        Err(ClientError::Told(why)) if why.contains("not allowed") => Ok(Word::Denied(why)),
        Err(ClientError::Told(_)) => Ok(Word::Yes),
        Err(ClientError::Closed | ClientError::Broken(_)) => Ok(Word::Closed),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::super::report::State;
    use super::*;

    fn fingerpost() -> Known {
        Known {
            get_stream: Word::Yes,
            exists_stream: Word::Yes,
            report_equiv: Word::Yes,
            get_signed: Word::Yes,
            gc_status: None,
            gc_mark_stream: None,
        }
    }

    #[test]
    fn permissions_are_what_was_let_through() {
        let permissions = |known: &Known| known.permissions(Asker::Builds);
        let denied = || Word::Denied("Anonymous user is not allowed".to_owned());
        assert_eq!(permissions(&fingerpost()).state, State::Ok);
        let reader = Known {
            report_equiv: denied(),
            ..fingerpost()
        };
        assert_eq!(permissions(&reader).state, State::Warning);
        assert_eq!(reader.permissions(Asker::OwnServer).state, State::Ok);
        let nobody = Known {
            get_stream: denied(),
            ..reader
        };
        for asker in [Asker::Builds, Asker::OwnServer] {
            assert_eq!(nobody.permissions(asker).state, State::Problem);
        }
        let read_only = Known {
            report_equiv: Word::Closed,
            gc_status: Some(Word::Closed),
            ..fingerpost()
        };
        assert!(permissions(&read_only).says.contains("read-only"));
    }

    #[test]
    fn servers_are_known_by_what_they_know() {
        let says = |known: &Known| known.server(None).says;
        assert_eq!(says(&fingerpost()), "Fingerpost");
        let mut reference = Known {
            get_signed: Word::Closed,
            gc_mark_stream: Some(Word::Yes),
            ..fingerpost()
        };
        assert!(says(&reference).contains("has gc-mark-stream"));
        reference.gc_mark_stream = Some(Word::Closed);
        assert!(says(&reference).contains("without gc-mark-stream"));
        reference.exists_stream = Word::Closed;
        assert_eq!(reference.server(None).state, State::Warning);
        // It does not refuse: it knows no permissions.
        reference.report_equiv = Word::Closed;
        reference.gc_status = Some(Word::Closed);
        assert_eq!(reference.permissions(Asker::Builds).state, State::Ok);
    }

    #[test]
    fn a_refused_argument_is_no_refused_caller() {
        let told = |text: &str| word::<IgnoredAny>(Err(ClientError::Told(text.to_owned())));
        assert_eq!(told("Invalid unihash").unwrap(), Word::Yes);
        let text = "Anonymous user is not allowed to access permissions(s) @read";
        assert_eq!(told(text).unwrap(), Word::Denied(text.to_owned()));
        assert!(word::<IgnoredAny>(Err(ClientError::Timeout(STEP))).is_err());
    }
}
