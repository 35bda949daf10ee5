//! Signed rows: an extension, which other servers do not have.

use serde::Serialize;

use super::Request;
use super::lookup::Report;
use crate::client::{PutOutcomes, ReportedRow, SignedRow};

/// Looks the row of a task up with its signatures.
pub fn get_signed(method: &str, taskhash: &str) -> Request<Option<SignedRow>> {
    #[derive(Serialize)]
    struct GetSigned<'a> {
        method: &'a str,
        taskhash: &'a str,
    }
    Request::new("get-signed", GetSigned { method, taskhash })
}

/// Reports an output, and asks for the row that the answer comes from.
pub fn report_signed(report: &Report<'_>) -> Request<ReportedRow> {
    Request::new("report-signed", report)
}

/// A signature with all fields of the row that was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedRowArgs {
    /// The namespace that was signed.
    pub namespace: String,
    /// Method of the report.
    pub method: String,
    /// Hash of the task's inputs.
    pub taskhash: String,
    /// Hash of the task's output.
    pub outhash: String,
    /// The unihash that was signed.
    pub unihash: String,
    /// The signature.
    pub signature: String,
}

/// Uploads signatures; a server takes 1,000 at once.
pub fn put_signatures(rows: &[SignedRowArgs]) -> Request<PutOutcomes> {
    #[derive(Serialize)]
    struct PutSignatures<'a> {
        rows: &'a [SignedRowArgs],
    }
    Request::new("put-signatures", PutSignatures { rows })
}
