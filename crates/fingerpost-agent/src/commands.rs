//! Requests: which there are, and what a build is told when the server is silent.

use std::sync::Arc;

use fingerpost_hashequiv_client::{AskError, ClientError, Credentials};
use fingerpost_hashequiv_proto::client::{FullRow, Request, read_answer};
use fingerpost_hashequiv_proto::types::{Task, Unihash, decode_hex, encode_hex};
use fingerpost_net::PeerAddress;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use crate::knowledge::Known;
use crate::logins::Outcome;
use crate::profiles::Profile;
use crate::readers;
use crate::reporting::{Reported, Reporting};
use crate::server::Server;
use crate::shared::Shared;
use crate::state::ReportKind;

/// How a command is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By the agent alone.
    Ping,
    /// From memory, or by the server.
    Get,
    /// By the server; `null` if it is silent.
    Row,
    /// A stream of look-ups.
    Gets,
    /// A stream of unihashes.
    Exists,
    /// By the server; by the agent if it is silent.
    Report,
    /// The same.
    ReportEquiv,
    /// Whoever a build says it is, it goes on.
    Login,
    /// By the server, over a connection of its own; the connection is closed if it is
    /// silent.
    Other,
    /// The same, of those whose profile may administer.
    Admin,
    /// A stream of such.
    Marks,
}

/// All commands, in the order in which the reference looks for them: it decides when a
/// message has several.
pub(crate) const ALL: &[(Kind, &str)] = &[
    (Kind::Ping, "ping"),
    (Kind::Get, "get"),
    (Kind::Row, "get-outhash"),
    (Kind::Gets, "get-stream"),
    (Kind::Exists, "exists-stream"),
    (Kind::Other, "get-stats"),
    (Kind::Admin, "get-db-usage"),
    (Kind::Admin, "get-db-query-columns"),
    (Kind::Report, "report"),
    (Kind::Login, "auth"),
    (Kind::Admin, "get-user"),
    (Kind::Admin, "get-all-users"),
    (Kind::Login, "become-user"),
    (Kind::ReportEquiv, "report-equiv"),
    (Kind::Admin, "reset-stats"),
    (Kind::Other, "backfill-wait"),
    (Kind::Admin, "remove"),
    (Kind::Admin, "gc-mark"),
    (Kind::Marks, "gc-mark-stream"),
    (Kind::Admin, "gc-sweep"),
    (Kind::Admin, "gc-status"),
    (Kind::Admin, "clean-unused"),
    (Kind::Admin, "refresh-token"),
    (Kind::Admin, "set-user-perms"),
    (Kind::Admin, "new-user"),
    (Kind::Admin, "delete-user"),
    (Kind::Row, "get-signed"),
];

/// The place of a command.
pub(crate) fn find(name: &str) -> Option<usize> {
    ALL.iter().position(|(_, known)| *known == name)
}

/// A request as the build made it.
type Verbatim = Request<Box<RawValue>>;

/// What a build is answered.
#[derive(Debug)]
pub(crate) enum Reply {
    Json(String),
    /// A told error, which ends a build; only what the agent was not made for.
    Refused(String),
    /// The connection is closed.
    Close,
}

/// Who a build is, and who it says it is. The agent's own login is for look-ups and reports;
/// what else a build asks is asked as the build, so that it gets no rights by asking here.
pub(crate) struct Caller {
    pub(crate) peer: PeerAddress,
    pub(crate) profile: Arc<Profile>,
    pub(crate) login: Option<Credentials>,
    pub(crate) becomes: Option<String>,
    /// The server as this build's user sees it, if it is asked as one.
    server: Option<Arc<Server>>,
}

impl Caller {
    /// One who has said nothing yet.
    pub(crate) const fn new(peer: PeerAddress, profile: Arc<Profile>) -> Self {
        Self {
            peer,
            profile,
            login: None,
            becomes: None,
            server: None,
        }
    }

    /// Notes its login, whatever the server said of it. Whoever the server does not let in is
    /// asked for as the agent.
    fn is_now(&mut self, shared: &Shared, login: Credentials, error: Option<ClientError>) {
        self.server = None;
        if !matches!(error, Some(ClientError::Told(_))) {
            shared.logins.give(self.account(&login.username), &login);
            self.server = shared.as_user(&login);
        }
        if let (Some(server), Some(error)) = (&self.server, error)
            && error.is_late()
        {
            server.was_silent(&error);
        }
        self.login = Some(login);
        self.becomes = None;
    }

    /// Whom its look-ups and reports go to.
    pub(crate) fn server<'a>(&'a self, shared: &'a Shared) -> &'a Arc<Server> {
        self.server.as_ref().unwrap_or(&shared.server)
    }

    /// The user that it reports as, if it is not the agent's.
    fn user(&self) -> Option<String> {
        let login = self.login.as_ref().filter(|_| self.server.is_some());
        login.map(|login| self.account(&login.username))
    }

    /// A user of the server as this user of the host. Anybody may say a name while the server
    /// cannot be asked, and must not get what another one's token is good for.
    fn account(&self, username: &str) -> String {
        match self.peer {
            PeerAddress::Unix { uid, .. } => format!("{uid}:{username}"),
            PeerAddress::Tcp(_) | PeerAddress::Unnamed => format!(":{username}"),
        }
    }

    /// Why an administration command of it is not passed on, if it is not.
    pub(crate) fn refusal(&self, command: &str) -> Option<Reply> {
        let (peer, profile) = (&self.peer, &self.profile.name);
        (!self.profile.administers).then(|| {
            Reply::Refused(format!(
                "{command} is not passed on for {peer}, whose profile at this agent is \
                 {profile}: ask the server itself"
            ))
        })
    }
}

/// Answers a request.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    caller: &mut Caller,
    kind: Kind,
    name: &'static str,
    argument: &str,
) -> Reply {
    let text = Request::verbatim(name, argument);
    match kind {
        Kind::Ping => Reply::Json("{\"alive\": true}".to_owned()),
        Kind::Get => get(shared, caller, argument, text).await,
        Kind::Row => row_or_null(shared, caller, name, argument).await,
        Kind::Report | Kind::ReportEquiv if !caller.profile.reports => {
            readers::report(shared, caller, argument)
        }
        Kind::Report => report(shared, caller, ReportKind::Report, argument, text).await,
        Kind::ReportEquiv => report(shared, caller, ReportKind::ReportEquiv, argument, text).await,
        Kind::Login => log_in(shared, caller, name, argument).await,
        Kind::Other => pass_on(shared, caller, text).await,
        Kind::Admin => match caller.refusal(name) {
            Some(refused) => refused,
            None => pass_on(shared, caller, text).await,
        },
        // These are no single requests.
        Kind::Gets | Kind::Exists | Kind::Marks => Reply::Close,
    }
}

/// The row that the server has; when it is silent, refuses, talks nonsense or is not believed,
/// nothing is known.
async fn row_or_null(
    shared: &Shared,
    caller: &Caller,
    name: &'static str,
    argument: &str,
) -> Reply {
    let server = caller.server(shared);
    let give_up = Instant::now() + server.lookup_deadline();
    let answer = server.row(name, argument).await;
    let row = answer.and_then(|json| match read_answer::<Option<FullRow>>(&json) {
        Ok(row) => Ok((json, row)),
        Err(error) => Err(AskError::senseless(error.to_string())),
    });
    match row {
        // Whoever asks for signatures looks at them.
        Ok((json, _)) if name == "get-signed" => Reply::Json(json),
        Ok((json, Some(row))) => {
            let is_believed = timeout_at(give_up, shared.believes_row(server, &row)).await;
            Reply::Json(match is_believed {
                Ok(true) => json,
                _ => null(),
            })
        }
        Ok((json, None)) => Reply::Json(json),
        Err(error) => {
            shared.figures.gave_up(name, &error);
            Reply::Json(null())
        }
    }
}

#[derive(Deserialize)]
struct GetArgs {
    method: String,
    taskhash: String,
    #[serde(default)]
    all: Option<serde_json::Value>,
}

/// A unihash; all of a row only if the server is asked.
async fn get(shared: &Shared, caller: &Caller, argument: &str, text: Verbatim) -> Reply {
    let Ok(GetArgs {
        method,
        taskhash,
        all,
    }) = serde_json::from_str(argument)
    else {
        return pass_on(shared, caller, text).await;
    };
    if all.is_some_and(|all| all != serde_json::Value::Bool(false)) {
        return row_or_null(shared, caller, "get", argument).await;
    }
    let row = |unihash: String| {
        json!({"taskhash": taskhash, "method": method, "unihash": unihash}).to_string()
    };
    let Some(bytes) = decode_hex(taskhash.as_bytes()) else {
        return row_or_null(shared, caller, "get", argument).await;
    };
    let server = caller.server(shared);
    let known = match shared.knowledge.method(&method) {
        Some(id) => shared.knowledge.get(server.whose(), id, &bytes),
        None => Known::Nothing,
    };
    let hit = matches!(known, Known::Fresh(_));
    shared.figures.lookups(1, u64::from(hit));
    let task = Task::parse(&method, &taskhash);
    let said = match known {
        Known::Fresh(unihash) => {
            shared.figures.spared();
            return Reply::Json(of_bytes(unihash, row));
        }
        Known::Old(_) | Known::Nothing => {
            let (mut words, by) = shared.ask(server, vec![task]).await;
            shared.figures.answered(&by);
            if by.asked == 0 {
                shared.figures.spared();
            }
            words.pop().flatten()
        }
    };
    Reply::Json(match (said, known) {
        (Some(said), _) => said.map_or_else(null, |unihash| row(unihash.to_text())),
        (None, Known::Old(old)) => of_bytes(Some(old), row),
        (None, _) => null(),
    })
}

fn null() -> String {
    "null".to_owned()
}

fn of_bytes(unihash: Option<[u8; 32]>, row: impl FnOnce(String) -> String) -> String {
    let text = |bytes: [u8; 32]| String::from_utf8_lossy(&encode_hex(&bytes)).into_owned();
    unihash.map_or_else(null, |bytes| row(text(bytes)))
}

/// A report, or `report-equiv`. What the server refuses is no build's business.
async fn report(
    shared: &Arc<Shared>,
    caller: &Caller,
    kind: ReportKind,
    argument: &str,
    text: Verbatim,
) -> Reply {
    let Ok(reported) = serde_json::from_str::<Reported>(argument) else {
        return pass_on(shared, caller, text).await;
    };
    let Ok(proposed) = Unihash::parse_valid(&reported.unihash) else {
        return pass_on(shared, caller, text).await;
    };
    let bytes = decode_hex(reported.taskhash.as_bytes());
    let server = caller.server(shared);
    let forget_miss = || {
        if let Some(bytes) = &bytes {
            let (whose, method) = (server.whose(), &reported.method);
            shared.knowledge.forget_miss(whose, method, bytes);
        }
    };
    forget_miss();
    let reporting = Reporting {
        kind,
        reported: &reported,
        proposed,
        argument,
        profile: &caller.profile,
        server,
        user: caller.user(),
    };
    let told = shared.report(reporting).await;
    // A look-up that was under way may have found nothing meanwhile.
    forget_miss();
    match told {
        Ok(json) => Reply::Json(json),
        Err(error) => {
            shared.figures.gave_up(kind.as_str(), &error);
            Reply::Json(match kind {
                // It goes on as if nobody handled it.
                ReportKind::ReportEquiv => null(),
                ReportKind::Report => json!({
                    "taskhash": reported.taskhash,
                    "method": reported.method,
                    "unihash": reported.unihash,
                })
                .to_string(),
            })
        }
    }
}

#[derive(Deserialize)]
struct Login {
    username: String,
    #[serde(default)]
    token: Option<String>,
}

/// A login succeeds, whatever the server says, unless the administrator wants it strict.
async fn log_in(shared: &Shared, caller: &mut Caller, name: &str, argument: &str) -> Reply {
    let Ok(Login { username, token }) = serde_json::from_str(argument) else {
        return Reply::Close;
    };
    let token = match (name, token) {
        ("auth", None) => return Reply::Close,
        ("auth", token) => token,
        _ => None,
    };
    if caller.profile.only_reads() {
        // Nothing is asked with this login.
        let permissions = caller.profile.told(vec!["@all".to_owned()]);
        return Reply::Json(logged_in(name, &username, &permissions));
    }
    let (permissions, error) = match &token {
        // Rights of another: those of whoever asks, as far as the agent goes.
        None => (shared.logins.last(&username, ""), None),
        Some(token) => match shared.log_in(&username, token).await {
            Outcome::In(permissions, error) => (permissions, error),
            Outcome::Refused(why) if shared.strict_auth => return Reply::Refused(why),
            Outcome::Refused(why) => (
                shared.logins.last(&username, token),
                Some(ClientError::Told(why)),
            ),
        },
    };
    if let Some(error) = &error {
        shared.figures.login_gave_up(error);
    }
    let answer = logged_in(name, &username, &caller.profile.told(permissions));
    match token {
        Some(token) => caller.is_now(shared, Credentials { username, token }, error),
        None => caller.becomes = Some(username),
    }
    Reply::Json(answer)
}

fn logged_in(name: &str, username: &str, permissions: &[String]) -> String {
    let answer = match name {
        "auth" => json!({"result": true, "username": username, "permissions": permissions}),
        _ => json!({"username": username, "permissions": permissions}),
    };
    answer.to_string()
}

/// As the server answers it: what it refuses is refused, and where it closes we close.
async fn pass_on(shared: &Shared, caller: &Caller, text: Verbatim) -> Reply {
    match shared.server.client(caller).call(&text).await {
        Ok(json) => Reply::Json(json.get().to_owned()),
        Err(ClientError::Told(why)) => Reply::Refused(why),
        Err(_) => Reply::Close,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logins::Logins;

    #[test]
    fn who_says_the_name_of_another_gets_nothing_of_their_token() {
        let profile = Profile::built_in("ci", true, false);
        let account = |uid| {
            let peer = PeerAddress::Unix {
                uid,
                gid: 1,
                pid: None,
            };
            Caller::new(peer, Arc::clone(&profile)).account("ann")
        };
        let logins = Logins::default();
        let login = |token: &str| Credentials {
            username: "ann".to_owned(),
            token: token.to_owned(),
        };
        logins.give(account(1000), &login("hers"));
        logins.give(account(1001), &login("guessed"));
        let token = |uid| Some(logins.credentials(&account(uid))?.token);
        assert_eq!(token(1000).as_deref(), Some("hers"));
        assert_eq!(token(1001).as_deref(), Some("guessed"));
        assert_eq!(token(1002), None);
    }
}
