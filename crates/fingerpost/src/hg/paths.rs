//! Repositories named on the command line.

use std::path::{Path, PathBuf};

use fingerpost_hg::site::SiteConfig;

use crate::exit::{Exit, failure};

/// Makes the site serve `paths` and nothing else that a table names: a
/// repository by the name of its directory, another directory as a collection
/// of that name. A single path is served at the root.
pub(super) fn serve_paths(site: &mut SiteConfig, paths: &[PathBuf]) -> anyhow::Result<()> {
    site.repositories.clear();
    site.collections.clear();
    site.rules.clear();
    for path in paths {
        let real = std::fs::canonicalize(path);
        let real = real
            .map_err(|error| failure(Exit::Usage, format_args!("{}: {error}", path.display())))?;
        let name = match paths.len() {
            1 => String::new(),
            _ => name_of(&real)?,
        };
        let table = if real.join(".hg").is_dir() {
            &mut site.repositories
        } else {
            &mut site.collections
        };
        if table.insert(name.clone(), real).is_some() {
            let sentence = format_args!("two paths are called {name}; name one of them in a file");
            return Err(failure(Exit::Usage, sentence));
        }
    }
    Ok(())
}

fn name_of(path: &Path) -> anyhow::Result<String> {
    let name = path.file_name().and_then(std::ffi::OsStr::to_str);
    let unnamed = || {
        let sentence = format!("{}: no URL can name this directory", path.display());
        failure(Exit::Usage, sentence)
    };
    name.map(str::to_owned).ok_or_else(unnamed)
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
        assert!(
            names(&[at("none")])
                .unwrap_err()
                .to_string()
                .contains("none: ")
        );
    }
}
