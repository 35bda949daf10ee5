//! The thread that counts what is there and makes headroom.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use super::layout::DIRECTORIES;
use super::room::Room;

/// How often everything is counted again, for what others did in the
/// directory. Eviction counts what it looks at, so this may be seldom.
const RECOUNT_EVERY: Duration = Duration::from_secs(3600);

/// A handle to the thread, which ends with it.
pub(super) struct Keeper {
    wake: SyncSender<()>,
    counted: Arc<AtomicBool>,
}

impl Keeper {
    pub(super) fn start(room: Arc<Room>) -> io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        let counted = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&counted);
        std::thread::Builder::new()
            .name("disk-keeper".to_owned())
            .spawn(move || keep(&room, &woken, &done))?;
        Ok(Self { wake, counted })
    }

    /// Lets it make headroom.
    pub(super) fn wake(&self) {
        // If a call is waiting already, that one does.
        let _ = self.wake.try_send(());
    }

    /// Whether everything was counted once.
    pub(super) fn has_counted(&self) -> bool {
        self.counted.load(Ordering::Acquire)
    }
}

fn keep(room: &Room, woken: &Receiver<()>, counted: &AtomicBool) {
    loop {
        for number in 0..DIRECTORIES {
            match woken.try_recv() {
                Ok(()) => room.make_headroom(),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            if let Err(error) = room.recount(&mut room.hand.lock(), number) {
                tracing::warn!(number, %error, "cannot count what is on disk");
            }
        }
        counted.store(true, Ordering::Release);
        loop {
            room.make_headroom();
            match woken.recv_timeout(RECOUNT_EVERY) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
