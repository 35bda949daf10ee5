//! Servers of Fingerpost, asked over HTTP.

use fingerpost_hashequiv_client::AskError;
use fingerpost_hashequiv_client::http::{HttpClient, Said};
use fingerpost_hashequiv_proto::client::{ReportedRow, SignedRow};
use fingerpost_hashequiv_proto::types::Unihash;
use serde::Deserialize;
use tokio::time::Instant;

use super::{Deadlines, Task};
use crate::state::ReportKind;

/// A client, and how long it is waited for.
pub(super) struct Http {
    pub(super) client: HttpClient,
    pub(super) deadlines: Deadlines,
}

#[derive(Deserialize)]
struct OfTask {
    method: String,
    taskhash: String,
}

impl Http {
    fn by_lookup(&self) -> Instant {
        Instant::now() + self.deadlines.lookup
    }

    fn by_report(&self) -> Instant {
        Instant::now() + self.deadlines.report
    }

    pub(super) async fn unihashes(
        &self,
        tasks: &[Task],
    ) -> Result<Said<Vec<Option<Unihash>>>, AskError> {
        self.client.unihashes(&keys(tasks), self.by_lookup()).await
    }

    pub(super) async fn signed(
        &self,
        tasks: &[Task],
    ) -> Result<Said<Vec<Option<SignedRow>>>, AskError> {
        self.client.signed(&keys(tasks), self.by_lookup()).await
    }

    pub(super) async fn exist(&self, unihashes: &[String]) -> Result<Vec<bool>, AskError> {
        self.client.exist(unihashes, self.by_lookup()).await
    }

    /// What `get` with all of a row and `get-outhash` answer; nothing else has rows.
    pub(super) async fn row(
        &self,
        command: &'static str,
        argument: &str,
    ) -> Result<String, AskError> {
        let by = self.by_lookup();
        if command == "get-outhash" {
            return Ok(self.client.outhash(argument, by).await?.value);
        }
        let asked = serde_json::from_str(argument);
        let OfTask { method, taskhash } =
            asked.map_err(|error| AskError::senseless(error.to_string()))?;
        match command {
            "get-signed" => {
                let signed = self.client.signed(&[(method, taskhash)], by).await?;
                let row = signed.value.into_iter().next().flatten();
                serde_json::to_string(&row).map_err(|error| AskError::senseless(error.to_string()))
            }
            _ => Ok(self.client.output(&method, &taskhash, by).await?.value),
        }
    }

    pub(super) async fn report(
        &self,
        kind: ReportKind,
        argument: &str,
    ) -> Result<Said<String>, AskError> {
        let by = self.by_report();
        match kind {
            ReportKind::Report => self.client.report(argument, by).await,
            ReportKind::ReportEquiv => self.client.report_equiv(argument, by).await,
        }
    }

    pub(super) async fn report_signed(
        &self,
        argument: &str,
    ) -> Result<Said<ReportedRow>, AskError> {
        self.client.report_signed(argument, self.by_report()).await
    }

    pub(super) async fn put_signature(
        &self,
        row: &SignedRow,
        signature: &str,
    ) -> Result<(), AskError> {
        self.client
            .put_signature(row, signature, self.by_report())
            .await
    }
}

fn keys(tasks: &[Task]) -> Vec<(&str, &str)> {
    let keys = tasks.iter();
    keys.map(|task| (&*task.method, &*task.taskhash)).collect()
}
