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
/// After a login that was not answered, so long nobody waits for another; twice as long after
/// each further one, up to the most.
const SILENCE: Duration = Duration::from_secs(10);
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// Users that are remembered.
const USERS_MAX: usize = 1_000;
/// What a build may where the server has not said anything.
const DEFAULT: [&str; 2] = ["@read", "@report"];

/// The server's last word on users, in memory only: there are tokens in it.
#[derive(Default)]
pub(crate) struct Logins {
    users: Mutex<HashMap<String, Word>>,
    silence: Mutex<Option<Silence>>,
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

/// The server did not answer a login.
struct Silence {
    until: Instant,
    pause: Duration,
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
        if !answers || !self.may_try() {
            return Outcome::In(self.last(username, token), None);
        }
        let mut client = Client::new(options);
        let said = client.call(&request::auth(username, token)).await;
        if matches!(said, Ok(_) | Err(ClientError::Told(_))) {
            *self.silence.lock() = None;
        }
        match said {
            Ok(login) => {
                self.remember(username, token, Ok(login.permissions.clone()));
                Outcome::In(login.permissions, None)
            }
            Err(ClientError::Told(why)) => {
                self.remember(username, token, Err(why.clone()));
                Outcome::Refused(why)
            }
            Err(error) => {
                self.was_silent();
                Outcome::In(self.last(username, token), Some(error))
            }
        }
    }

    /// Whether the server is waited for. Of those who come after a silence one tries.
    fn may_try(&self) -> bool {
        let mut silence = self.silence.lock();
        let now = Instant::now();
        match &mut *silence {
            None => true,
            Some(Silence { until, .. }) if now < *until => false,
            Some(silence) => {
                silence.pause = (silence.pause * 2).min(SILENCE_MAX);
                silence.until = now + silence.pause;
                true
            }
        }
    }

    /// Somebody waited in vain.
    fn was_silent(&self) {
        // Whoever tried again has set the time.
        self.silence.lock().get_or_insert_with(|| Silence {
            until: Instant::now() + SILENCE,
            pause: SILENCE,
        });
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

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_a_silence_one_tries_and_the_next_one_later_each_time() {
        let logins = Logins::default();
        // All who came before it was known wait.
        assert!(logins.may_try() && logins.may_try());
        logins.was_silent();
        logins.was_silent();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let began = Instant::now();
            while !logins.may_try() {
                advance(Duration::from_secs(1)).await;
            }
            assert!(!logins.may_try());
            logins.was_silent();
            pauses.push(began.elapsed().as_secs());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300]);
    }
}
