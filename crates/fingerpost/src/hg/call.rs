//! `fingerpost hg call`: a debugging client.

use std::io::Write;

use anyhow::Context as _;
use fingerpost_core::with_causes;
use fingerpost_hg_front::client::{Asking, ClientError, Followed, HgClient, Redirected};
use fingerpost_hg_proto::client::{Event, Response, format_message};
use fingerpost_hg_proto::{CommandRequest, ContentEncoding, FrameHeader};

use super::{arguments, notation};
use crate::exit::{Exit, OrExit, failure};

/// Run a command of any server that speaks wire protocol v2, and print what
/// it answers: one object a line, in JSON.
///
/// Arguments are NAME=VALUE. Bytes are written as they are or as `hex:...`, lists
/// and sets with commas between or as JSON.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// URL of the repository; a name and a password in it are a login.
    url: String,
    /// Command, or `handshake` for what the server says of itself.
    command: String,
    /// Arguments of the command, NAME=VALUE.
    #[arg(value_name = "ARGS")]
    arguments: Vec<String>,
    /// Also print each frame's header.
    #[arg(long)]
    frames: bool,
    /// Content encoding to ask for: zstd-8mb, zlib or identity; all three if
    /// it is not given.
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,
    /// Ask below `rw` instead of `ro`.
    #[arg(long)]
    rw: bool,
    /// Fetch the objects from where the server redirects to, if it does. Each
    /// redirect is told on standard error.
    #[arg(long)]
    follow: bool,
    /// Print byte strings up to this length, longer ones cut.
    #[arg(long, value_name = "BYTES", default_value_t = 400)]
    bytes: usize,
}

const EXAMPLES: &str = "\
Examples:
  fingerpost hg call http://127.0.0.1:8000 heads
  fingerpost hg call http://127.0.0.1:8000 filedata path=README fields=parents,revision \\
      nodes=hex:96ec8e8a7f6fac0f937f2fbfdcf6ae79d88e03af";

/// Asks and prints.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(call(args))
}

async fn call(args: &Args) -> anyhow::Result<Exit> {
    let client = HgClient::new(&args.url).or_exit(Exit::Usage, "URL")?;
    let handshake = client.handshake().await.map_err(explain)?;
    let nothing = || failure(Exit::Unavailable, "the server does not offer this protocol");
    let descriptor = handshake.descriptor().ok_or_else(nothing)?;
    let mut printer = Printer::new(args.bytes);
    if args.command == "handshake" {
        printer.line(&notation::show(descriptor, usize::MAX).to_string());
        return Ok(printer.exit());
    }
    let values = arguments::read(descriptor, &args.command, &args.arguments)
        .map_err(|why| failure(Exit::Usage, why))?;
    let request = CommandRequest::new(args.command.as_bytes(), values);
    let asking = Asking {
        encodings: encodings(args.encoding.as_deref())?,
        writes: args.rw,
        frames: args.frames,
        follow: args.follow,
        ..Asking::default()
    };
    let on_event = |event| printer.print(event);
    let calling = client.call_noting(&request, &asking, on_event, |redirected| {
        eprintln!("{}", redirect(redirected));
    });
    calling.await.map_err(explain)?;
    Ok(printer.exit())
}

/// What came of a redirect, in a line.
fn redirect(redirected: &Redirected) -> String {
    let Redirected {
        target,
        url,
        outcome,
    } = redirected;
    let target = target.escape_ascii();
    match outcome {
        Ok(Followed { body_bytes, bytes }) if body_bytes == bytes => {
            format!("redirect to {target} followed: {url}, {bytes} bytes")
        }
        Ok(Followed { body_bytes, bytes }) => {
            format!("redirect to {target} followed: {url}, {bytes} bytes as {body_bytes}")
        }
        Err(error) => format!("redirect to {target} failed: {url}: {}", with_causes(error)),
    }
}

fn encodings(name: Option<&str>) -> anyhow::Result<Vec<ContentEncoding>> {
    let Some(name) = name else {
        return Ok(ContentEncoding::ALL.to_vec());
    };
    let known = ContentEncoding::from_name(name.as_bytes());
    let why = || format!("--encoding {name}: known are zstd-8mb, zlib and identity");
    Ok(vec![known.ok_or_else(|| failure(Exit::Usage, why()))?])
}

/// What went wrong with a server, and how the program ends.
pub(crate) fn explain(error: ClientError) -> anyhow::Error {
    let exit = match &error {
        ClientError::Url(_) => Exit::Usage,
        ClientError::NotV2 { status, .. } if matches!(status.as_u16(), 401 | 403) => Exit::Denied,
        ClientError::Handshake(_) | ClientError::Frames(_) | ClientError::Answer(_) => {
            Exit::BadData
        }
        ClientError::Refused { .. } => Exit::Found,
        ClientError::Spool(_) => Exit::Io,
        _ => Exit::Unavailable,
    };
    failure(exit, format!("{:#}", anyhow::Error::new(error)))
}

/// Prints events, and remembers whether the command was done.
struct Printer {
    bytes_max: usize,
    exit: Exit,
    pieces: u64,
    /// A closed standard output ends the printing, not the program.
    closed: bool,
}

impl Printer {
    const fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            exit: Exit::Ok,
            pieces: 0,
            closed: false,
        }
    }

    const fn exit(&self) -> Exit {
        self.exit
    }

    fn print(&mut self, event: Event) {
        match event.response {
            Response::FrameSeen(header) => self.line(&frame(&header)),
            Response::Ok | Response::End => {}
            Response::Object(value) => {
                self.line(&notation::show(&value, self.bytes_max).to_string());
            }
            Response::BytesBegin { .. } => self.pieces = 0,
            Response::BytesChunk(bytes) => self.pieces += bytes.len() as u64,
            Response::BytesEnd => self.line(&format!("\"... ({} bytes)\"", self.pieces)),
            Response::Redirect(location) => {
                self.line(&format!(
                    "redirect to {}",
                    notation::show_bytes(&location.url, 4096)
                ));
            }
            Response::Refused { message, args } => {
                self.complain(&format_message(&message, &args));
            }
            Response::Failed { message, .. } => self.complain(&message),
        }
    }

    fn complain(&mut self, message: &[u8]) {
        self.exit = Exit::Found;
        eprintln!("{}", notation::show_bytes(message, 4096));
    }

    fn line(&mut self, line: &str) {
        if !self.closed {
            self.closed = writeln!(std::io::stdout(), "{line}").is_err();
        }
    }
}

fn frame(header: &FrameHeader) -> String {
    format!(
        "frame len={} req={} stream={} sflags={:?} type={:?} flags={:#x}",
        header.payload_bytes,
        header.request_id,
        header.stream_id,
        header.stream_flags,
        header.kind,
        header.flags
    )
}

#[cfg(test)]
mod tests {
    use fingerpost_core::SecretUrl;
    use fingerpost_hg_front::client::FollowError;

    use super::*;

    #[track_caller]
    fn check(outcome: Result<Followed, FollowError>, line: &str) {
        let url = format!(
            "https://cdn/x/{}?signature=key",
            "0123456789abcdef".repeat(4)
        );
        let redirected = Redirected {
            target: b"cdn\n".to_vec(),
            url: SecretUrl::new(url),
            outcome,
        };
        assert_eq!(redirect(&redirected), line);
    }

    #[test]
    fn a_redirect_is_a_line_without_its_key() {
        let followed = |body_bytes| Followed {
            body_bytes,
            bytes: 200,
        };
        check(
            Ok(followed(200)),
            r"redirect to cdn\n followed: https://cdn/x/0123456789ab..?.., 200 bytes",
        );
        check(
            Ok(followed(50)),
            r"redirect to cdn\n followed: https://cdn/x/0123456789ab..?.., 200 bytes as 50",
        );
        check(
            Err(FollowError::Spool(std::io::Error::other("no room"))),
            r"redirect to cdn\n failed: https://cdn/x/0123456789ab..?..: the content cannot be kept: no room",
        );
    }
}
