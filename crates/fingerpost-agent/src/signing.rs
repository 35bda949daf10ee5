//! Reports to a server whose answers are judged, and signed.

use std::sync::Arc;

use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_hashequiv_client::AskError;
use fingerpost_hashequiv_client::http::Said;
use fingerpost_hashequiv_proto::client::{ReportedRow, SignedRow, UnihashRow, read_answer};
use fingerpost_hashequiv_proto::types::Task;
use fingerpost_signatures::{Row, Settled, Trust, UnixTime};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use crate::reporting::Reported;
use crate::server::Server;
use crate::shared::Shared;
use crate::state::ReportKind;

/// How often a signature is offered to the server that was there a moment ago.
const OFFERS: usize = 3;

impl Shared {
    /// Who judges look-ups, if somebody does.
    pub(crate) fn judging(&self) -> Option<Arc<Trust>> {
        self.trust.now().filter(|trust| trust.judges())
    }

    /// Brings a report to the server, and answers the row of its task as JSON: of what the
    /// server says as much as is believed, which is signed if the reporter's profile `signs`.
    pub(crate) async fn tell(
        self: &Arc<Self>,
        server: &Arc<Server>,
        kind: ReportKind,
        argument: &str,
        signs: bool,
    ) -> Result<Said<String>, AskError> {
        let looks = |trust: &Arc<Trust>| trust.judges() || (signs && trust.signs());
        let Some(trust) = self.trust.now().filter(looks) else {
            return server.report(kind, argument).await;
        };
        let reported: Reported = serde_json::from_str(argument)
            .map_err(|error| AskError::senseless(error.to_string()))?;
        if kind == ReportKind::ReportEquiv {
            return self.tell_equiv(server, reported, argument).await;
        }
        let Said { value, epoch } = server.report_signed(argument).await?;
        let settled = settle(&trust, &reported, &value);
        if settled.unihash != value.unihash.to_text() {
            self.figures.disbelieved(&settled.word);
        }
        if let Some(signed) = settled.signed.filter(|_| signs) {
            tokio::spawn(Arc::clone(self).offer(Arc::clone(server), signed));
        }
        let row = json!({
            "taskhash": reported.taskhash,
            "method": reported.method,
            "unihash": settled.unihash,
        });
        let value = row.to_string();
        Ok(Said { value, epoch })
    }

    /// The same for `report-equiv`, which nobody signs. Another unihash than the reported one is
    /// believed as a look-up's; else it is as if nobody had handled the report.
    async fn tell_equiv(
        &self,
        server: &Server,
        reported: Reported,
        argument: &str,
    ) -> Result<Said<String>, AskError> {
        let give_up = Instant::now() + server.report_deadline();
        let said = server.report(ReportKind::ReportEquiv, argument).await?;
        let row = read_answer::<Option<UnihashRow>>(&said.value)
            .ok()
            .flatten();
        let Some(row) = row.filter(|row| row.unihash.to_text() != reported.unihash) else {
            return Ok(said);
        };
        let task = Task::parse(&reported.method, &reported.taskhash);
        let believes = self.believes(server, task, &row.unihash);
        match timeout_at(give_up, believes).await {
            Ok(true) => Ok(said),
            _ => Ok(Said {
                value: "null".to_owned(),
                ..said
            }),
        }
    }

    /// Gives the server a signature of what it answered. Whoever requires one misses the row
    /// without it, and no build waits for that.
    async fn offer(self: Arc<Self>, server: Arc<Server>, (row, signature): (Row, String)) {
        let row = SignedRow {
            namespace: row.namespace,
            method: row.method,
            taskhash: row.taskhash,
            outhash: Some(row.outhash),
            unihash: row.unihash,
            signatures: Vec::new(),
        };
        let mut outcome = Ok(());
        for _ in 0..OFFERS {
            outcome = server.put_signature(&row, &signature).await;
            let is_over = matches!(
                outcome,
                Ok(()) | Err(AskError::Told(_) | AskError::Login(_))
            );
            if is_over {
                break;
            }
        }
        match outcome {
            Ok(()) => self.figures.signed(),
            Err(error) => self.figures.gave_up("put-signatures", &error),
        }
    }
}

fn settle(trust: &Trust, reported: &Reported, answered: &ReportedRow) -> Settled {
    let outhash = reported.outhash.as_deref().unwrap_or_default();
    let own = [
        &*reported.method,
        &*reported.taskhash,
        outhash,
        &*reported.unihash,
    ];
    let now = UnixTime::of(SystemClock.now());
    let answer = answered.unihash.to_text();
    trust.settle(own, &answer, answered.evidence.as_ref(), now)
}
