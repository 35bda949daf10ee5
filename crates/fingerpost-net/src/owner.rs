//! Who has a port or a socket, as far as `/proc` tells.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// State `TCP_LISTEN` in `/proc/net/tcp`.
const LISTEN: &str = "0A";
/// More of a command's name than this is cut off.
const COMMAND_CHARS_MAX: usize = 60;
/// Programs that run another one, which is their first plain argument.
const INTERPRETERS: [&str; 4] = ["python", "perl", "sh", "bash"];

/// The process, or at least the user, that has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The process; `None` when it belongs to somebody else and `/proc` hides it.
    pub pid: Option<i32>,
    /// The program's name without its arguments, which may hold secrets.
    pub command: Option<String>,
    /// The user.
    pub uid: u32,
}

impl Owner {
    pub(crate) fn of_process(pid: i32, uid: u32) -> Self {
        Self {
            pid: Some(pid),
            command: command(pid),
            uid,
        }
    }

    /// Whoever listens on `address`, or on a wildcard that includes it.
    pub(crate) fn of_port(address: SocketAddr) -> Option<Self> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
        let listening = tables.iter().flatten().flat_map(|table| table.lines());
        let line = listening
            .filter_map(TableLine::parse)
            .find(|line| line.blocks(address))?;
        let pid = pid_of_socket(line.inode);
        Some(Self {
            pid,
            command: pid.and_then(command),
            uid: line.uid,
        })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, &self.command) {
            (Some(pid), Some(command)) => write!(f, "process {pid} ({command})"),
            (Some(pid), None) => write!(f, "process {pid}"),
            (None, _) => write!(f, "a process of user {}", self.uid),
        }
    }
}

/// One listening socket of `/proc/net/tcp` or `/proc/net/tcp6`.
#[derive(Debug, PartialEq, Eq)]
struct TableLine {
    local: SocketAddr,
    uid: u32,
    inode: u64,
}

impl TableLine {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [_, local, _, state, _, _, _, uid, _, inode, ..] = fields[..] else {
            return None;
        };
        if state != LISTEN {
            return None;
        }
        let (ip, port) = local.split_once(':')?;
        let local = SocketAddr::new(parse_ip(ip)?, u16::from_str_radix(port, 16).ok()?);
        Some(Self {
            local,
            uid: uid.parse().ok()?,
            inode: inode.parse().ok()?,
        })
    }

    fn blocks(&self, wanted: SocketAddr) -> bool {
        let (ours, theirs) = (wanted.ip().to_canonical(), self.local.ip().to_canonical());
        self.local.port() == wanted.port()
            && (ours == theirs || ours.is_unspecified() || theirs.is_unspecified())
    }
}

/// 8 or 32 hex digits: 32-bit words in the machine's own byte order.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let word = |n: usize| u32::from_str_radix(hex.get(8 * n..8 * n + 8)?, 16).ok();
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?.to_ne_bytes()).into()),
        32 => {
            let mut bytes = [0; 16];
            for (n, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(n)?.to_ne_bytes());
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

fn pid_of_socket(inode: u64) -> Option<i32> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| {
        // Other users' processes cannot be looked into; they are skipped.
        let open = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten();
        let mut links = open.filter_map(|fd| fs::read_link(fd.path()).ok());
        links.any(|link| link.as_os_str() == wanted.as_str())
    })
}

/// The name of the program, and of the script if it runs one.
fn command(pid: i32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&line);
    let mut words = text.split('\0');
    let base = |word: &str| {
        let name = Path::new(word).file_name()?.to_str()?;
        Some(
            name.chars()
                .filter(|c| !c.is_control())
                .take(COMMAND_CHARS_MAX)
                .collect::<String>(),
        )
    };
    let program = base(words.next()?)?;
    let runs_another = INTERPRETERS.iter().any(|name| program.starts_with(name));
    let script = words
        .next()
        .filter(|word| runs_another && !word.starts_with('-'));
    Some(match script.and_then(base) {
        Some(script) => format!("{program} {script}"),
        None => program,
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_tables_of_both_families_are_read() {
        let v4 = "  0: 0100007F:21EE 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0 100 0 0 10 0";
        let line = TableLine::parse(v4).expect("a listening socket");
        assert_eq!((line.uid, line.inode), (1000, 12345));
        assert!(line.blocks("127.0.0.1:8686".parse().expect("an address")));
        assert!(line.blocks("0.0.0.0:8686".parse().expect("an address")));
        assert!(!line.blocks("127.0.0.2:8686".parse().expect("an address")));
        let v6 = "  0: 00000000000000000000000000000000:21EE 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 77 1";
        let line = TableLine::parse(v6).expect("a listening socket");
        assert!(line.blocks("127.0.0.1:8686".parse().expect("an address")));
        assert_eq!(TableLine::parse(&v4.replace(" 0A ", " 01 ")), None);
    }

    #[test]
    fn our_own_port_is_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let owner = Owner::of_port(address).expect("listed");
        assert_eq!(owner.pid, i32::try_from(std::process::id()).ok());
        assert!(
            owner
                .command
                .is_some_and(|command| command.contains("fingerpost"))
        );
    }
}
