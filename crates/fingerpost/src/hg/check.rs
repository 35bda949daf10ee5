//! `fingerpost hg check`: what applies to each repository, and why one is
//! refused.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use fingerpost_core::{Clock, SystemClock};
use fingerpost_hg::site::{
    Catalogue, Listed, Listing, Operation, RepositoryEntry, ServerView, SiteConfig,
};
use fingerpost_hg::{Mercurial, MercurialOptions, Requirements};
use serde::Serialize;

use super::paths::serve_paths;
use crate::config::{self, Setting, Sources};
use crate::exit::{Exit, OrExit, failure};

/// Show what applies to each repository: who may read it, who may push, what
/// is refused and why.
///
/// Exit status 1 when a repository is refused or could not be looked at.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file instead of `$FINGERPOST_CONFIG` or
    /// `/etc/fingerpost/fingerpost.toml`.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Configuration file of hgweb instead of `hg.hgweb_config`.
    #[arg(long, value_name = "FILE")]
    hgweb_config: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Repositories, or directories of repositories, instead of the configured
    /// ones.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// Looks at every repository of the site.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let report = Report::of(args.site()?)?;
    if args.json {
        let json = serde_json::to_string_pretty(&report);
        println!("{}", json.expect("the report is plain data"));
    } else {
        print!("{}", report.text());
    }
    Ok(report.exit())
}

impl Args {
    fn site(&self) -> anyhow::Result<SiteConfig> {
        let environment = Sources::process_environment();
        let hgweb = self.hgweb_config.as_deref();
        let hgweb = hgweb.map(|file| Setting::new("hg.hgweb_config", file, "--hgweb-config"));
        let loaded = config::load(Sources {
            file: self.config.clone(),
            environment: environment.clone(),
            flags: hgweb.into_iter().collect(),
            ..Sources::default()
        });
        let hg = loaded.or_exit(Exit::Configuration, WRONG)?.config.hg;
        let mut site = hg.site(environment.into_iter().collect());
        if !self.paths.is_empty() {
            serve_paths(&mut site, &self.paths)?;
        } else if !hg.is_used() {
            return Err(failure(Exit::Usage, NOTHING));
        }
        Ok(site)
    }
}

/// What there is to tell.
#[derive(Debug, Serialize)]
struct Report {
    repositories: Vec<Told>,
    /// What could not be looked at.
    problems: Vec<String>,
}

/// What there is to tell of one repository.
#[derive(Debug, Serialize)]
struct Told {
    name: String,
    directory: PathBuf,
    /// Why it is not served.
    refused: Option<String>,
    #[serde(flatten)]
    facts: Option<Facts>,
}

#[derive(Debug, Serialize)]
struct Facts {
    url_path: String,
    requirements: Vec<String>,
    read: String,
    pull: String,
    push: String,
    push_needs_tls: bool,
    publishing: bool,
    hidden: bool,
    view: &'static str,
    raw_store_files: bool,
    /// Why the store is elsewhere, when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    shares_the_store_of: Option<PathBuf>,
    notes: Vec<String>,
}

impl Report {
    fn of(site: SiteConfig) -> anyhow::Result<Self> {
        let now = SystemClock.now();
        let catalogue = Catalogue::open(site, now).or_exit(Exit::Configuration, WRONG)?;
        let Listing {
            repositories,
            problems,
        } = catalogue.list(now);
        let clock = Arc::new(SystemClock);
        let mercurial = Arc::new(Mercurial::new(MercurialOptions::default(), clock));
        Ok(Self {
            repositories: repositories
                .into_iter()
                .map(|listed| Told::of(&mercurial, listed))
                .collect(),
            problems,
        })
    }

    fn exit(&self) -> Exit {
        let refused = self.repositories.iter().any(|told| told.refused.is_some());
        if refused || !self.problems.is_empty() {
            return Exit::Found;
        }
        Exit::Ok
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for told in &self.repositories {
            told.write(&mut out);
        }
        for problem in &self.problems {
            let _ = writeln!(out, "problem: {problem}");
        }
        let refused = self
            .repositories
            .iter()
            .filter(|told| told.refused.is_some());
        let refused = refused.count();
        let served = self.repositories.len() - refused;
        let _ = writeln!(out, "{served} served, {refused} refused");
        out
    }
}

impl Told {
    fn of(mercurial: &Arc<Mercurial>, listed: Listed) -> Self {
        let mut told = Self {
            name: listed.id.to_string(),
            directory: listed.directory,
            refused: None,
            facts: None,
        };
        match listed.state {
            Err(refusal) => told.refused = Some(refusal.sentence().to_owned()),
            Ok(entry) if OWN_PATHS.contains(&entry.url_path()) => {
                let why = format!("{} is a path of the server itself", entry.url_path());
                told.refused = Some(why);
            }
            // As for a client: what cannot be read is found out here.
            Ok(entry) => match mercurial.view(&entry) {
                Err(error) => told.refused = Some(error.to_string()),
                Ok(view) => {
                    let requirements = view.snapshot().store().requirements();
                    told.facts = Some(Facts::of(&entry, requirements));
                }
            },
        }
        told
    }

    fn write(&self, out: &mut String) {
        let _ = writeln!(out, "{}  ({})", self.name, self.directory.display());
        if let Some(why) = &self.refused {
            let _ = writeln!(out, "  REFUSED       {why}");
        }
        let Some(facts) = &self.facts else { return };
        let yes = |truth| if truth { "yes" } else { "no" };
        let tls = if facts.push_needs_tls && facts.push != "nobody" {
            " (over TLS only)"
        } else {
            ""
        };
        let lines = [
            ("requirements", facts.requirements.join(" ")),
            ("read", facts.read.clone()),
            ("pull", facts.pull.clone()),
            ("push", format!("{}{tls}", facts.push)),
            ("publishing", yes(facts.publishing).to_owned()),
            ("view", facts.view.to_owned()),
            ("hidden", yes(facts.hidden).to_owned()),
            ("store files", yes(facts.raw_store_files).to_owned()),
        ];
        for (what, value) in lines {
            let _ = writeln!(out, "  {what:<12}  {value}");
        }
        if let Some(source) = &facts.shares_the_store_of {
            let _ = writeln!(out, "  {:<12}  {}", "store of", source.display());
        }
        for note in &facts.notes {
            let _ = writeln!(out, "  {:<12}  {note}", "note");
        }
    }
}

impl Facts {
    fn of(entry: &RepositoryEntry, requirements: &Requirements) -> Self {
        let settings = entry.settings();
        let access = &settings.access;
        let notes = settings.notes.iter();
        let shared = entry.store_dot_hg() != entry.dot_hg();
        Self {
            url_path: entry.url_path().to_owned(),
            requirements: requirements.names().map(str::to_owned).collect(),
            read: access.describe(Operation::Read),
            pull: access.describe(Operation::Pull),
            push: access.describe(Operation::Push),
            push_needs_tls: access.push_needs_tls(),
            publishing: settings.publishing,
            hidden: settings.hidden,
            view: match settings.view {
                ServerView::Served => "served",
                ServerView::Immutable => "immutable",
            },
            raw_store_files: settings.raw_store_files,
            shares_the_store_of: shared.then(|| entry.store_dot_hg().to_owned()),
            notes: notes
                .map(|note| format!("{}: {}", note.place, note.sentence))
                .collect(),
        }
    }
}

/// What `serve` answers itself on every address.
const OWN_PATHS: [&str; 8] = [
    "/healthz",
    "/readyz",
    "/version",
    "/metrics",
    "/v1",
    "/ns",
    "/docs",
    "/openapi.json",
];
const WRONG: &str = "The configuration is wrong";
const NOTHING: &str = "No repository is configured: name one, or see [hg] in the configuration";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fingerpost_hg::site::TrustPolicy;

    use super::*;

    /// A directory with a repository for each name and its files in `.hg`.
    fn collection(repositories: &[(&str, &[(&str, &str)])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, files) in repositories {
            let dot_hg = dir.path().join(name).join(".hg");
            std::fs::create_dir_all(dot_hg.join("store")).unwrap();
            let requires = "store\nfncache\ndotencode\nrevlogv1\ngeneraldelta\n";
            std::fs::write(dot_hg.join("requires"), requires).unwrap();
            for (file, text) in *files {
                std::fs::write(dot_hg.join(file), text).unwrap();
            }
        }
        dir
    }

    fn report(dir: &Path) -> Report {
        let mut site = SiteConfig::new(TrustPolicy::of_this_process());
        serve_paths(&mut site, &[dir.to_owned()]).unwrap();
        Report::of(site).unwrap()
    }

    #[test]
    fn what_applies_is_told_in_lines() {
        let hgrc = "[web]\nallow_read = alice, bob\nallow-push = alice\nhidden = yes\n\
                    [server]\nuncompressedallowsecret = yes\n";
        let dir = collection(&[("a", &[("hgrc", hgrc)])]);
        let report = report(dir.path());
        assert_eq!(report.exit(), Exit::Ok);
        let text = report.text();
        for line in [
            "  requirements  dotencode fncache generaldelta revlogv1 store\n",
            "  read          alice, bob\n",
            "  push          alice (over TLS only)\n",
            "  publishing    yes\n",
            "  view          served\n",
            "  hidden        yes\n",
            "uncompressedallowsecret is never honoured",
            "1 served, 0 refused\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn a_refused_repository_is_named_with_its_reason_and_others_go_on() {
        let dir = collection(&[
            ("a", &[]),
            ("b", &[("hgrc", "[web]\nallow_read = @staff\n")]),
            ("c", &[("requires", "revlogv1\nfrom-the-future\n")]),
        ]);
        let report = report(dir.path());
        assert_eq!(report.exit(), Exit::Found);
        let text = report.text();
        assert!(text.contains("web.allow_read names a group"), "{text}");
        assert!(text.contains("from-the-future"), "{text}");
        assert!(text.ends_with("1 served, 2 refused\n"), "{text}");
    }

    #[test]
    fn json_has_a_fact_for_each_line() {
        let dir = collection(&[("a", &[]), ("b", &[("hgrc", "x\n")])]);
        let json = serde_json::to_value(report(dir.path())).unwrap();
        let (a, b) = (&json["repositories"][0], &json["repositories"][1]);
        assert_eq!(a["name"], "a");
        assert_eq!(
            (a["read"].as_str(), a["push"].as_str()),
            (Some("everybody"), Some("nobody"))
        );
        assert_eq!(
            (&a["publishing"], &a["refused"]),
            (&true.into(), &serde_json::Value::Null)
        );
        assert!(
            b["refused"]
                .as_str()
                .unwrap()
                .contains("neither key nor heading")
        );
        assert!(b.get("read").is_none());
    }
}
