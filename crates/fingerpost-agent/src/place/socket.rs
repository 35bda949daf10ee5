//! The socket of the agent: one user's and one group's.

use std::os::unix::fs::lchown;

use fingerpost_net::{Address, BindOptions, Listener, bind};
use fingerpost_program::exit::{Exit, OrExit as _};
use fingerpost_program::sockets::unbound;

use super::{SocketPlace, group};

/// How the socket is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct SocketOptions {
    /// Whose members may use it, beside the agent's user.
    pub(crate) group: Option<String>,
}

/// Listens at `place`. A socket that nobody listens on any more is replaced.
///
/// # Errors
///
/// Somebody listens there; the directory cannot be made, or not be trusted; there is no
/// such group, or the agent's user is not in it.
pub(crate) fn bind_socket(
    place: &SocketPlace,
    options: &SocketOptions,
    uid: u32,
) -> anyhow::Result<Listener> {
    let group = options.group.as_deref().map(group::number).transpose()?;
    if let Some(directory) = &place.directory {
        directory.prepare(uid)?;
    }
    let bind_options = BindOptions {
        unix_mode: Some(MODE),
        ..BindOptions::default()
    };
    let address = Address::Unix(place.path.clone());
    let listener = bind(&address, &bind_options);
    let listener = listener.map_err(|error| unbound(error, "--socket PATH"))?;
    if group.is_some() {
        let failed = format!("cannot give {} to the group", place.path.display());
        lchown(&place.path, None, group).or_exit(Exit::Denied, failed)?;
    }
    Ok(listener)
}

/// Whoever may not write to a socket may not connect.
const MODE: u32 = 0o660;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use super::super::Directory;
    use super::*;

    fn uid() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn place(directory: &Path) -> SocketPlace {
        SocketPlace {
            path: directory.join("own/agent.sock"),
            directory: Some(Directory::private(directory.join("own"))),
            warning: None,
        }
    }

    fn listen(place: &SocketPlace) -> anyhow::Result<Listener> {
        bind_socket(place, &SocketOptions::default(), uid())
    }

    #[test]
    fn the_socket_is_for_its_user_and_group_alone() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        let gid = rustix::process::getegid().as_raw();
        let options = SocketOptions {
            group: Some(gid.to_string()),
        };
        let _listener = bind_socket(&place, &options, uid()).unwrap();
        let found = fs::metadata(&place.path).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!((found.mode() & 0o777, found.gid()), (0o660, gid));
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        fs::create_dir(dir.path().join("own")).unwrap();
        let own = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(dir.path().join("own"), own).unwrap();
        drop(UnixListener::bind(&place.path).unwrap());
        assert!(place.path.exists());
        listen(&place).unwrap();
    }

    #[test]
    fn the_second_agent_is_told_which_process_listens() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        let first = listen(&place).unwrap();
        let error = listen(&place).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Unavailable);
        let said = error.to_string();
        let owner = format!("is taken by process {}", std::process::id());
        assert!(
            said.contains(&owner) && said.contains("--socket PATH"),
            "{said}"
        );
        drop(first);
        listen(&place).unwrap();
    }

    #[test]
    fn a_file_of_another_kind_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "precious").unwrap();
        let place = SocketPlace {
            path: path.clone(),
            directory: None,
            warning: None,
        };
        let error = listen(&place).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Configuration);
        assert_eq!(fs::read_to_string(path).unwrap(), "precious");
    }
}
