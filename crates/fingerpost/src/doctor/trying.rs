//! The server, tried step by step. A step that fails ends it: what is behind it cannot be
//! looked at, and each further try would wait again.

use std::sync::Arc;

use fingerpost_agent::Status;
use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_hashequiv_client::{ClientOptions, Credentials, Proxies};
use fingerpost_net::Address;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::Server;
use super::http::{self, Answer};
use super::proxy::{self, Named, Route};
use super::reach::{STEP, within};
use super::report::{Finding, Report};
use super::session::Asker;
use super::tls::Trust;
use super::variables::Variables;
use super::{agent, clock, of_process, reach, session, socket, tls};

/// Tries the server that a build shares with others, if it has one. Returns whether an
/// agent listens there.
pub(super) async fn check(
    report: &mut Report,
    server: &Server,
    credentials: Option<Credentials>,
    variables: &Variables,
) -> bool {
    let Some(address) = server.shared() else {
        return false;
    };
    let asker = match server {
        Server::Own { .. } => Asker::OwnServer,
        _ => Asker::Builds,
    };
    let has_login = credentials.is_some();
    let environment = Environment::of(variables);
    let (route, about_proxy) = proxy::check(address, environment.proxies());
    report.add(about_proxy);
    if let Address::Unix(path) = address
        && let Some(silent) = socket::silent(path).await
    {
        report.add([silent]);
        fill(report, address, has_login);
        return false;
    }
    let status = match address {
        Address::Unix(path) => agent::ask(path).await,
        _ => None,
    };
    let is_agent = status.is_some();
    report.add(waits(is_agent, has_login));
    match go(report, address, route, &environment).await {
        Some(way) => match status {
            Some(status) => through_agent(report, &way.options, status, credentials).await,
            None => {
                ask(report, way, credentials, asker).await;
                fill(report, address, has_login);
            }
        },
        None => fill(report, address, has_login),
    }
    is_agent
}

/// What of the environment reaches BitBake's client: from its configuration, else from
/// where it is called.
struct Environment {
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    no_proxy: Option<String>,
    cert_file: Option<String>,
    cert_directory: Option<String>,
}

impl Environment {
    fn of(variables: &Variables) -> Self {
        let value = |name: &str| {
            let configured = variables.get(name).map(str::to_owned);
            let value = configured.or_else(|| of_process(name));
            value.filter(|value| !value.is_empty())
        };
        // Python takes small letters first, also to say that there is none.
        let proxy = |small: &str| {
            let passed = variables.passes_on(small).then(|| of_process(small));
            match passed.flatten() {
                Some(text) => Some(text).filter(|text| !text.is_empty()),
                None => value(&small.to_ascii_uppercase()),
            }
        };
        Self {
            http_proxy: proxy("http_proxy"),
            https_proxy: proxy("https_proxy"),
            no_proxy: proxy("no_proxy"),
            cert_file: value("SSL_CERT_FILE"),
            cert_directory: value("SSL_CERT_DIR"),
        }
    }

    fn proxies(&self) -> Named<'_> {
        Named {
            http: self.http_proxy.as_deref(),
            https: self.https_proxy.as_deref(),
            none_for: self.no_proxy.as_deref(),
        }
    }

    async fn trust(&self) -> Result<Trust, String> {
        let (file, directory) = (self.cert_file.clone(), self.cert_directory.clone());
        let load = move || Trust::load(file.as_deref(), directory.as_deref());
        let silent = "the certificate authorities cannot be read within a second: look after the file \
                      system of SSL_CERT_FILE and SSL_CERT_DIR";
        let loaded = within(STEP, load).await;
        loaded.unwrap_or_else(|| Err(silent.to_owned()))
    }
}

/// A way to the server that works.
struct Way {
    options: ClientOptions,
    /// What it says over HTTP, if it speaks that and is on another host.
    answer: Option<Answer>,
}

/// The transport and a ping.
async fn go(
    report: &mut Report,
    address: &Address,
    route: Route,
    environment: &Environment,
) -> Option<Way> {
    let mut options = ClientOptions::to(address.clone());
    options.proxies = Proxies::none();
    let answer = match (address, route) {
        (_, Route::Unknown) => return None,
        (Address::Unix(path), _) => {
            let (stream, finding) = socket::check(path).await;
            report.add([finding]);
            stream?;
            report.step(session::ping(&options).await)?;
            None
        }
        (Address::WebSocket { tls, .. }, Route::Through(proxies)) => {
            options.proxies = *proxies;
            if *tls {
                let trust = environment.trust().await;
                let config = trust.and_then(|trust| trust.config());
                let config = config.map_err(|why| report.add([Finding::problem(tls::ID, why)]));
                options.tls = Some(config.ok()?);
            }
            let ids = ["resolve", "connect"]
                .into_iter()
                .chain(tls.then_some(tls::ID));
            report.add(ids.map(|id| Finding::not_checked(id, "the proxy connects")));
            report.step(session::ping(&options).await)?;
            None
        }
        (Address::Tcp { host, port } | Address::WebSocket { host, port, .. }, _) => {
            let (stream, findings) = reach::check(host, *port).await;
            report.add(findings);
            let stream = stream?;
            if let Address::WebSocket { tls: true, .. } = address {
                options.tls = Some(secure(report, host, stream, environment).await?);
            }
            report.step(session::ping(&options).await)?;
            version(&options).await
        }
    };
    Some(Way { options, answer })
}

async fn secure(
    report: &mut Report,
    host: &fingerpost_net::Host,
    stream: TcpStream,
    environment: &Environment,
) -> Option<Arc<ClientConfig>> {
    let trust = environment.trust().await;
    let trust = trust.map_err(|why| report.add([Finding::problem(tls::ID, why)]));
    let (config, finding) = tls::check(host, stream, &trust.ok()?, SystemClock.now()).await;
    report.add([finding]);
    config
}

/// What the same port says over HTTP. The reference closes at once.
async fn version(options: &ClientOptions) -> Option<Answer> {
    let (host, port) = options.address.host_port()?;
    let name = host.to_resolve();
    let asking = async {
        let stream = TcpStream::connect((name.as_str(), port)).await?;
        match &options.tls {
            None => http::get(stream, &name, "/version").await,
            Some(config) => {
                let stream = tls::connect(config, &name, stream).await?;
                http::get(stream, &name, "/version").await
            }
        }
    };
    timeout(STEP, asking).await.ok()?.ok()
}

/// What is asked of a server itself.
async fn ask(report: &mut Report, way: Way, credentials: Option<Credentials>, asker: Asker) {
    let Way {
        mut options,
        answer,
    } = way;
    if options.address.host_port().is_some() {
        report.add([the_clock(answer.as_ref())]);
    }
    if let Some(credentials) = credentials {
        let (logged_in, finding) = session::log_in(&options, credentials).await;
        report.add([finding]);
        let Some(logged_in) = logged_in else {
            return;
        };
        options = logged_in;
    }
    let named = answer.as_ref().and_then(fingerpost);
    report.add(session::rights(options, asker, named).await);
}

/// An agent answers for its server; a login is all that may differ.
async fn through_agent(
    report: &mut Report,
    options: &ClientOptions,
    before: Status,
    credentials: Option<Credentials>,
) {
    session::look_up(options).await;
    let after = match &options.address {
        Address::Unix(path) => agent::ask(path).await,
        _ => None,
    };
    let after = after.as_ref().unwrap_or(&before);
    report.add(agent::judge(&before, after));
    if let Some(credentials) = credentials {
        report.add([session::log_in(options, credentials).await.1]);
    }
}

fn the_clock(answer: Option<&Answer>) -> Finding {
    match answer.and_then(|answer| answer.date) {
        Some(date) => clock::compare(date, SystemClock.now()),
        None => Finding::not_checked(clock::ID, "the server does not tell its time over HTTP"),
    }
}

/// The version of Fingerpost that `/version` tells.
fn fingerpost(answer: &Answer) -> Option<String> {
    let told: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let is_ours = told.get("name")?.as_str()? == "fingerpost";
    let version = told.get("version")?.as_str()?;
    is_ours.then(|| format!("Fingerpost {version}"))
}

/// How long a build may wait. It depends on nothing that the server says today.
fn waits(is_agent: bool, has_login: bool) -> Option<Finding> {
    const ID: &str = "waits";
    match (is_agent, has_login) {
        (true, _) => Some(Finding::ok(ID, "an agent ends every wait in time")),
        (false, true) => Some(Finding::warning(
            ID,
            "with a login BitBake waits without end for a server that goes silent in mid-build: let \
             builds ask an agent, which logs in for them (docs/agent.md)",
        )),
        (false, false) => None,
    }
}

/// Says of every check that has said nothing that it was not made.
fn fill(report: &mut Report, address: &Address, has_login: bool) {
    let (is_unix, is_tls) = match address {
        Address::Unix(_) => (true, false),
        Address::Tcp { .. } => (false, false),
        Address::WebSocket { tls, .. } => (false, *tls),
    };
    for (id, applies) in [
        ("socket", is_unix),
        ("resolve", !is_unix),
        ("connect", !is_unix),
        (tls::ID, is_tls),
        ("session", true),
        (clock::ID, !is_unix),
        ("login", has_login),
        ("permissions", true),
        ("server", true),
    ] {
        if applies && !report.has(id) {
            report.add([Finding::not_checked(id, "not reached")]);
        }
    }
}
