//! Servers of Fingerpost, asked over HTTP.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fingerpost_hashequiv_client::AskError;
use fingerpost_hashequiv_client::http::{HttpClient, Said};
use fingerpost_hashequiv_proto::client::{ReportedRow, SignedRow};
use fingerpost_hashequiv_proto::types::{Task, Unihash};
use serde::Deserialize;
use tokio::time::Instant;

use super::Deadlines;
use crate::state::ReportKind;

/// Of a deadline one part in so many is left to a server that was silent a moment ago when it
/// was asked something else.
const DOUBTED: u32 = 4;

/// A client, and how long it is waited for.
pub(super) struct Http {
    pub(super) client: HttpClient,
    lookups: Patience,
    reports: Patience,
}

/// How long answers of one kind are waited for.
struct Patience {
    most: Duration,
    is_doubted: AtomicBool,
}

impl Patience {
    const fn new(most: Duration) -> Self {
        Self {
            most,
            is_doubted: AtomicBool::new(false),
        }
    }

    fn now(&self) -> Duration {
        match self.is_doubted.load(Ordering::Relaxed) {
            true => self.most / DOUBTED,
            false => self.most,
        }
    }

    /// Waits for what is asked until then. Whether it came or not, there is no doubt any more:
    /// the client knows who is silent.
    async fn wait<T, F>(&self, ask: impl FnOnce(Instant) -> F) -> Result<T, AskError>
    where
        F: Future<Output = Result<T, AskError>>,
    {
        let said = ask(Instant::now() + self.now()).await;
        self.is_doubted.store(false, Ordering::Relaxed);
        said
    }
}

#[derive(Deserialize)]
struct OfTask {
    method: String,
    taskhash: String,
}

impl Http {
    pub(super) const fn new(client: HttpClient, deadlines: Deadlines) -> Self {
        Self {
            client,
            lookups: Patience::new(deadlines.lookup),
            reports: Patience::new(deadlines.report),
        }
    }

    /// The server was silent when it was asked over BitBake's protocol: it is not waited for
    /// as long again.
    pub(super) fn was_silent(&self) {
        for patience in [&self.lookups, &self.reports] {
            patience.is_doubted.store(true, Ordering::Relaxed);
        }
    }

    pub(super) async fn unihashes(
        &self,
        tasks: &[Task],
    ) -> Result<Said<Vec<Option<Unihash>>>, AskError> {
        let asked = self.lookups.wait(|by| self.client.unihashes(tasks, by));
        asked.await
    }

    pub(super) async fn signed(
        &self,
        tasks: &[Task],
    ) -> Result<Said<Vec<Option<SignedRow>>>, AskError> {
        self.lookups.wait(|by| self.client.signed(tasks, by)).await
    }

    pub(super) async fn exist(&self, unihashes: &[String]) -> Result<Vec<bool>, AskError> {
        let asked = self.lookups.wait(|by| self.client.exist(unihashes, by));
        asked.await
    }

    /// What `get` with all of a row and `get-outhash` answer; nothing else has rows.
    pub(super) async fn row(
        &self,
        command: &'static str,
        argument: &str,
    ) -> Result<String, AskError> {
        let asked = self.lookups.wait(|by| self.row_by(by, command, argument));
        asked.await
    }

    async fn row_by(
        &self,
        by: Instant,
        command: &'static str,
        argument: &str,
    ) -> Result<String, AskError> {
        if command == "get-outhash" {
            return Ok(self.client.outhash(argument, by).await?.value);
        }
        let asked = serde_json::from_str(argument);
        let OfTask { method, taskhash } =
            asked.map_err(|error| AskError::senseless(error.to_string()))?;
        match command {
            "get-signed" => {
                let task = Task::parse(&method, &taskhash);
                let signed = self.client.signed(&[task], by).await?;
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
        let asked = self.reports.wait(|by| async move {
            match kind {
                ReportKind::Report => self.client.report(argument, by).await,
                ReportKind::ReportEquiv => self.client.report_equiv(argument, by).await,
            }
        });
        asked.await
    }

    pub(super) async fn report_signed(
        &self,
        argument: &str,
    ) -> Result<Said<ReportedRow>, AskError> {
        let client = &self.client;
        let asked = self.reports.wait(|by| client.report_signed(argument, by));
        asked.await
    }

    pub(super) async fn put_signature(
        &self,
        row: &SignedRow,
        signature: &str,
    ) -> Result<(), AskError> {
        let client = &self.client;
        let asked = self
            .reports
            .wait(|by| client.put_signature(row, signature, by));
        asked.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_was_silent_is_waited_for_less_once() {
        let most = Duration::from_secs(2);
        let patience = Patience::new(most);
        patience.is_doubted.store(true, Ordering::Relaxed);
        assert_eq!(patience.now(), most / DOUBTED);
        let late = patience.wait(|_| async { Err::<(), _>(AskError::late()) });
        assert_eq!(late.await, Err(AskError::late()));
        assert_eq!(patience.now(), most);
    }
}
