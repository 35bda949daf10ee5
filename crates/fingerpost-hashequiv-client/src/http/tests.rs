//! The client against servers that behave well, and others.

mod failing;
mod logins;
mod peer;
mod proxied;
mod reading;

use std::sync::Arc;
use std::time::Duration;

use fingerpost_hashequiv_proto::types::{Task, Unihash};
use tokio::time::Instant;

use self::peer::{Manner, Peer};
use super::*;
use crate::{AskError, Proxies};

/// The longest wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// What servers of tests answer to every question.
fn unihash() -> Unihash {
    Unihash::parse(&"d".repeat(64))
}

fn options(urls: &[String]) -> HttpOptions {
    let urls = urls.iter().map(|url| url.parse().unwrap()).collect();
    HttpOptions {
        proxies: Proxies::none(),
        environment: Environment::new(|_| None),
        ..HttpOptions::to(urls)
    }
}

fn client(urls: &[String]) -> HttpClient {
    HttpClient::new(options(urls)).unwrap()
}

/// Asks for one task, and from another task of the runtime as an agent does.
async fn look_up(client: &HttpClient, give_up: Instant) -> Result<Option<Unihash>, AskError> {
    let client = client.clone();
    let tasks = [Task::parse("m", "1")];
    let asked = tokio::spawn(async move { client.unihashes(&tasks, give_up).await });
    let said = asked.await.unwrap()?;
    let [unihash] = <[_; 1]>::try_from(said.value).unwrap();
    Ok(unihash)
}

#[tokio::test]
async fn nothing_that_is_shown_to_servers_is_printed() {
    let login = |credential| HttpOptions {
        credential,
        ..options(&["https://farm.example".to_owned()])
    };
    let basic = HttpCredential::Basic {
        username: "builder".to_owned(),
        token: "hunter2".to_owned(),
    };
    let options = login(basic);
    let shown = format!("{options:?}");
    assert!(shown.contains("builder") && !shown.contains("hunter2"));
    let client = HttpClient::new(options).unwrap();
    assert_eq!(format!("{client:?}"), "[ServerUrl(https://farm.example)]");
    assert_eq!(
        HttpClient::new(HttpOptions::to(Vec::new())).unwrap_err(),
        HttpSetupError::NoServer
    );
}
