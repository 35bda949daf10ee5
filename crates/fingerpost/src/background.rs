//! Work that stands back for whoever is served.

use std::io;
use std::thread::Builder;

use anyhow::Context as _;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::sync::oneshot;

/// How nice a thread is that has time: the kernel gives it a tenth of what one of the
/// server's gets, and all of a processor that is idle.
const NICE: i32 = 10;

/// Runs `work` on a thread of its own, which is called `name`, behind all others of
/// the process. Its thread ends with it. Fails when there is no thread, or it panicked.
pub(crate) async fn run<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    let (tell, told) = oneshot::channel();
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        if let Err(error) = stand_back() {
            tracing::debug!(%error, "the thread {name} stays as urgent as others");
        }
        // Nobody may wait any more.
        let _ = tell.send(work());
    });
    thread.with_context(|| format!("no thread for {name}"))?;
    told.await.with_context(|| format!("{name} panicked"))
}

/// On Linux a thread has a priority of its own, by its number.
fn stand_back() -> io::Result<()> {
    Ok(setpriority_process(Some(gettid()), NICE)?)
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[tokio::test]
    async fn only_the_thread_itself_stands_back() {
        let before = getpriority_process(Some(gettid())).unwrap();
        let of_work = run("a-test", || getpriority_process(Some(gettid())).unwrap());
        assert_eq!(of_work.await.unwrap(), before.max(NICE));
        assert_eq!(getpriority_process(Some(gettid())).unwrap(), before);
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let error = run("a-test", || panic!("on purpose")).await.unwrap_err();
        assert!(error.to_string().contains("a-test panicked"), "{error}");
    }
}
