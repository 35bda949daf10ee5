//! The variables of a build: read from the output of `bitbake -e`, or from the
//! environment as far as they are there.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use crate::config::Secret;

/// What is kept of `bitbake -e`; the rest, usually tens of megabytes, is read past.
const KEPT: [&str; 27] = [
    "BB_HASHCONFIG_IGNORE_VARS",
    "BB_HASHSERVE",
    "BB_HASHSERVE_DB_DIR",
    "BB_HASHSERVE_UPSTREAM",
    "BB_HASHSERVE_USERNAME",
    "BB_NO_NETWORK",
    "BB_SIGNATURE_HANDLER",
    "BB_VERSION",
    "CACHE",
    // Set by the class of our layer.
    "FINGERPOST_AGENT",
    "FINGERPOST_AGENT_SOCKET",
    "FINGERPOST_PROGRAM",
    "FINGERPOST_SERVER",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LAYERSERIES_CORENAMES",
    "NO_PROXY",
    "PERSISTENT_DIR",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "SSTATE_DIR",
    "SSTATE_MIRRORS",
    "SSTATE_MIRROR_ALLOW_NETWORK",
    "TOPDIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];
const PASSWORD: &str = "BB_HASHSERVE_PASSWORD";

/// Bytes of a line, and of a value, that are taken; more of either is not read.
const LINE_BYTES_MAX: u64 = 1 << 20;
const VALUE_BYTES_MAX: usize = 1 << 20;

/// Values by name. The password is apart, so that it cannot be printed with the others.
#[derive(Debug, Default)]
pub(super) struct Variables {
    values: BTreeMap<&'static str, String>,
    password: Option<Secret>,
    /// Whether what is not here is not set, or merely not known.
    whole: bool,
}

impl Variables {
    /// Reads the output of `bitbake -e` to its end. Returns nothing if it is none: not
    /// one of the variables is in it that every BitBake has.
    pub(super) fn of_bitbake(input: &mut dyn BufRead) -> io::Result<Option<Self>> {
        let mut reading = Reading::default();
        let mut line = Vec::new();
        while next_line(input, &mut line)? {
            reading.line(&String::from_utf8_lossy(&line));
        }
        let variables = Self {
            whole: true,
            ..reading.found
        };
        let is_bitbakes = [
            "BB_VERSION",
            "BB_HASHSERVE",
            "BB_SIGNATURE_HANDLER",
            "TOPDIR",
        ]
        .iter()
        .any(|name| variables.values.contains_key(name));
        Ok(is_bitbakes.then(|| variables.configured()))
    }

    /// By the time that it prints, BitBake has put the address of the server that it
    /// started in the place of `auto`, and that server ends with it.
    fn configured(mut self) -> Self {
        let own = |top: &str| format!("unix://{top}/hashserve.sock");
        let (address, top) = (self.get("BB_HASHSERVE"), self.get("TOPDIR"));
        if address.is_some() && address == top.map(own).as_deref() {
            self.keep("BB_HASHSERVE", "auto".to_owned());
        }
        self
    }

    /// Takes what is set in an environment.
    pub(super) fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut variables = Self::default();
        for name in KEPT.into_iter().chain([PASSWORD]) {
            if let Some(value) = variable(name) {
                variables.keep(name, value);
            }
        }
        variables
    }

    /// The value, if it is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.values.get(name)?;
        (!value.trim().is_empty()).then_some(value)
    }

    /// Whether BitBake reads the value as a yes.
    pub(super) fn is_true(&self, name: &str) -> bool {
        let value = self.get(name).unwrap_or_default().trim();
        let mut yes = ["1", "y", "yes", "true"].into_iter();
        yes.any(|word| value.eq_ignore_ascii_case(word))
    }

    /// The password of the hash server's user, if it is not empty.
    pub(super) fn password(&self) -> Option<&Secret> {
        let password = self.password.as_ref()?;
        (!password.reveal().is_empty()).then_some(password)
    }

    /// Whether it is known what the variable is, if only that it is not set.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.whole || self.values.contains_key(name)
    }

    /// Whether BitBake, as far as is known, has this variable of the environment in its own:
    /// it keeps few, and prints those.
    pub(super) fn passes_on(&self, name: &str) -> bool {
        !self.whole || self.values.contains_key(name)
    }

    /// Sets one that was asked for by hand, and that is tried even if a build started it.
    pub(super) fn set_server(&mut self, address: &str) {
        self.values.remove("FINGERPOST_AGENT_SOCKET");
        self.keep("BB_HASHSERVE", address.to_owned());
    }

    fn keep(&mut self, name: &str, value: String) {
        if name == PASSWORD {
            self.password = Some(Secret::new(value));
        } else if let Some(name) = KEPT.into_iter().find(|kept| *kept == name) {
            self.values.insert(name, value);
        }
    }
}

/// Variables for tests, as if `bitbake -e` had printed these and no others.
#[cfg(test)]
pub(super) fn set(values: &[(&str, &str)]) -> Variables {
    let lines: String = values
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\"\n"))
        .collect();
    let text = format!("TOPDIR=\"/build\"\n{lines}");
    let read = Variables::of_bitbake(&mut text.as_bytes()).expect("text in memory");
    read.expect("TOPDIR is there")
}

/// Takes the next line without its end; what is too long of it is dropped.
fn next_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    if Read::take(&mut *input, LINE_BYTES_MAX).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        // A container's terminal adds these.
        while line.last() == Some(&b'\r') {
            line.pop();
        }
        return Ok(true);
    }
    // Either the last line, or the beginning of one that is too long.
    let mut rest = Vec::new();
    while Read::take(&mut *input, LINE_BYTES_MAX).read_until(b'\n', &mut rest)? > 0 {
        if rest.last() == Some(&b'\n') {
            break;
        }
        rest.clear();
    }
    Ok(true)
}

/// How far the reading has come.
#[derive(Default)]
struct Reading {
    found: Variables,
    state: Place,
}

#[derive(Default)]
enum Place {
    /// Between variables.
    #[default]
    Between,
    /// In the value of a variable, whose first lines these are.
    Value(String, String),
    /// Behind the variables: in functions, whose lines may look like assignments.
    Functions,
}

impl Reading {
    fn line(&mut self, line: &str) {
        match std::mem::take(&mut self.state) {
            Place::Functions => self.state = Place::Functions,
            Place::Value(name, value) => self.value(name, value, line),
            Place::Between if line.ends_with("() {") && !line.starts_with('#') => {
                self.state = Place::Functions;
            }
            Place::Between => {
                let line = line.strip_prefix("export ").unwrap_or(line);
                if let Some((name, rest)) = line.split_once("=\"")
                    && !name.starts_with('#')
                    && !name.contains(' ')
                {
                    self.value(name.to_owned(), String::new(), rest);
                }
            }
        }
    }

    /// BitBake writes `\"` for `"`, `\$` for `$`, newer releases `` \` `` for `` ` ``, and
    /// ` \` before each line end within; it leaves other backslashes as they are, so a `\"`
    /// at the end is no sign of more.
    fn value(&mut self, name: String, mut value: String, line: &str) {
        if let Some(part) = line.strip_suffix('\\') {
            if value.len() + part.len() <= VALUE_BYTES_MAX {
                value.push_str(part.strip_suffix(' ').unwrap_or(part));
                value.push('\n');
            }
            self.state = Place::Value(name, value);
            return;
        }
        value.push_str(line.strip_suffix('"').unwrap_or(line));
        let is_kept = name == PASSWORD || KEPT.contains(&&*name);
        if is_kept && value.len() <= VALUE_BYTES_MAX + LINE_BYTES_MAX as usize {
            let plain = value
                .replace("\\\"", "\"")
                .replace("\\`", "`")
                .replace("\\$", "$");
            self.found.keep(&name, plain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Variables> {
        Variables::of_bitbake(&mut text.as_bytes()).unwrap()
    }

    /// What BitBake 2.19 printed of a data store with these values.
    const PRINTED: &str = r##"NOTE: something
#
# $BB_HASHSERVE [2 operations]
#   set /conf/bitbake.conf:12
#     "auto"
# pre-expansion value:
#   "wss://h/"
BB_HASHSERVE="wss://h/"
#
# $BB_HASHSERVE_PASSWORD
#   "se"cret"
export BB_HASHSERVE_PASSWORD="se\"c\$\`ret"
BB_HASHSERVE_USERNAME=""
#
# $OTHER
#   "first
#BB_SIGNATURE_HANDLER="no""
OTHER="first \
BB_SIGNATURE_HANDLER=\"no\" \
TOPDIR=\"no\""
BB_SIGNATURE_HANDLER="OEEquivHash"
SSTATE_MIRRORS=" \
 file://.* https://a/PATH \
 \
 file://.* https://b/PATH"
SSTATE_DIR="ends in a backslash \"
TOPDIR="/build"
unset SSL_CERT_FILE
# line: 1, file: x
do_build() {
BB_VERSION="in a function"
}
BB_VERSION="behind it"
"##;

    #[test]
    fn final_values_are_read_and_nothing_that_looks_alike() {
        let read = read(PRINTED).unwrap();
        assert_eq!(read.get("BB_HASHSERVE"), Some("wss://h/"));
        assert_eq!(read.get("BB_SIGNATURE_HANDLER"), Some("OEEquivHash"));
        assert_eq!(read.get("TOPDIR"), Some("/build"));
        assert_eq!(read.get("SSTATE_DIR"), Some("ends in a backslash \\"));
        assert_eq!(
            read.get("SSTATE_MIRRORS"),
            Some("\n file://.* https://a/PATH\n\n file://.* https://b/PATH")
        );
        assert_eq!(read.get("BB_VERSION"), None);
        assert_eq!(read.get("BB_HASHSERVE_USERNAME"), None);
        assert!(read.knows("SSL_CERT_FILE"));
    }

    #[test]
    fn the_password_is_read_and_not_shown() {
        let read = read(PRINTED).unwrap();
        assert_eq!(read.password().unwrap().reveal(), "se\"c$`ret");
        assert_eq!(read.get(PASSWORD), None);
        assert!(!format!("{read:?}").contains("ret"));
    }

    #[test]
    fn the_server_that_bitbake_starts_is_auto() {
        let server = |address: &str, top: &str| {
            let text = format!("BB_HASHSERVE=\"{address}\"\nTOPDIR=\"{top}\"\n");
            read(&text).unwrap().get("BB_HASHSERVE").map(str::to_owned)
        };
        let printed = "unix:///build/hashserve.sock";
        assert_eq!(server(printed, "/build").as_deref(), Some("auto"));
        assert_eq!(server(printed, "/other").as_deref(), Some(printed));
        assert_eq!(server("", "/build"), None);
    }

    #[test]
    fn lines_may_end_as_terminals_have_them() {
        let read = read(&PRINTED.replace('\n', "\r\n")).unwrap();
        assert_eq!(read.get("BB_HASHSERVE"), Some("wss://h/"));
        let mirrors = Some("\n file://.* https://a/PATH\n\n file://.* https://b/PATH");
        assert_eq!(read.get("SSTATE_MIRRORS"), mirrors);
        assert_eq!(read.get("BB_VERSION"), None);
    }

    #[test]
    fn lines_without_end_take_no_memory() {
        let long = "x".repeat(3 << 20);
        let text = format!("A=\"{long}\"\nTOPDIR=\"/b\"\nB=\"{long}");
        assert_eq!(read(&text).unwrap().get("TOPDIR"), Some("/b"));
        let many = "x \\\n".repeat(1 << 20);
        let text = format!("SSTATE_DIR=\"{many}\"\nTOPDIR=\"/b\"\n");
        let read = read(&text).unwrap();
        assert_eq!(read.get("TOPDIR"), Some("/b"));
        assert!(read.get("SSTATE_DIR").unwrap().len() <= VALUE_BYTES_MAX + 4);
    }

    #[test]
    fn other_files_are_told_apart() {
        assert!(read("").is_none());
        assert!(read("BB_HASHSERVE = \"auto\"\n").is_none());
    }

    #[test]
    fn what_an_environment_leaves_out_is_not_known() {
        let variable = |name: &str| (name == "BB_HASHSERVE").then(|| "auto".to_owned());
        let read = Variables::of_environment(variable);
        assert!(read.knows("BB_HASHSERVE") && !read.knows("SSTATE_MIRRORS"));
    }
}
