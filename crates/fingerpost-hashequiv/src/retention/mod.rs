//! Retention: what goes by itself, as a policy says.
//!
//! `policy` is what is configured, `keep` reads lists of what stays, `judge` says of a
//! row whether it goes, `run` walks over the rows and has them deleted in batches,
//! `pace` leaves the database to others, `schedule` says when. Nothing here knows a
//! database: `store` is what is asked of one.

mod judge;
mod keep;
mod labels;
mod pace;
mod policy;
mod record;
mod rows;
mod run;
mod schedule;
mod store;

pub use keep::{KEEP_MAX, Keep, KeepError};
pub use labels::{Labels, glob_matches};
pub use policy::{BadRule, Policy, Rule, Term, Terms};
pub use record::{Outcome, Report, RunRecord, Tally};
pub use rows::{Expired, Kind, RetainedMapping, RetainedPage, RetainedRow};
pub use run::{Event, LEASE, Retention, RetentionError, Watch};
pub use schedule::Schedule;
pub use store::RetentionStore;
