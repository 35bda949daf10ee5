//! Mercurial 6.0.3, the last release that speaks version 2 of the wire protocol.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::process::Command;
use tokio::time::timeout;

/// The installed program, with settings that every command gets.
#[derive(Clone)]
pub struct Hg {
    program: PathBuf,
    settings: Vec<OsString>,
}

impl Hg {
    /// As a user has it who switched version 2 of the wire protocol on.
    pub fn installed() -> Result<Self> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let program = checkout.join(".venv-hg-6.0.3/bin/hg");
        let missing = || format!("{} is missing; make prepare installs it", program.display());
        ensure!(program.exists(), missing());
        let hg = Self {
            program,
            settings: Vec::new(),
        };
        Ok(hg
            .set("experimental.httppeer.advertise-v2", "true")
            .set(
                "experimental.httppeer.v2-encoder-order",
                "zstd-8mb,zlib,identity",
            )
            // What is not trusted is told on standard error otherwise.
            .set("ui.report_untrusted", "false"))
    }

    /// The same with a setting.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        let mut setting = OsString::from(format!("--config={key}="));
        setting.push(value);
        self.settings.push(setting);
        self
    }

    /// Runs a command to its end, within a limit; what it printed.
    ///
    /// Fails with what it said if it ends with another status than 0.
    pub async fn run<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Result<String> {
        let words: Vec<OsString> = words.into_iter().map(|word| word.as_ref().into()).collect();
        let mut command = Command::new(&self.program);
        command.args(&self.settings).args(&words);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HG") {
                command.env_remove(name);
            }
        }
        command
            .envs([("HGRCPATH", ""), ("HGPLAIN", "1"), ("LC_ALL", "C.UTF-8")])
            .env("HGUSER", "Tester <tester@example.org>")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = timeout(RUN_LIMIT, command.output()).await;
        let output = output.with_context(|| format!("hg {words:?} does not end"))??;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("hg {words:?} ended with {}:\n{out}{error}", output.status);
        }
        Ok(out)
    }

    /// Clones into `path`, which must not exist, and verifies what is there; what
    /// `hg verify` says of it: how many changesets and changes there are.
    pub async fn clone(&self, url: &str, path: &Path) -> Result<String> {
        let words = ["clone", "--noupdate", "--quiet", url].map(OsStr::new);
        self.run(words.into_iter().chain([path.as_os_str()]))
            .await?;
        self.verify(path).await
    }

    /// What `hg verify` says of a repository.
    pub async fn verify(&self, path: &Path) -> Result<String> {
        let words = [
            OsStr::new("verify"),
            OsStr::new("--repository"),
            path.as_os_str(),
        ];
        self.run(words).await
    }

    /// A repository of this shape below `directory`, which is made by the first
    /// process that asks for it; others wait. Nobody may change it.
    pub async fn repository(&self, directory: &Path, shape: Shape) -> Result<PathBuf> {
        let Shape { commits, files } = shape;
        let path = directory.join(format!("hg-{VERSION}-{commits}-{files}"));
        std::fs::create_dir_all(directory)?;
        let lock = File::create(path.with_extension("lock"))?;
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
        if !path.exists() {
            let part = path.with_extension("part");
            if part.exists() {
                std::fs::remove_dir_all(&part)?;
            }
            self.make(&part, shape).await?;
            std::fs::rename(&part, &path)?;
        }
        drop(lock);
        Ok(path)
    }

    async fn make(&self, path: &Path, shape: Shape) -> Result<()> {
        self.run([OsStr::new("init"), path.as_os_str()]).await?;
        let mut random = StdRng::seed_from_u64(shape.commits);
        let in_it = [OsStr::new("--cwd"), path.as_os_str()];
        for number in 0..shape.commits {
            let changed = match number {
                0 => shape.files,
                _ => 2,
            };
            for _ in 0..changed {
                let file = match number {
                    0 => random.random_range(0..shape.files * 4),
                    _ => random.random_range(0..shape.files),
                };
                let directory = path.join(format!("part-{}", file % 5));
                std::fs::create_dir_all(&directory)?;
                let text = text(&mut random);
                std::fs::write(directory.join(format!("file-{file}.txt")), text)?;
            }
            let message = format!("commit {number}");
            let words = ["commit", "--addremove", "--quiet", "--message", &message];
            let date = format!("{} 0", 1_600_000_000 + number);
            let words = words.into_iter().chain(["--date", &date]).map(OsStr::new);
            self.run(in_it.into_iter().chain(words)).await?;
        }
        Ok(())
    }
}

/// How large a repository is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Commits one after the other, two files changed in each.
    pub commits: u64,
    /// About so many files at first, of 20 to 200 KB.
    pub files: u64,
}

impl Default for Shape {
    /// Answers of some MB.
    fn default() -> Self {
        Self {
            commits: 30,
            files: 20,
        }
    }
}

/// Raised when repositories are made otherwise.
const VERSION: u64 = 1;
/// The longest that a command may take.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// Lines of words that have something in common, so that they compress.
fn text(random: &mut StdRng) -> String {
    let len = random.random_range(20_000..200_000);
    let mut text = String::with_capacity(len + 100);
    while text.len() < len {
        for _ in 0..random.random_range(3..12) {
            let word: u32 = random.random_range(0..50_000);
            text += &format!("{:x} ", word.wrapping_mul(2_654_435_761) >> 4);
        }
        text.push('\n');
    }
    text
}
