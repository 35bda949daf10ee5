//! Standard output, which whoever reads it may close at any time.

use std::io::{self, Write as _};

/// Lines and bytes for standard output. That it is closed ends the printing
/// and is no failure.
#[derive(Default)]
pub struct Out {
    closed: bool,
}

impl Out {
    /// Prints a line.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        self.bytes(format!("{line}\n").as_bytes())
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            written => written,
        }
    }

    /// Whether nobody reads any more.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }
}
