//! The server, asked with a limit on every wait.
//!
//! Any hash equivalence server is asked over BitBake's protocol (`lines`), one of Fingerpost's
//! over HTTP (`http`), where there can be several. What a build asks as itself, logins and
//! administration, goes over BitBake's protocol to either.

mod as_user;
mod as_users;
mod http;
mod lines;
mod source;
mod standing;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_hashequiv_client::http::{
    Concern, DeletionEpoch, HttpClient, HttpSetupError, Said, ServerUrl,
};
use fingerpost_hashequiv_client::{
    AskError, Client, ClientError, ClientOptions, Credentials, Trouble,
};
use fingerpost_hashequiv_proto::client::{ReportedRow, Request, SignedRow};
use fingerpost_hashequiv_proto::types::{Task, Unihash};
use fingerpost_net::Address;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::AgentOptions;
use crate::commands::Caller;
use crate::knowledge::Whose;
use crate::state::ReportKind;

use self::as_user::AsUser;
pub(crate) use self::as_user::namespace_of;
pub(crate) use self::as_users::AsUsers;
use self::http::Http;
use self::lines::Lines;
pub(crate) use self::source::HttpSource;
use self::standing::Standing;

/// Longest wait for what is neither a look-up nor a report.
const ADMINISTRATION_MAX: Duration = Duration::from_secs(25);

/// Longest waits for answers.
#[derive(Clone, Copy, Debug)]
struct Deadlines {
    lookup: Duration,
    report: Duration,
}

/// How look-ups and reports are asked.
enum Upstream {
    Lines(Lines),
    Http(Http),
}

/// The server of an agent, as one namespace of it.
pub(crate) struct Server {
    /// For what is asked as a build, over BitBake's protocol.
    native: ClientOptions,
    /// Whether a build's login may be shown there.
    takes_logins: bool,
    /// The user whom it is asked as, if that is not the agent.
    as_user: Option<AsUser>,
    /// Whether it is shown a login.
    shows_login: bool,
    standing: Standing,
    deadlines: Deadlines,
    upstream: Upstream,
}

impl Server {
    /// Prepares to ask in a namespace, or in that which the server chooses; connects with the
    /// first question. To be called within a runtime.
    pub(crate) fn start(
        options: &AgentOptions,
        namespace: Option<&str>,
    ) -> Result<Self, HttpSetupError> {
        let deadlines = Deadlines {
            lookup: options.lookup_deadline,
            report: options.report_deadline,
        };
        let mut native = options.server.clone();
        native.connect_timeout = deadlines.lookup;
        native.receive_timeout = deadlines.lookup;
        if let Some(namespace) = namespace {
            native.address = within(native.address, namespace);
        }
        let http = options.http.as_ref();
        let first = http.and_then(|http| http.urls.first());
        let takes_logins = !first.is_some_and(ServerUrl::is_exposed);
        let upstream = match &options.http {
            None => Upstream::Lines(Lines::start(&native, deadlines)),
            Some(http) => {
                let mut http = http.clone();
                if let Some(namespace) = namespace {
                    let urls = http.urls.into_iter();
                    http.urls = urls.map(|url| url.within(namespace)).collect();
                }
                let client = HttpClient::new(http)?;
                Upstream::Http(Http::new(client, deadlines))
            }
        };
        Ok(Self {
            native,
            takes_logins,
            as_user: None,
            shows_login: options.is_somebody(),
            standing: Standing::default(),
            deadlines,
            upstream,
        })
    }

    /// Whose its answers are.
    pub(crate) fn whose(&self) -> Whose {
        let as_user = self.as_user.as_ref();
        as_user.map_or(Whose::EVERYBODYS, AsUser::whose)
    }

    /// Notes of which epoch an answer was, while those that everybody gets are up to `heard`.
    pub(crate) fn learn(&self, of: Option<DeletionEpoch>, heard: Option<DeletionEpoch>) {
        if let Some(as_user) = &self.as_user {
            as_user.learn(of, heard);
        }
    }

    /// By what name this host keeps what it said in a namespace: the namespace's, unless it
    /// said so to one user.
    pub(crate) fn scope<'a>(&self, namespace: &'a str) -> Cow<'a, str> {
        let as_user = self.as_user.as_ref();
        as_user.map_or(Cow::Borrowed(namespace), |user| user.scope(namespace))
    }

    /// Where it is.
    pub(crate) fn address(&self) -> String {
        match &self.upstream {
            Upstream::Lines(_) => self.native.address.to_string(),
            Upstream::Http(http) => http.client.address(),
        }
    }

    fn is_up(&self, concern: Concern) -> bool {
        match &self.upstream {
            Upstream::Lines(lines) => lines.breaker(concern).is_up(),
            Upstream::Http(http) => http.client.is_up(concern),
        }
    }

    /// Whether look-ups are asked.
    pub(crate) fn answers(&self) -> bool {
        self.is_up(Concern::Lookups)
    }

    /// Whether reports are sent.
    pub(crate) fn takes_reports(&self) -> bool {
        self.is_up(Concern::Reports)
    }

    /// What is wrong with it, if something is: look-ups go first.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        let trouble = |concern| match &self.upstream {
            Upstream::Lines(lines) => lines.breaker(concern).trouble(),
            Upstream::Http(http) => http.client.trouble(concern),
        };
        trouble(Concern::Lookups).or_else(|| trouble(Concern::Reports))
    }

    /// Longest wait for an answer to look-ups.
    pub(crate) const fn lookup_deadline(&self) -> Duration {
        self.deadlines.lookup
    }

    /// And to reports.
    pub(crate) const fn report_deadline(&self) -> Duration {
        self.deadlines.report
    }

    /// Notes that it did not answer a login in time: whoever waited for that does not wait as
    /// long again.
    pub(crate) fn was_silent(&self, late: &ClientError) {
        match &self.upstream {
            Upstream::Lines(lines) => lines.was_silent(&late.to_string()),
            Upstream::Http(http) => http.was_silent(),
        }
    }

    /// Tries a server that is down, though nobody asks it.
    pub(crate) fn try_again(&self) {
        if let Upstream::Http(http) = &self.upstream {
            http.client.try_again();
        }
    }

    /// The client of servers of Fingerpost, which can be followed.
    pub(crate) fn http(&self) -> Option<&HttpClient> {
        match &self.upstream {
            Upstream::Lines(_) => None,
            Upstream::Http(http) => Some(&http.client),
        }
    }

    /// The unihashes of tasks, in order, within the deadline.
    pub(crate) async fn unihashes(
        &self,
        tasks: &Arc<[Task]>,
    ) -> Result<Said<Vec<Option<Unihash>>>, AskError> {
        let said = match &self.upstream {
            Upstream::Lines(lines) => lines.unihashes(Arc::clone(tasks)).await.map(unfollowed),
            Upstream::Http(http) => http.unihashes(tasks).await,
        };
        self.noted(said)
    }

    /// The rows of tasks with their signatures, in order, within the deadline.
    ///
    /// # Errors
    ///
    /// Besides what may go wrong: BitBake's protocol has no such thing.
    pub(crate) async fn signed(
        &self,
        tasks: &[Task],
    ) -> Result<Said<Vec<Option<SignedRow>>>, AskError> {
        self.noted(self.signing()?.signed(tasks).await)
    }

    /// Whether unihashes exist, in order, within the deadline.
    pub(crate) async fn exist(&self, unihashes: Vec<String>) -> Result<Vec<bool>, AskError> {
        match &self.upstream {
            Upstream::Lines(lines) => lines.exist(unihashes).await,
            Upstream::Http(http) => http.exist(&unihashes).await,
        }
    }

    /// The JSON of the answer to a command that only reads, within the deadline.
    pub(crate) async fn row(
        &self,
        command: &'static str,
        argument: &str,
    ) -> Result<String, AskError> {
        match &self.upstream {
            Upstream::Lines(lines) => lines.read(Request::verbatim(command, argument)).await,
            Upstream::Http(http) => http.row(command, argument).await,
        }
    }

    /// The JSON of the answer to a report, within the deadline of reports.
    pub(crate) async fn report(
        &self,
        kind: ReportKind,
        argument: &str,
    ) -> Result<Said<String>, AskError> {
        let said = match &self.upstream {
            Upstream::Lines(lines) => {
                let request = Request::<Box<RawValue>>::verbatim(kind.as_str(), argument);
                lines.report(request).await.map(unfollowed)
            }
            Upstream::Http(http) => http.report(kind, argument).await,
        };
        self.noted(said)
    }

    /// The answer to a report, with the row that it came from and that row's signatures,
    /// within the deadline of reports.
    pub(crate) async fn report_signed(
        &self,
        argument: &str,
    ) -> Result<Said<ReportedRow>, AskError> {
        self.noted(self.signing()?.report_signed(argument).await)
    }

    /// Gives the server a signature of a row to keep, within the deadline of reports.
    pub(crate) async fn put_signature(
        &self,
        row: &SignedRow,
        signature: &str,
    ) -> Result<(), AskError> {
        self.signing()?.put_signature(row, signature).await
    }

    fn signing(&self) -> Result<&Http, AskError> {
        match &self.upstream {
            Upstream::Lines(_) => Err(AskError::senseless("signatures need a server over HTTP")),
            Upstream::Http(http) => Ok(http),
        }
    }

    /// Takes note of what this says of the login.
    fn noted<T>(&self, said: Result<T, AskError>) -> Result<T, AskError> {
        self.standing.note(Instant::now(), || self.address(), &said);
        said
    }

    /// Whether the login that it is shown is taken.
    pub(crate) const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Whether it was shown a login a moment ago that it does not take.
    pub(crate) fn waits_for_login(&self) -> bool {
        self.shows_login && self.standing.is_resting(Instant::now())
    }

    /// Whether it is shown a login.
    pub(crate) const fn shows_login(&self) -> bool {
        self.shows_login
    }

    /// The user that the agent logs in as.
    pub(crate) const fn own_login(&self) -> Option<&Credentials> {
        self.native.credentials.as_ref()
    }

    /// Whether it may be asked about a build's login: nobody on the way can read it, or the
    /// operator named the server as BitBake does, which shows it to everybody.
    pub(crate) const fn takes_logins(&self) -> bool {
        self.takes_logins
    }

    /// A client of its own for what a build asks besides look-ups and reports, with the
    /// build's login: what it is refused is nobody else's loss.
    pub(crate) fn client(&self, caller: &Caller) -> Client {
        Client::new(self.options_of(caller))
    }

    fn options_of(&self, caller: &Caller) -> ClientOptions {
        let mut options = self.options_for_one();
        // A sweep takes as long as it takes; BitBake's clients wait for 30 s.
        options.total_time = ADMINISTRATION_MAX;
        options.receive_timeout = ADMINISTRATION_MAX;
        if self.takes_logins {
            options.credentials.clone_from(&caller.login);
            options.become_user.clone_from(&caller.becomes);
        }
        options
    }

    /// One try, within the deadline, as nobody.
    pub(crate) fn options_for_one(&self) -> ClientOptions {
        let mut options = self.native.clone();
        options.tries = 1;
        options.total_time = self.deadlines.lookup;
        options.credentials = None;
        options.become_user = None;
        options
    }
}

/// What is said by a server of which nobody hears what it deletes.
fn unfollowed<T>(value: T) -> Said<T> {
    Said { value, epoch: None }
}

/// Whether a text can be the name of a namespace that is asked for by its path.
pub(crate) fn is_namespace(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.bytes().all(is_plain)
}

/// A WebSocket's address within a namespace, whichever it named before. Others have no place
/// for one.
pub(crate) fn within(address: Address, namespace: &str) -> Address {
    match address {
        Address::WebSocket {
            host,
            port,
            tls,
            path,
        } => {
            let prefix = path
                .rsplit_once("/ns/")
                .map_or(&*path, |(prefix, _)| prefix);
            Address::WebSocket {
                host,
                port,
                tls,
                path: format!("{}/ns/{namespace}", prefix.trim_end_matches('/')),
            }
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use fingerpost_hashequiv_client::http::HttpOptions;
    use fingerpost_net::PeerAddress;

    use super::*;
    use crate::Profile;

    #[tokio::test]
    async fn a_builds_login_goes_where_nobody_on_the_way_reads_it() {
        let mut caller = Caller::new(PeerAddress::Unnamed, Profile::built_in("a", true, true));
        caller.login = Some(Credentials {
            username: "builder".to_owned(),
            token: "hunter2".to_owned(),
        });
        let check = |native: &str, url: Option<&str>, expect: bool| {
            let native = ClientOptions::to(native.parse().unwrap());
            let mut options = AgentOptions::to(native, "/state".into());
            options.http = url.map(|url| HttpOptions::to(vec![url.parse().unwrap()]));
            let server = Server::start(&options, None).unwrap();
            assert_eq!(server.options_of(&caller).credentials.is_some(), expect);
            assert_eq!(server.takes_logins(), expect);
        };
        check("wss://farm.example", Some("https://farm.example"), true);
        check("ws://localhost:1", Some("http://localhost:1"), true);
        check("ws://farm.example", Some("http://farm.example"), false);
        // As BitBake would.
        check("ws://farm.example", None, true);
    }

    #[tokio::test]
    async fn who_waited_for_a_login_in_vain_does_not_wait_for_a_look_up_too() {
        let native = ClientOptions::to("127.0.0.1:1".parse().unwrap());
        let options = AgentOptions::to(native, "/state".into());
        let server = Server::start(&options, None).unwrap();
        server.was_silent(&ClientError::Timeout(options.lookup_deadline));
        assert!(!server.answers() && !server.takes_reports());
        let known = AskError::Silent("known to be down".to_owned());
        let asked = server.exist(vec!["1".to_owned()]).await;
        assert_eq!(asked, Err(known.clone()));
        assert_eq!(server.row("get-outhash", "{}").await, Err(known));
    }

    #[test]
    fn a_namespace_has_a_place_in_the_address_of_a_websocket() {
        let check = |text: &str, expect: &str| {
            let address = within(text.parse().unwrap(), "main");
            assert_eq!(address.to_string(), expect);
        };
        check("wss://h:443", "wss://h:443/ns/main");
        check("ws://h:80/hash/", "ws://h:80/hash/ns/main");
        check("ws://h:80/hash/ns/other", "ws://h:80/hash/ns/main");
        check("h:1", "h:1");
    }
}
