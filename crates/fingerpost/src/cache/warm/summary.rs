//! What a warming came to.

use std::io::Write as _;

use anyhow::Context as _;
use fingerpost_hg_front::client::ClonePlan;
use serde::Serialize;

/// What was done, for scripts.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    /// The repository, without a login.
    pub(super) url: String,
    /// Changesets that it has.
    pub(super) changesets: u64,
    /// Requests that were answered.
    pub(super) requests: u64,
    /// What stock clients get now, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stock: Option<Ready>,
    /// What clients get now that undo zstd at a target, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) zstd: Option<Ready>,
    /// Bytes of the answers that were read to their end, as they travelled.
    pub(super) bytes: u64,
    /// How long it took.
    pub(super) seconds: f64,
}

/// How the requests of a clone are answered now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Ready {
    /// With a redirect.
    pub(super) redirected: u64,
    /// By the server itself, as short answers always are.
    pub(super) inline: u64,
}

impl Summary {
    /// What it took to make the plan.
    pub(super) fn of(url: String, plan: &ClonePlan) -> Self {
        Self {
            url,
            changesets: plan.changesets().len() as u64,
            requests: ClonePlan::MADE as u64,
            stock: None,
            zstd: None,
            bytes: plan.called.body_bytes,
            seconds: 0.0,
        }
    }

    fn text(&self) -> String {
        let Self {
            url,
            changesets,
            requests,
            bytes,
            seconds,
            ..
        } = self;
        let mut text = format!(
            "{url}: {requests} requests for {changesets} changesets, {bytes} bytes in {seconds:.1} s"
        );
        for (clients, ready) in [
            ("stock clients", self.stock),
            ("clients that undo zstd", self.zstd),
        ] {
            if let Some(Ready { redirected, inline }) = ready {
                text += &format!("; {clients}: {redirected} redirected, {inline} inline");
            }
        }
        text
    }

    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        let line = match json {
            true => serde_json::to_string(self)?,
            false => self.text(),
        };
        writeln!(std::io::stdout(), "{line}").context("cannot print")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_one_line() {
        let mut summary = Summary {
            url: "http://h/r".to_owned(),
            changesets: 7,
            requests: 2,
            stock: None,
            zstd: None,
            bytes: 10,
            seconds: 1.25,
        };
        let plain = "http://h/r: 2 requests for 7 changesets, 10 bytes in 1.2 s";
        assert_eq!(summary.text(), plain);
        summary.stock = Some(Ready {
            redirected: 3,
            inline: 2,
        });
        let text = format!("{plain}; stock clients: 3 redirected, 2 inline");
        assert_eq!(summary.text(), text);
        let json = serde_json::to_string(&summary).unwrap();
        assert_eq!(
            json,
            r#"{"url":"http://h/r","changesets":7,"requests":2,"stock":{"redirected":3,"inline":2},"bytes":10,"seconds":1.25}"#
        );
    }
}
