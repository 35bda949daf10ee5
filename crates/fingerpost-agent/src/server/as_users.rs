//! The server as builds see it that log in, where the agent has no login of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fingerpost_hashequiv_client::Credentials;
use fingerpost_hashequiv_client::http::{HttpCredential, ServerUrl};
use parking_lot::Mutex;

use super::Server;
use super::as_user::AsUser;
use crate::AgentOptions;

/// Users whose connections are kept; who comes back later connects again.
const USERS_MAX: usize = 32;

/// One server for each login, the last used one last.
pub(crate) struct AsUsers {
    options: AgentOptions,
    namespace: Option<String>,
    servers: Mutex<VecDeque<(Credentials, Arc<Server>)>>,
    /// How many were started.
    started: AtomicU32,
}

impl AsUsers {
    /// None where all is asked with the agent's own login, and where everybody on the way
    /// could read one.
    pub(crate) fn new(options: &AgentOptions, namespace: Option<&str>) -> Option<Self> {
        let http = options.http.as_ref();
        let is_exposed = http.is_some_and(|http| http.urls.iter().any(ServerUrl::is_exposed));
        (!options.is_somebody() && !is_exposed).then(|| Self {
            options: options.clone(),
            namespace: namespace.map(str::to_owned),
            servers: Mutex::default(),
            started: AtomicU32::new(0),
        })
    }

    /// The server with a login.
    pub(crate) fn server(&self, login: &Credentials) -> Option<Arc<Server>> {
        let mut servers = self.servers.lock();
        let is_it = |(known, _): &(Credentials, Arc<Server>)| {
            known.username == login.username && known.token == login.token
        };
        let found = servers.iter().position(is_it);
        let entry = match found.and_then(|place| servers.remove(place)) {
            Some(entry) => entry,
            None => (login.clone(), self.start(login)?),
        };
        let server = Arc::clone(&entry.1);
        if servers.len() >= USERS_MAX {
            servers.pop_front();
        }
        servers.push_back(entry);
        Some(server)
    }

    fn start(&self, login: &Credentials) -> Option<Arc<Server>> {
        let mut options = self.options.clone();
        options.server.credentials = Some(login.clone());
        if let Some(http) = &mut options.http {
            http.credential = HttpCredential::Basic {
                username: login.username.clone(),
                token: login.token.clone(),
            };
        }
        // Nobody has a login that HTTP cannot carry, a name with a colon for example: it is
        // asked for as the agent, who is nobody here.
        let mut server = Server::start(&options, self.namespace.as_deref()).ok()?;
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        server.as_user = Some(AsUser::new(number, login.username.clone()));
        Some(Arc::new(server))
    }
}

#[cfg(test)]
mod tests {
    use fingerpost_hashequiv_client::ClientOptions;

    use super::*;

    fn login(number: usize) -> Credentials {
        Credentials {
            username: format!("user{number}"),
            token: "token".to_owned(),
        }
    }

    #[tokio::test]
    async fn each_login_has_a_server_and_few_are_kept() {
        let server = ClientOptions::to("127.0.0.1:1".parse().unwrap());
        let mut options = AgentOptions::to(server, "/state".into());
        let users = AsUsers::new(&options, None).unwrap();
        let first = users.server(&login(0)).unwrap();
        assert!(Arc::ptr_eq(&first, &users.server(&login(0)).unwrap()));
        let other = Credentials {
            token: "another".to_owned(),
            ..login(0)
        };
        assert!(!Arc::ptr_eq(&first, &users.server(&other).unwrap()));
        for number in 1..USERS_MAX {
            users.server(&login(number)).unwrap();
        }
        assert_eq!(users.servers.lock().len(), USERS_MAX);
        assert!(!Arc::ptr_eq(&first, &users.server(&login(0)).unwrap()));
        options.server.credentials = Some(login(0));
        assert!(AsUsers::new(&options, None).is_none());
    }
}
