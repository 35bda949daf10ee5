//! `fingerpost agent status`: asks a running agent how it is.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use fingerpost_net::connect_unix;
use fingerpost_program::exit::{Exit, failure};
use fingerpost_program::out::Out;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::Status;
use crate::args::StatusArgs;
use crate::place::Environment;

/// Asks and shows.
pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let path = match &args.socket {
        Some(path) => path.clone(),
        None => likeliest(&Environment::of_process()),
    };
    let answer = runtime.block_on(ask(&path))?;
    let status = read(&answer, &path)?;
    let mut out = Out::default();
    match args.json {
        // As it came, with what only a newer agent knows.
        true => out.line(String::from_utf8_lossy(&answer).trim_end())?,
        false => out.bytes(status.text().as_bytes())?,
    }
    Ok(Exit::Ok)
}

/// How the agent on a socket is, as [`run`] shows it.
///
/// # Errors
///
/// When none answers there within two seconds, or somebody else does.
pub async fn status_on(socket: &Path) -> anyhow::Result<Status> {
    read(&ask(socket).await?, socket)
}

fn read(answer: &[u8], socket: &Path) -> anyhow::Result<Status> {
    serde_json::from_slice(answer).map_err(|_| no_agent(socket))
}

/// The first socket that is there.
fn likeliest(environment: &Environment) -> PathBuf {
    let sockets = environment.sockets_to_ask();
    let there = sockets.iter().find(|path| path.exists());
    there.unwrap_or(&sockets[0]).clone()
}

/// The body of the agent's answer.
async fn ask(path: &Path) -> anyhow::Result<Vec<u8>> {
    let answer = match timeout(PATIENCE, try_ask(path)).await {
        Ok(answer) => answer.map_err(|error| unanswered(path, &error))?,
        Err(_) => {
            let (path, seconds) = (path.display(), PATIENCE.as_secs());
            let why = format!("{path} does not answer within {seconds} s");
            return Err(failure(Exit::Unavailable, why));
        }
    };
    body(&answer)
        .map(<[u8]>::to_vec)
        .ok_or_else(|| no_agent(path))
}

async fn try_ask(path: &Path) -> io::Result<Vec<u8>> {
    let mut stream = connect_unix(path).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    let mut stream = stream.take(ANSWER_BYTES_MAX);
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// What is behind the head of a whole answer that says 200. The connection's end is the
/// body's.
fn body(answer: &[u8]) -> Option<&[u8]> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let is_fine = answer.starts_with(b"HTTP/1.1 200 ");
    is_fine.then_some(&answer[end + 4..])
}

fn unanswered(path: &Path, error: &io::Error) -> anyhow::Error {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            let why =
                format!("no agent runs here: there is no {path} (fingerpost agent --server ADDR)");
            failure(Exit::Unavailable, why)
        }
        io::ErrorKind::ConnectionRefused => {
            let why = format!(
                "nobody listens on {path}: its agent is gone (fingerpost agent --server ADDR)"
            );
            failure(Exit::Unavailable, why)
        }
        io::ErrorKind::PermissionDenied => {
            let why = format!(
                "{path} is not for this user: its group may ask (--socket-group of the agent)"
            );
            failure(Exit::Denied, why)
        }
        _ => failure(
            Exit::Unavailable,
            format!("{path} does not answer: {error}"),
        ),
    }
}

fn no_agent(path: &Path) -> anyhow::Error {
    let why = format!(
        "what listens on {} is no agent of Fingerpost",
        path.display()
    );
    failure(Exit::BadData, why)
}

const REQUEST: &[u8] =
    b"GET /agent/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use fingerpost_hashequiv_client::ClientOptions;
    use fingerpost_net::{Address, BindOptions, Shutdown, bind};

    use super::*;
    use crate::{Agent, AgentOptions};

    fn args(path: &Path) -> StatusArgs {
        StatusArgs {
            socket: Some(path.to_owned()),
            json: true,
        }
    }

    async fn refusal(path: &Path) -> (Exit, String) {
        let error = ask(path).await.unwrap_err();
        (Exit::of(&error), error.to_string())
    }

    #[tokio::test]
    async fn an_agent_tells_how_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let listener = bind(&Address::Unix(path.clone()), &BindOptions::default()).unwrap();
        let server = ClientOptions::to("127.0.0.1:1".parse().unwrap());
        let options = AgentOptions::to(server, dir.path().to_owned());
        let agent = Agent::start(&options).await.unwrap();
        let shutdown = Shutdown::new();
        let serving = tokio::spawn(agent.serve(vec![listener], shutdown.clone()));
        let answer = ask(&path).await.unwrap();
        let status: Status = serde_json::from_slice(&answer).unwrap();
        assert_eq!(status.server.address, "127.0.0.1:1");
        assert_eq!((status.pid, status.lookups), (std::process::id(), 0));
        shutdown.start();
        timeout(Duration::from_secs(30), serving)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        let (exit, said) = refusal(&path).await;
        assert_eq!(exit, Exit::Unavailable);
        assert!(said.starts_with("no agent runs here"), "{said}");
    }

    #[tokio::test]
    async fn a_socket_without_an_agent_is_told_from_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        drop(UnixListener::bind(&path).unwrap());
        let (exit, said) = refusal(&path).await;
        assert_eq!(exit, Exit::Unavailable);
        assert!(said.starts_with("nobody listens on"), "{said}");
    }

    #[test]
    fn somebody_else_who_listens_is_no_agent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let other = std::thread::spawn(move || drop(listener.accept().unwrap()));
        let error = run(&args(&path)).unwrap_err();
        other.join().unwrap();
        // The other may have closed before it was asked.
        assert!(matches!(
            Exit::of(&error),
            Exit::BadData | Exit::Unavailable
        ));
    }

    #[test]
    fn only_a_whole_answer_that_says_200_has_a_body() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\na: b\r\n\r\n{}"), Some(&b"{}"[..]));
        assert_eq!(body(b"HTTP/1.1 404 Not Found\r\n\r\n{}"), None);
        assert_eq!(body(b"HTTP/1.1 200 OK\r\na: b"), None);
        assert_eq!(body(b"{\"error\": 1}\n"), None);
    }
}
