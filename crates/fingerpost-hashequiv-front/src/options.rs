//! What an operator may set about the native door.

use std::time::Duration;

use fingerpost_hashequiv_proto::Limits;

/// Limits and waits of the native door. The handshake's deadline belongs to the
/// listener, see [`fingerpost_net::ConnectionGuard::handshake_deadline`].
#[derive(Clone, Copy, Debug)]
pub struct DoorOptions {
    /// What one line, message and handshake may hold.
    pub limits: Limits,
    /// Bytes of answers that may wait for one client to read them. Beyond it
    /// its requests are left unread until it does. A whole batch of look-ups,
    /// written before its first answer is read, should fit: 65 bytes a line.
    pub pending_bytes: usize,
    /// Bytes that all connections together may have buffered, where each one's
    /// first 128 KiB are not counted. When it is used up a connection that is
    /// receiving a long message is closed, and one that does not read its
    /// answers is not read from. A [`crate::JsonDoor`] may share it.
    pub buffered_bytes_total: usize,
    /// Stream lines that are looked up together when memory does not know them.
    pub batch_lines: usize,
    /// How long a client may take none of the bytes that wait for it.
    pub write_stall: Duration,
    /// How long a message may take from its first byte to its last.
    pub message_time: Duration,
}

impl Default for DoorOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            pending_bytes: 4 << 20,
            buffered_bytes_total: 256 << 20,
            batch_lines: 1000,
            write_stall: Duration::from_secs(120),
            message_time: Duration::from_secs(120),
        }
    }
}
