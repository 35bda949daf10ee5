//! Damaged repositories: whatever is wrong with a file, a clone gets right
//! bytes or an error that names repository and file, and gets it soon.

mod bombs;
mod clone;
mod faults;
mod runner;
mod state;
mod trees;
