//! `fingerpost shadow` between two servers.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use fingerpost_testkit::{Report, Session, TestFarm};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::moving::fingerpost;
use crate::world::farm;

/// A shadow that runs.
struct Shadow {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Shadow {
    /// In front of the server at `reference`, comparing the one at `shadowed` with it.
    async fn start(farm: &TestFarm, reference: &str, shadowed: &str) -> Result<Self> {
        let mut command = fingerpost(farm, &["shadow", "--listen", "127.0.0.1:0"]);
        command.args(["--reference", reference, "--fingerpost", shadowed]);
        let mut child = Command::from(command)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("piped")?).lines();
        let listening = lines.next_line().await?.context("it ended")?;
        let address = listening.strip_prefix("Listening on ");
        let address = address.context("an address")?.to_owned();
        Ok(Self {
            child,
            lines,
            address,
        })
    }

    /// Stops it; gives its exit code and what it said.
    async fn stop(mut self) -> Result<(Option<i32>, Vec<String>)> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.context("it runs")?, rustix::process::Signal::TERM)?;
        let mut said = Vec::new();
        while let Some(line) = self.lines.next_line().await? {
            said.push(line);
        }
        Ok((self.child.wait().await?.code(), said))
    }
}

#[tokio::test]
async fn a_shadow_passes_on_and_counts_differences() -> Result<()> {
    let farm = farm();
    let (reference, shadowed) = (farm.server().start().await?, farm.server().start().await?);
    let known = Report::new(1, 1);
    reference.session().await?.report(&known).await?;
    let shadow = Shadow::start(&farm, reference.host_and_port(), shadowed.host_and_port()).await?;

    let mut session = Session::open(&shadow.address).await?;
    session.report(&Report::new(2, 2)).await?;
    let known = session.unihash(&known.method, &known.taskhash).await?;
    ensure!(known.is_some(), "the reference's answer came through");
    let ping = session.ask(json!({"ping": {}})).await?;
    ensure!(ping == json!({"alive": true}));
    drop(session);
    let (code, said) = shadow.stop().await?;
    ensure!(code == Some(1), "{code:?}: {said:?}");
    for line in [
        "ping: 1 compared, 0 different",
        "report: 1 compared, 0 different",
    ] {
        ensure!(said.iter().any(|said| said == line), "{said:?}");
    }
    ensure!(
        said.last().is_some_and(|line| line == "1 differences"),
        "{said:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_namespace_that_is_compared_is_that_of_the_listener() -> Result<()> {
    let farm = farm();
    let config = farm.path("namespaces.toml");
    std::fs::write(
        &config,
        "[hashequiv.namespaces.release]\n\
         [server.listeners.release]\nbind = ['127.0.0.1:0']\nnamespace = 'release'\n",
    )?;
    let reference = farm.server().start().await?;
    let options = farm.server().argument("--config").argument(config);
    let shadowed = options.start().await?;
    let [first, second] = shadowed.addresses() else {
        anyhow::bail!("{:?}", shadowed.addresses());
    };
    let known = Report::new(1, 1);
    reference.session().await?.report(&known).await?;
    Session::open(second).await?.report(&known).await?;

    for (address, differences) in [(first, 1), (second, 0)] {
        let shadow = Shadow::start(&farm, reference.host_and_port(), address).await?;
        let mut session = Session::open(&shadow.address).await?;
        let found = session.unihash(&known.method, &known.taskhash).await?;
        ensure!(found.is_some(), "the reference's answer came through");
        drop(session);
        let (code, said) = shadow.stop().await?;
        let last = format!("{differences} differences");
        ensure!(said.last() == Some(&last), "{address}: {said:?}");
        ensure!(code == Some(differences), "{code:?}: {said:?}");
    }
    Ok(())
}

#[test]
fn a_websocket_is_refused() -> Result<()> {
    let words = ["shadow", "--listen", "127.0.0.1:0", "--reference", "ws://a"];
    let farm = farm();
    let mut command = fingerpost(&farm, &words);
    let output = command.args(["--fingerpost", "b:1"]).output()?;
    let error = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(64), "{error}");
    ensure!(error.contains("not WebSocket"), "{error}");
    Ok(())
}
