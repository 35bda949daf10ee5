use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Makes the bytes 0, 1, 2... up to `until`, in pieces.
struct Counting {
    next: u8,
    until: u8,
    runs: Arc<AtomicUsize>,
    fails_at: Option<u8>,
}

impl Objects for Counting {
    fn append(&mut self, out: &mut Vec<u8>) -> Result<More, Failure> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        assert!(self.fails_at != Some(200), "as it was told");
        if self.fails_at == Some(self.next) {
            return Err(Failure::refused("test", "no more"));
        }
        out.extend([self.next; 3]);
        self.next += 1;
        Ok(if self.next < self.until {
            More::Yes
        } else {
            More::No
        })
    }
}

fn counting(until: u8, fails_at: Option<u8>) -> (Box<dyn Objects>, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let maker = Counting {
        next: 0,
        until,
        runs: Arc::clone(&runs),
        fails_at,
    };
    (Box::new(maker), runs)
}

fn options(memory_bytes_max: usize, bytes_max: u64) -> SpoolOptions {
    SpoolOptions {
        memory_bytes_max,
        bytes_max,
        ..SpoolOptions::default()
    }
}

/// Reads to the end, as a blocking reader does.
fn read_all(flight: &Flight, max: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    loop {
        match flight.read(out.len() as u64, max, &mut out)? {
            Progress::Some => {}
            Progress::Wait => std::thread::sleep(Duration::from_millis(1)),
            Progress::End | Progress::Made(_) => return Ok(out),
            Progress::Alone(mut maker) => {
                while maker.append(&mut out)? == More::Yes {}
                return Ok(out);
            }
            Progress::Failed(why) => return Err(Failure::internal(why)),
        }
    }
}

fn expected(until: u8) -> Vec<u8> {
    (0..until).flat_map(|byte| [byte; 3]).collect()
}

#[test]
fn many_readers_get_everything_and_it_is_made_once() {
    for memory in [0, 20, 1000] {
        let (maker, runs) = counting(100, None);
        let flight = Flight::new(maker, options(memory, 1000));
        std::thread::scope(|scope| {
            let readers: Vec<_> = (1..9)
                .map(|max| {
                    scope.spawn({
                        let flight = &flight;
                        move || read_all(flight, max).unwrap()
                    })
                })
                .collect();
            for reader in readers {
                assert_eq!(reader.join().unwrap(), expected(100));
            }
        });
        assert_eq!(runs.load(Ordering::SeqCst), 100);
        assert!(matches!(flight.state.lock().end, Some(End::Whole)));
    }
}

#[test]
fn the_next_reader_goes_on_where_one_left() {
    let (maker, runs) = counting(4, None);
    let flight = Flight::new(maker, options(1000, 1000));
    let mut gone = Vec::new();
    assert!(matches!(flight.read(0, 10, &mut gone), Ok(Progress::Some)));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(read_all(&flight, 100).unwrap(), expected(4));
    assert_eq!(runs.load(Ordering::SeqCst), 4);
}

#[test]
fn a_failure_is_told_to_everybody_and_nothing_is_whole() {
    let (maker, _) = counting(4, Some(2));
    let flight = Flight::new(maker, options(1000, 1000));
    assert!(matches!(
        read_all(&flight, 100),
        Err(Failure::Refused { .. })
    ));
    let told = read_all(&flight, 100).unwrap_err();
    assert!(matches!(&told, Failure::Internal(_)) && told.to_string().contains("no more"));
    assert!(flight.has_failed());
}

#[test]
fn what_cannot_be_held_is_for_the_reader_that_made_it() {
    let nowhere = SpoolOptions {
        directory: Some("/not/there".into()),
        ..options(10, 1000)
    };
    for (options, why) in [(options(10, 20), "longer"), (nowhere, "No such file")] {
        let (maker, runs) = counting(100, None);
        let flight = Flight::new(maker, options);
        assert_eq!(read_all(&flight, 100).unwrap(), expected(100));
        assert_eq!(runs.load(Ordering::SeqCst), 100);
        assert!(flight.has_failed());
        let told = read_all(&flight, 100).unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn a_panic_leaves_nobody_waiting() {
    let (maker, _) = counting(4, Some(200));
    let flight = Flight::new(maker, options(10, 20));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read_all(&flight, 1)));
    assert!(caught.is_err());
    assert!(
        read_all(&flight, 1)
            .unwrap_err()
            .to_string()
            .contains("panicked")
    );
}

#[tokio::test]
async fn who_waits_is_woken() {
    let (maker, _) = counting(2, None);
    let flight = Arc::new(Flight::new(maker, options(10, 20)));
    // Somebody can make bytes, so there is nothing to wait for.
    flight.changed(0).await;
    let maker = flight.state.lock().maker.take();
    let waiting = tokio::spawn({
        let flight = Arc::clone(&flight);
        async move { flight.changed(0).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let mut out = Vec::new();
    flight.make(maker.unwrap(), &mut out).unwrap();
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap()
        .unwrap();
}
