//! What systemd is told of a service with `Type=notify`.

use sd_notify::NotifyState;

/// Says that the start is over: whoever connects is served.
pub fn ready() {
    notify(NotifyState::Ready);
}

/// Says that the program is about to end.
pub fn stopping() {
    notify(NotifyState::Stopping);
}

/// Tells systemd, if it asked to be told.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("cannot notify systemd: {error}");
    }
}
