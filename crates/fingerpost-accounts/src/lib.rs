//! Users, what they show to log in, and what they may do.
//!
//! [`Accounts`] keeps users in the table `user` of the service's database and
//! yields permissions; who a connection belongs to is the door's business.
//! Their tokens are stored as the reference server stores them, so an imported
//! database's tokens go on working. [`tokens`] are many for each user, [`passwords`]
//! are what people choose, and [`oidc`] knows the jobs of CI systems, who have no
//! account. [`Logins`] is all of these for a door, and [`Throttle`] slows guessing down.

mod authorization;
mod basic;
mod copied;
pub mod fuzz;
mod grant;
mod hosts;
mod login;
mod looks;
mod metrics;
pub mod oidc;
pub mod passwords;
mod postgres;
mod recent;
mod sqlite;
mod store;
#[cfg(test)]
mod testing;
mod throttle;
mod token;
pub mod tokens;
mod users;

pub use authorization::{Door, Way};
pub use basic::basic_credentials;
pub use copied::CopiedUser;
pub use fingerpost_core::Namespaces;
pub use grant::Grant;
pub use login::{Login, LoginError, LoginOptions, Logins};
pub use sqlite::{add_user, delete_user, put_user, stored_users};
pub use store::AccountStore;
pub use throttle::{Attempt, Throttle, ThrottleOptions, Wait};
pub use token::{StoredToken, Token};
pub use users::{Accounts, AccountsError, StoredUser, User};

/// The tables of [`tokens`] and [`passwords`], for a migration of the database
/// that has the table `user`.
pub const CREDENTIALS_SQL: &str = include_str!("credentials.sql");

/// The tables of users, [`tokens`] and [`passwords`] in PostgreSQL, for a migration.
pub const POSTGRES_SQL: &str = include_str!("postgres/schema.sql");
