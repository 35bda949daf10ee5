//! Where BitBake's own server keeps its database, and whether locks hold there.

use std::path::{Path, PathBuf};

use super::address::Server;
use super::report::Finding;
use super::variables::Variables;

const ID: &str = "database";
/// The one for this alone, and the only one for which BitBake looks where it is.
const OWN: &str = "BB_HASHSERVE_DB_DIR";

/// The directory, with `auto`; other servers keep theirs elsewhere.
pub(super) fn directory(variables: &Variables, server: &Server) -> Option<(&'static str, PathBuf)> {
    let Server::Own { .. } = server else {
        return None;
    };
    let places = [OWN, "PERSISTENT_DIR", "CACHE"];
    let found = |name| Some((name, PathBuf::from(variables.get(name)?)));
    places.into_iter().find_map(found)
}

/// Judges the directory by the network file system that it is on.
pub(super) fn judge(variable: &str, directory: &Path, network: Option<&str>) -> Finding {
    let shown = directory.display();
    match network {
        None => Finding::ok(ID, format!("{shown} is on a local file system")),
        Some("NFS") if variable == OWN => Finding::problem(
            ID,
            format!(
                "{shown} is on NFS, and for BB_HASHSERVE_DB_DIR that ends the build: set it to a local \
                 directory"
            ),
        ),
        Some(network) => Finding::warning(
            ID,
            format!(
                "{shown} is on {network}, where locks may not hold: set BB_HASHSERVE_DB_DIR to a local \
                 directory (now {variable})"
            ),
        ),
    }
}

/// The network file system that a path, or what there is of the way to it, is on. Blocks
/// as long as the file system does.
pub(super) fn network(path: &Path) -> Option<String> {
    let there = path.ancestors().find(|ancestor| ancestor.exists())?;
    fingerpost_db::network_file_system(there).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::super::address;
    use super::super::report::State;
    use super::super::variables::set;
    use super::*;

    #[test]
    fn the_first_of_three_variables_names_the_directory() {
        let of = |values: &[(&str, &str)]| {
            let variables = set(values);
            let (server, _) = address::check(&variables, None);
            directory(&variables, &server).map(|(name, _)| name)
        };
        let (auto, cache) = (("BB_HASHSERVE", "auto"), ("CACHE", "/b/cache"));
        let own = ("BB_HASHSERVE_DB_DIR", "/srv/hashes");
        assert_eq!(of(&[auto, cache]), Some("CACHE"));
        assert_eq!(of(&[auto, cache, own]), Some("BB_HASHSERVE_DB_DIR"));
        assert_eq!(of(&[("BB_HASHSERVE", "h:1"), own]), None);
    }

    #[test]
    fn nfs_is_refused_by_bitbake_where_it_looks() {
        let state = |variable, network| judge(variable, Path::new("/a"), network).state;
        assert_eq!(state(OWN, None), State::Ok);
        assert_eq!(state(OWN, Some("NFS")), State::Problem);
        assert_eq!(state("CACHE", Some("NFS")), State::Warning);
        assert_eq!(state(OWN, Some("9p")), State::Warning);
    }
}
