//! Repositories named on the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fingerpost_hg::site::SiteConfig;

use crate::exit::{Exit, OrExit, failure};

/// Makes the site serve `paths` and nothing else that a table names: one path
/// at the root, several under the last parts of their names. A path that is no
/// repository is a directory with repositories in it.
pub(super) fn serve_paths(site: &mut SiteConfig, paths: &[PathBuf]) -> anyhow::Result<()> {
    let mut named: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in paths {
        let path = path
            .canonicalize()
            .or_exit(Exit::Usage, format!("{}", path.display()))?;
        let name = match paths.len() {
            1 => String::new(),
            _ => name_of(&path)?,
        };
        if let Some(other) = named.insert(name.clone(), path.clone()) {
            let (one, other) = (other.display(), path.display());
            let why = format!("{one} and {other} would both be served at /{name}");
            return Err(failure(Exit::Usage, why));
        }
    }
    let is_repository = |path: &PathBuf| path.join(".hg").is_dir();
    (site.repositories, site.collections) =
        named.into_iter().partition(|(_, path)| is_repository(path));
    site.rules.clear();
    Ok(())
}

/// The name of several paths that this one gets.
fn name_of(path: &Path) -> anyhow::Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    let why = || format!("{} has no name that a URL could have", path.display());
    name.map(str::to_owned)
        .ok_or_else(|| failure(Exit::Usage, why()))
}

#[cfg(test)]
mod tests {
    use fingerpost_hg::site::TrustPolicy;

    use super::*;

    fn names(paths: &[PathBuf]) -> anyhow::Result<String> {
        let mut site = SiteConfig::new(TrustPolicy::of_this_process());
        serve_paths(&mut site, paths)?;
        let repositories = site
            .repositories
            .into_keys()
            .map(|name| format!("[{name}]"));
        let collections = site.collections.into_keys().map(|name| format!("<{name}>"));
        Ok(repositories.chain(collections).collect())
    }

    #[test]
    fn one_path_is_served_at_the_root_and_several_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["a/.hg", "b/.hg", "c/d/.hg", "x/a/.hg"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        assert_eq!(names(&[at("a")]).unwrap(), "[]");
        assert_eq!(names(&[at("c")]).unwrap(), "<>");
        assert_eq!(names(&[at("a"), at("b"), at("c")]).unwrap(), "[a][b]<c>");
        let twice = names(&[at("a"), at("x/a")]).unwrap_err();
        assert_eq!(Exit::of(&twice), Exit::Usage);
        let missing = format!("{:#}", names(&[at("none")]).unwrap_err());
        assert!(missing.contains("none: "), "{missing}");
    }
}
