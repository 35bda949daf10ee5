//! Fuzz targets: plain functions over bytes that panic when something that
//! must always hold does not.

use crate::json::fuzz_json_body;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target with its name, for runners.
pub const TARGETS: [(&str, Target); 1] = [("json_body", fuzz_json_body)];
