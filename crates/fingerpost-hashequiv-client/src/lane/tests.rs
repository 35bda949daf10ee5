use std::sync::atomic::{AtomicBool, Ordering};

use fingerpost_hashequiv_proto::client::{request, stream};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::Credentials;

const TIMEOUT: Duration = Duration::from_millis(300);
/// The longest wait for another trial.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server of one line for each line: what `says` makes of it, or nothing.
async fn server(says: fn(&str) -> Option<&'static str>) -> ClientOptions {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, says));
        }
    });
    let mut options = ClientOptions::to(address.parse().unwrap());
    options.connect_timeout = TIMEOUT;
    options.receive_timeout = TIMEOUT;
    options
}

async fn serve(stream: TcpStream, says: fn(&str) -> Option<&'static str>) {
    let (input, mut output) = stream.into_split();
    let mut lines = BufReader::new(input).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(answer) = says(&line) {
            output.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

fn look_up() -> Question {
    let write = |out: &mut Vec<u8>, framing| stream::write_get(out, framing, "m", "t");
    Question::one(move |out| out.write(write).is_ok())
}

fn ask(request: &request::Request<impl Sized>) -> Question {
    let json = request.json().to_vec();
    Question::one(move |out| {
        out.message(&json);
        true
    })
}

#[tokio::test]
async fn a_server_that_only_shakes_hands_stays_down() {
    let says = |line: &str| line.contains("get-stream").then_some("\"ok\"\n");
    let options = server(says).await;
    let breaker = Arc::new(Breaker::new("test".to_owned()));
    let lane = Lane::start_proving(options, Mode::Gets, Arc::clone(&breaker));
    assert!(lane.ask(look_up()).await.is_err());
    assert!(!breaker.is_up());
    // A probe shakes hands, and is not answered either.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(lane.ask(look_up()).await.is_err());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!breaker.is_up());
}

/// What asks without proving: an upstream's.
#[tokio::test]
async fn a_connection_alone_ends_no_trouble() {
    let says = |line: &str| line.contains("get-stream").then_some("\"ok\"\n");
    let options = server(says).await;
    let breaker = Arc::new(Breaker::new("test".to_owned()));
    let lane = Lane::start(options, Mode::Gets, Arc::clone(&breaker));
    assert_eq!(lane.ask(look_up()).await, Err(error("it does not answer")));
    assert!(!breaker.is_up());
    // Once it is connected again one question is asked, and the others wait for nothing.
    let refused = Err(error("known to be down"));
    let is_tried = async {
        loop {
            let (one, other) = tokio::join!(lane.ask(look_up()), lane.ask(look_up()));
            assert!(!breaker.is_up());
            assert_eq!(other, refused);
            if one != refused {
                return one;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let tried = timeout(PATIENCE, is_tried).await.unwrap();
    assert_eq!(tried, Err(error("it does not answer")));
    assert_eq!(lane.ask(look_up()).await, refused);
}

/// Answers look-ups once it is told to.
static IS_BACK: AtomicBool = AtomicBool::new(false);

#[tokio::test]
async fn an_answer_on_trial_ends_the_trouble() {
    let says = |line: &str| match line {
        line if line.contains("get-stream") => Some("\"ok\"\n"),
        "m t" if IS_BACK.load(Ordering::Relaxed) => Some("\n"),
        _ => None,
    };
    let options = server(says).await;
    let breaker = Arc::new(Breaker::new("test".to_owned()));
    let lane = Lane::start(options, Mode::Gets, Arc::clone(&breaker));
    assert!(lane.ask(look_up()).await.is_err());
    IS_BACK.store(true, Ordering::Relaxed);
    let is_answered = async {
        while lane.ask(look_up()).await.is_err() {
            assert!(!breaker.is_up());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, is_answered).await.unwrap();
    assert!(breaker.is_up());
}

#[tokio::test]
async fn what_is_refused_is_told_to_who_asked() {
    let says = |line: &str| match line {
        line if line.contains("ping") => Some("{\"alive\": true}\n"),
        line if line.contains("get-outhash") => {
            Some("{\"invoke-error\": {\"message\": \"not for you\"}}\n")
        }
        line if line.contains("get") => Some("null\n"),
        _ => None,
    };
    let options = server(says).await;
    let breaker = Arc::new(Breaker::new("test".to_owned()));
    let lane = Lane::start_proving(options, Mode::Requests, Arc::clone(&breaker));
    let refused = lane
        .ask(ask(&request::get_outhash("m", "o", "t", true)))
        .await;
    assert_eq!(refused, Err(AskError::Told("not for you".to_owned())));
    assert!(breaker.is_up());
    let answered = lane.ask(ask(&request::get("m", "t"))).await;
    assert_eq!(answered, Ok(vec![Some("null".to_owned())]));
}

#[tokio::test]
async fn who_is_not_let_in_is_told_from_a_server_that_is_down() {
    let says = |line: &str| {
        let refuses = line.contains("auth");
        refuses.then_some("{\"invoke-error\": {\"message\": \"not you\"}}\n")
    };
    let mut options = server(says).await;
    options.credentials = Some(Credentials {
        username: "builder".to_owned(),
        token: "old".to_owned(),
    });
    let breaker = Arc::new(Breaker::new("test".to_owned()));
    let lane = Lane::start_proving(options, Mode::Gets, Arc::clone(&breaker));
    let refused = Err(AskError::Login("not you".to_owned()));
    assert_eq!(lane.ask(look_up()).await, refused);
    assert!(!breaker.is_up());
    // Nobody tries the login for each question.
    assert_eq!(lane.ask(look_up()).await, refused);
}
