//! Users, their tokens and what they may do.
//!
//! [`Accounts`] keeps them in the table `user` of the service's database and
//! yields permissions; who a connection belongs to is the door's business.
//! Tokens are stored as the reference server stores them, so an imported
//! database's tokens go on working.

mod basic;
mod token;
mod users;

pub use basic::basic_credentials;
pub use token::{StoredToken, Token};
pub use users::{Accounts, AccountsError, StoredUser, User, add_user, stored_users};
