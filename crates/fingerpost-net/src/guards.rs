//! What the doors of a server share to guard what is behind them.

use std::sync::Arc;

use crate::audit::Audit;
use crate::{Admission, AdmissionOptions};

/// The limits and the audit log of a server, which its doors share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Guards {
    /// Who may have something done now.
    pub admission: Arc<Admission>,
    /// Where changes and denials are told.
    pub audit: Audit,
}

impl Default for Guards {
    /// The default limits, and no audit log.
    fn default() -> Self {
        Self {
            admission: Arc::new(Admission::new(AdmissionOptions::default())),
            audit: Audit::default(),
        }
    }
}
