//! Logins of builds. A build that is told that its login failed ends, and one whose
//! connection is closed meanwhile tries for ever; so a login never waits long and never
//! fails because of the server.

use std::collections::HashMap;
use std::time::Duration;

use fingerpost_hashequiv_client::{Client, ClientError, ClientOptions, Credentials, request};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long the server's word on a login counts without asking again.
const WORD_MAX: Duration = Duration::from_secs(60);
/// The same of a refusal: new rights of the token that was refused are seen after that.
const REFUSAL_MAX: Duration = Duration::from_secs(600);
/// After a login that was not answered, so long nobody waits for another.
const SILENCE: Duration = Duration::from_secs(10);
/// Users that are remembered.
const USERS_MAX: usize = 1_000;
/// What a build may where the server has not said anything.
const DEFAULT: [&str; 2] = ["@read", "@report"];

/// The server's last word on users, in memory only: there are tokens in it.
#[derive(Default)]
pub(crate) struct Logins {
    users: Mutex<HashMap<String, Word>>,
    silent_until: Mutex<Option<Instant>>,
    /// What the builds of each user of the host logged in with last as each user of the
    /// server, unless it was refused.
    given: Mutex<HashMap<String, Credentials>>,
}

/// What the server said.
struct Word {
    token: String,
    /// The permissions, or the words of the refusal.
    said: Result<Vec<String>, String>,
    at: Instant,
}

/// How a login ended.
pub(crate) enum Outcome {
    /// The build has these permissions, as far as is known; the error if the server has
    /// not said so now.
    In(Vec<String>, Option<ClientError>),
    /// The server refuses it, with these words.
    Refused(String),
}

impl Logins {
    /// Logs in. Waits for the server only if it `answers`.
    pub(crate) async fn log_in(
        &self,
        options: ClientOptions,
        username: &str,
        token: &str,
        answers: bool,
    ) -> Outcome {
        // A wrong token is refused slowly, and more slowly each time, for whoever is right too.
        match self.known(username, token) {
            Some(Ok(permissions)) => return Outcome::In(permissions, None),
            Some(Err(why)) => return Outcome::Refused(why),
            None => {}
        }
        let is_silent = self
            .silent_until
            .lock()
            .is_some_and(|until| Instant::now() < until);
        if !answers || is_silent {
            return Outcome::In(self.last(username, token), None);
        }
        let mut client = Client::new(options);
        match client.call(&request::auth(username, token)).await {
            Ok(login) => {
                self.remember(username, token, Ok(login.permissions.clone()));
                Outcome::In(login.permissions, None)
            }
            Err(ClientError::Told(why)) => {
                self.remember(username, token, Err(why.clone()));
                Outcome::Refused(why)
            }
            Err(error) => {
                *self.silent_until.lock() = Some(Instant::now() + SILENCE);
                Outcome::In(self.last(username, token), Some(error))
            }
        }
    }

    /// Notes what a build logged in with, for what has to be brought to the server later.
    pub(crate) fn give(&self, account: String, login: &Credentials) {
        let mut given = self.given.lock();
        if given.len() >= USERS_MAX && !given.contains_key(&account) {
            // Their reports wait until they log in again.
            given.clear();
        }
        given.insert(account, login.clone());
    }

    /// What an account logged in with last.
    pub(crate) fn credentials(&self, account: &str) -> Option<Credentials> {
        self.given.lock().get(account).cloned()
    }

    /// The last word on a user, or what everybody may who reports.
    pub(crate) fn last(&self, username: &str, token: &str) -> Vec<String> {
        let users = self.users.lock();
        let word = users.get(username).filter(|word| word.token == token);
        word.and_then(|word| word.said.clone().ok())
            .unwrap_or_else(|| DEFAULT.map(str::to_owned).to_vec())
    }

    /// What the server said a moment ago.
    fn known(&self, username: &str, token: &str) -> Option<Result<Vec<String>, String>> {
        let users = self.users.lock();
        let word = users.get(username).filter(|word| word.token == token)?;
        let age_max = match word.said {
            Ok(_) => WORD_MAX,
            Err(_) => REFUSAL_MAX,
        };
        (word.at.elapsed() < age_max).then(|| word.said.clone())
    }

    fn remember(&self, username: &str, token: &str, said: Result<Vec<String>, String>) {
        let mut users = self.users.lock();
        if users.len() >= USERS_MAX && !users.contains_key(username) {
            // Whoever is forgotten is asked for again.
            users.clear();
        }
        let word = Word {
            token: token.to_owned(),
            said,
            at: Instant::now(),
        };
        users.insert(username.to_owned(), word);
    }
}
