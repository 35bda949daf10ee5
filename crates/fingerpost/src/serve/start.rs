//! The way from the configuration to a server that is ready to run.

use std::sync::Arc;

use fingerpost_hashequiv::Database;
use fingerpost_hashequiv_front::NativeDoor;
use fingerpost_net::audit::Audit;
use fingerpost_net::{Address, Listener, Metrics, Server, Shutdown, raise_open_files};

use tokio::task::JoinHandle;

use super::database::Opened;
use super::listen::Listeners;
use super::readiness::DatabaseWatch;
use super::{announce, database, listen, logins, service};
use crate::config::Loaded;
use crate::traces;

/// A server whose sockets listen, and what it stands on.
pub(super) struct Started {
    pub(super) server: Server<NativeDoor>,
    pub(super) database: Database,
    /// What is done beside serving, until it stops.
    pub(super) chores: JoinHandle<()>,
    pub(super) audit: Audit,
}

/// Opens the database first: whoever is accepted is served.
pub(super) async fn start(
    loaded: Loaded,
    import: bool,
    shutdown: Shutdown,
) -> anyhow::Result<Started> {
    if let Some(file) = &loaded.config.server.address_file {
        // Whoever waits for it must not find that of an earlier run. It is
        // usually not there.
        let _ = std::fs::remove_file(file);
    }
    let open_files = raise_open_files();
    let opened = database::open(&loaded, import).await?;
    // At once: the next start finds the database there, should this one fail.
    if opened.is_new && !loaded.is_set("accounts.anonymous_permissions") {
        announce::tell_about_cleaning(loaded.config.accounts.anonymous_permissions.0);
    }
    let metrics = Arc::new(Metrics::new());
    let doors = service::doors(&loaded.config, &opened, &metrics, &shutdown).await?;
    let tls = listen::tls(&loaded.config, &metrics).await?;
    let listeners = listen::listen(&loaded, tls.as_ref())?;
    announce::warn_of_exposed(&listeners.service, &loaded.config.accounts);
    announce::warn_of_jobs_that_report(&loaded.config);
    announce::warn_of_changeable_names(&loaded.config);
    let options = service::server_options(&loaded.config, open_files);
    tracing::info!(
        open_files,
        connections_max = options.connections_max,
        "at most {} connections (open files: {open_files})",
        options.connections_max
    );
    let chores = [
        logins::look_after(doors.service, shutdown.clone()),
        doors.snapshots.start(shutdown.clone()),
        doors.dump.start(shutdown.clone()),
        doors.retention.start(shutdown.clone()),
    ];
    let chores = tokio::spawn(async move {
        for chore in chores {
            // One that panicked has said so.
            let _ = chore.await;
        }
    });
    let http = traces::around(doors.http);
    let mut server = Server::new(doors.native, options, metrics, shutdown).router(http);
    if let Some(shortcut) = doors.shortcut {
        server = server.shortcut(shortcut);
    }
    let (server, database) = assemble(server, listeners, opened, &loaded)?;
    Ok(Started {
        server,
        database,
        chores,
        audit: doors.audit,
    })
}

/// Gives the server its listeners, and says where it is.
fn assemble(
    server: Server<NativeDoor>,
    listeners: Listeners,
    opened: Opened,
    loaded: &Loaded,
) -> anyhow::Result<(Server<NativeDoor>, Database)> {
    let watch = DatabaseWatch::start(&opened.database);
    let mut server = server.readiness(move || watch.state());
    let addresses: Vec<Address> = listeners
        .service
        .iter()
        .map(Listener::client_address)
        .collect();
    let elsewhere = listeners
        .service
        .first()
        .and_then(Listener::address_elsewhere);
    for listener in listeners.service {
        server = server.listen(listener);
    }
    for listener in listeners.probes {
        server = server.listen_probes(listener);
    }
    announce::print(&announce::lines(
        &addresses,
        elsewhere.as_ref(),
        &opened.place,
    ));
    if let Some(file) = &loaded.config.server.address_file {
        announce::write_addresses(file, &addresses)?;
    }
    Ok((server, opened.database))
}
