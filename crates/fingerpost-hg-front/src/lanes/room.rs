//! Room for requests that were read and not begun yet.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What the requests of all clients together may take.
#[derive(Debug)]
pub(super) struct Rooms {
    kib: Arc<Semaphore>,
    /// Whoever has this gets all of its room besides. Requests of which each has a
    /// part and waits for the rest would else wait for one another.
    besides: Arc<Semaphore>,
}

/// What one request has of it; given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Room {
    kib: Option<OwnedSemaphorePermit>,
    besides: Option<OwnedSemaphorePermit>,
}

impl Rooms {
    /// So many KiB, and what one request takes.
    pub(super) fn new(kib: usize) -> Self {
        Self {
            kib: Arc::new(Semaphore::new(kib)),
            besides: Arc::new(Semaphore::new(1)),
        }
    }

    /// Adds so many bytes to a request's room, once there are so many.
    pub(super) async fn extend(&self, room: &mut Room, bytes: usize) -> Result<(), AcquireError> {
        if room.besides.is_some() {
            return Ok(());
        }
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let mut more = std::pin::pin!(Arc::clone(&self.kib).acquire_many_owned(kib));
        // Not at the first contention: it is kept until all of the request is here,
        // and its client may be slow.
        if let Ok(more) = timeout(BESIDES_AFTER, &mut more).await {
            room.add(more?);
            return Ok(());
        }
        tokio::select! {
            biased;
            more = more => room.add(more?),
            besides = Arc::clone(&self.besides).acquire_owned() => room.besides = Some(besides?),
        }
        Ok(())
    }
}

/// How long a request waits for room before it competes for what is besides.
const BESIDES_AFTER: Duration = Duration::from_millis(200);

impl Room {
    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.kib {
            Some(kib) => kib.merge(more),
            None => self.kib = Some(more),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn requests_that_all_have_a_part_are_read_one_after_the_other() {
        let rooms = Arc::new(Rooms::new(8));
        let mut begun: Vec<Room> = (0..8).map(|_| Room::default()).collect();
        for room in &mut begun {
            rooms.extend(room, 1024).await.unwrap();
        }
        let reading: Vec<_> = begun
            .into_iter()
            .map(|mut room| {
                let rooms = Arc::clone(&rooms);
                tokio::spawn(async move {
                    for _ in 0..9 {
                        rooms.extend(&mut room, 1024).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for read in reading {
            timeout(SOON, read).await.expect("it is read").unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_one_request_goes_beyond_what_there_is() {
        let rooms = Rooms::new(8);
        let (mut all, mut besides, mut more) = Default::default();
        rooms.extend(&mut all, 8 << 10).await.unwrap();
        rooms.extend(&mut besides, 1).await.unwrap();
        rooms.extend(&mut besides, 1 << 20).await.unwrap();
        assert!(timeout(SOON, rooms.extend(&mut more, 1)).await.is_err());
        drop(all);
        timeout(SOON, rooms.extend(&mut more, 8 << 10))
            .await
            .unwrap()
            .unwrap();
    }
}
