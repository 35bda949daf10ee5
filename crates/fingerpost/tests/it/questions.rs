//! What our own client asks a server of repositories, and what it is told.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fingerpost_hg_front::client::{Asking, HgClient};
use fingerpost_hg_proto::cbor::Value;
use fingerpost_hg_proto::client::Response;
use fingerpost_hg_proto::{Args, CommandRequest};
use fingerpost_testkit::Hg;

use crate::clones::{Plan, Site};
use crate::world;

/// A changeset.
pub(crate) type Node = Vec<u8>;

/// What came of a question.
#[derive(Debug)]
pub(crate) struct Told {
    /// All of the answer.
    pub(crate) responses: Vec<Response>,
    pub(crate) redirects: Vec<Redirect>,
}

/// A redirect that the client was given.
#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) url: String,
    pub(crate) followed: bool,
}

/// Every changeset of the repository, the newest first.
pub(crate) async fn nodes(plan: &Plan) -> Result<Vec<Node>> {
    nodes_of(&plan.hg, &plan.repository).await
}

/// Every changeset of a repository, the newest first.
pub(crate) async fn nodes_of(hg: &Hg, repository: &Path) -> Result<Vec<Node>> {
    let repository = repository.to_str().context("a path of text")?;
    let words = ["log", "--repository", repository, "--template", "{node}\n"];
    let text = hg.run(words).await?;
    text.lines().map(node).collect()
}

fn node(hex: &str) -> Result<Node> {
    ensure!(hex.len() == 40, "{hex} is no node");
    let byte = |at| Ok(u8::from_str_radix(&hex[at..at + 2], 16)?);
    (0..40).step_by(2).map(byte).collect()
}

/// The files that changesets have, below `directory` if it is given.
pub(crate) fn filesdata(changesets: &[Node], directory: Option<&str>) -> CommandRequest {
    let nodes = changesets.iter().map(|node| Value::bytes(node.clone()));
    let specifier = Value::record([
        (&b"type"[..], Value::bytes("changesetexplicit")),
        (b"nodes", Value::Array(nodes.collect())),
    ]);
    let fields = ["parents", "revision"].map(Value::bytes);
    let mut args = vec![
        ("revisions", Value::Array(vec![specifier])),
        ("fields", Value::set(fields)),
    ];
    if let Some(directory) = directory {
        let pattern = Value::bytes(format!("path:{directory}"));
        let filter = Value::record([(&b"include"[..], Value::Array(vec![pattern]))]);
        args.push(("pathfilter", filter));
    }
    CommandRequest::new("filesdata", args.into_iter().collect::<Args>())
}

/// Asks, and fetches what lies elsewhere.
pub(crate) async fn ask(client: &HgClient, request: &CommandRequest) -> Result<Told> {
    let asking = Asking {
        follow: true,
        ..Asking::default()
    };
    ask_so(client, request, &asking).await
}

/// Asks until there is a redirect that was followed; its URL.
pub(crate) async fn redirected(site: &Site, request: &CommandRequest) -> Result<String> {
    let (client, mut url) = (site.client()?, None);
    world::eventually(PATIENCE, async || {
        let told = ask(&client, request).await?;
        if let Some(redirect) = told.redirects.first() {
            ensure!(redirect.followed, "{redirect:?}");
            url = Some(redirect.url.clone());
        }
        Ok(url.is_some())
    })
    .await?;
    url.context("it was redirected")
}

/// The longest wait until an answer lies at a target.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks without any redirects.
pub(crate) async fn ask_inline(client: &HgClient, request: &CommandRequest) -> Result<Told> {
    ask_so(client, request, &Asking::default()).await
}

async fn ask_so(client: &HgClient, request: &CommandRequest, asking: &Asking) -> Result<Told> {
    let (mut responses, mut redirects) = (Vec::new(), Vec::new());
    let on_event = |event: fingerpost_hg_proto::client::Event| responses.push(event.response);
    let calling = client.call_noting(request, asking, on_event, |redirected| {
        redirects.push(Redirect {
            url: redirected.url.expose().to_owned(),
            followed: redirected.outcome.is_ok(),
        });
    });
    calling.await?;
    ensure!(
        responses.last() == Some(&Response::End),
        "the answer ends with {:?}",
        responses.last()
    );
    Ok(Told {
        responses,
        redirects,
    })
}
