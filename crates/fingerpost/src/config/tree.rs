//! The configuration tree: every key with its type, its default and its
//! documentation, in one place. Everything else about keys (file, environment,
//! `--help`, the annotated file) is derived from here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fingerpost_core::{Permission, PermissionSet};
use serde::{Deserialize, Serialize};

use super::keys::{Key, keys};
use super::oidc::Oidc;
use super::retention::RetentionRule;
use super::{
    Address, AnonymousPermissions, Durability, ForwardedBy, Further, LogFormat, LogLevel,
    MaybeAddress, Namespace, ObjectPlace, ProxyNetwork, ReadWrite, RedirectTarget, Secret, TlsMode,
    TlsVersion,
};

/// One section of the file, as its documentation shows it.
pub(crate) struct Section {
    /// Name in the file, `[server]`.
    pub(crate) name: &'static str,
    /// Lines that say what it is about.
    pub(crate) about: &'static [&'static str],
    /// Its keys, in the order of the tree.
    pub(crate) keys: &'static [Key],
}

/// What BitBake needs without a login.
const DEFAULT_PERMISSIONS: PermissionSet =
    PermissionSet::of(&[Permission::Read, Permission::Report]);

/// Declares the tree: its structs with their defaults, and [`SECTIONS`].
macro_rules! sections {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $struct:ident { $($keys:tt)+ }
    )+) => {
        /// Everything that can be configured.
        #[derive(Clone, Debug, Default, Deserialize, Serialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct Config {
            $(
                $(#[doc = $section_doc])+
                pub(crate) $section: $struct,
            )+
            /// CI systems whose jobs log in.
            pub(crate) oidc: Vec<Oidc>,
        }

        $(keys! {
            $(#[doc = $section_doc])+
            $struct { $($keys)+ }
        })+

        /// Every section with every key, in the order of the annotated file.
        pub(crate) const SECTIONS: &[Section] = &[$(
            Section {
                name: stringify!($section),
                about: &[$($section_doc),+],
                keys: $struct::KEYS,
            },
        )+];
    };
}

sections! {
    /// Where the server listens, and how it runs.
    server: Server {
        /// Addresses to listen on. Each speaks BitBake's protocol, HTTP/1.1,
        /// HTTP/2 and websocket: the first bytes of a connection tell which.
        /// `HOST:PORT`, `[IPV6]:PORT`, `:PORT` (all interfaces), `unix://PATH`,
        /// `ws://HOST:PORT`. Port 0 takes a free port. Sockets that systemd passed
        /// take their place.
        bind: Vec<Address> = vec![Address::local(8686)];
        /// Whether clients come through TLS to these addresses, and to sockets that
        /// systemd passed: `off`, `optional` or `required`. Without this key:
        /// `required` where there is a `tls.certificate`, and `optional` for Unix
        /// sockets; without one, `off`.
        tls: Option<TlsMode> = None, example "\"optional\"";
        /// The namespace of whoever comes by these addresses and chooses none.
        namespace: Option<String> = None, example "\"release\"";
        /// Proxies whose word about their clients is taken: networks such as
        /// 10.0.0.0/8, single addresses, and `unix` for whoever connects to a Unix
        /// socket. Nobody is believed without. List nothing but the proxies:
        /// everybody there can pass for anybody.
        trusted_proxies: Vec<ProxyNetwork> = Vec::new();
        /// What those proxies tell of their clients over HTTP: `x-forwarded`
        /// (X-Forwarded-For, -Proto and -Host) or `forwarded` (RFC 7239). The proxy
        /// must write it; the other kind is not read.
        forwarded_by: ForwardedBy = ForwardedBy::XForwarded;
        /// Connections to these addresses begin with a header of the PROXY protocol,
        /// version 1 or 2, before TLS. Only trusted proxies may connect then.
        proxy_protocol: bool = false;
        /// Lets several processes listen on one TCP port (`SO_REUSEPORT`). They
        /// must share the database.
        reuse_port: bool = false;
        /// The addresses that were bound are written to this file, one a line,
        /// once the server is ready.
        address_file: Option<PathBuf> = None, example "\"/run/fingerpost/address\"";
        /// Refuses everything that writes, as the reference's read-only mode
        /// does. An upstream is allowed.
        read_only: bool = false;
        /// Directory of the database. Without this key: systemd's
        /// `$STATE_DIRECTORY`; else /var/lib/fingerpost when there is a
        /// configuration file; else ./fingerpost-data.
        data_dir: Option<PathBuf> = None, example "\"/var/lib/fingerpost\"";
        /// Threads that serve connections. 0: one for each core.
        worker_threads: u64 = 0;
        /// Values of the Origin header that may open websockets and write over
        /// HTTP. Browsers send it, build tools do not; none is allowed at first.
        allowed_origins: Vec<String> = Vec::new();
        /// Names that HTTP requests may be for (Host, `:authority`), without ports;
        /// empty: any. With names, requests for others are refused with 421, which
        /// keeps web pages out that give their own name this server's address.
        /// Addresses and localhost go in any case.
        host_names: Vec<String> = Vec::new();
        /// After a stop signal, requests in hand get this long to finish.
        stop_seconds: u64 = 4;
        /// Further addresses, each table with TLS as it says.
        listeners: BTreeMap<String, Further> = BTreeMap::new();
    }

    /// TLS, in front of every protocol: HTTPS, wss, and the line protocol for
    /// whoever speaks it within TLS, which BitBake does not. Files are PEM, and
    /// are read again when they change.
    tls: Tls {
        /// The server's certificate, and behind it those that lead to its authority.
        certificate: Option<PathBuf> = None, example "\"/etc/fingerpost/tls.crt\"";
        /// Its key: PKCS#8, SEC1 or PKCS#1, not encrypted.
        key: Option<PathBuf> = None, example "\"/etc/fingerpost/tls.key\"";
        /// Oldest version that is spoken, "1.2" or "1.3".
        version_min: TlsVersion = TlsVersion::V12;
        /// Whether clients show a certificate within TLS: `off`, `optional` or
        /// `required`.
        client_certificates: TlsMode = TlsMode::Off;
        /// The authorities that vouch for them. Lists of revoked certificates are
        /// not read.
        client_ca: Option<PathBuf> = None, example "\"/etc/fingerpost/clients.crt\"";
    }

    /// Metrics and probes (`/metrics`, `/healthz`, `/readyz`, `/version`).
    metrics: Metrics {
        /// Address for metrics and probes alone, over HTTP; empty for none. Sockets
        /// that systemd passed with the name `metrics` take its place.
        bind: MaybeAddress = MaybeAddress(Some(Address::local(9686)));
        /// Metrics also on the addresses of `server.bind`. Probes always are.
        everywhere: bool = true;
    }

    /// The SQLite database.
    database: Database {
        /// The database file. Without this key: `fingerpost.db` in the data
        /// directory. Never on a network file system. Not together with
        /// `postgresql.url`.
        path: Option<PathBuf> = None, example "\"/var/lib/fingerpost/fingerpost.db\"";
        /// `full`: a report is answered once it survives a power cut.
        /// `relaxed`: a power cut may lose the last seconds of answered
        /// reports; a crash of the server alone loses nothing.
        durability: Durability = Durability::Full;
        /// Threads that read from the database. 0: two for each core.
        readers: u64 = 0;
        /// Page cache of each reading thread, in MiB.
        reader_cache_mib: u64 = 8;
        /// Page cache of the writing thread, in MiB.
        writer_cache_mib: u64 = 32;
        /// How long one of several processes on one file waits for another's
        /// write, in milliseconds.
        busy_timeout_ms: u64 = 5000;
        /// Login at PostgreSQL in place of that of `postgresql.url` and of the
        /// replicas; SQLite has none.
        username: Option<String> = None, example "\"fingerpost\"";
        /// Password there, in place of theirs. Also as `password_file`.
        password: Option<Secret> = None, example "\"...\"";
        /// File that holds the password.
        password_file: Option<PathBuf> = None, example "\"/run/credentials/database\"";
    }

    /// A PostgreSQL database in place of the SQLite file: several servers may share
    /// it. `url` or `url_file` chooses it.
    postgresql: Postgresql {
        /// `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full`, as libpq
        /// takes it; several hosts with `target_session_attrs=read-write`. Also as
        /// `url_file`.
        url: Option<Secret> = None, example "\"postgresql://fingerpost@db.example/fingerpost\"";
        /// File that holds the URL.
        url_file: Option<PathBuf> = None, example "\"/run/credentials/postgresql\"";
        /// Connections of this server at most, to the primary and to each replica,
        /// without one that watches for deletions.
        connections: u64 = 10;
        /// Prepares statements once for each connection. `false` behind PgBouncer in
        /// transaction mode, or another pool that shares connections.
        statement_cache: bool = true;
        /// How long making a connection takes at most, TLS and login included, in
        /// milliseconds.
        connect_timeout_ms: u64 = 5000;
        /// How long a statement runs at most, in milliseconds; PostgreSQL ends it then.
        statement_timeout_ms: u64 = 10_000;
        /// How long a request waits for a connection, in milliseconds.
        acquire_timeout_ms: u64 = 5000;
        /// How long a request may take in the database, in milliseconds, with
        /// everything that is tried again.
        deadline_ms: u64 = 30_000;
        /// How long a statement of a migration takes at most, in seconds.
        migration_timeout_s: u64 = 600;
        /// How long the start waits for databases that cannot be reached yet, in
        /// seconds.
        start_timeout_s: u64 = 30;
        /// Takes a database with `synchronous_commit = off` too, where a crash loses
        /// reports that were answered.
        allow_asynchronous_commit: bool = false;
        /// Read-only replicas that answer look-ups too, each a URL under a name. What one
        /// of them has not heard of yet is asked of the primary. Also as
        /// `replica_files`.
        replicas: BTreeMap<String, Secret> = BTreeMap::new(),
            example "east = \"postgresql://fingerpost@db-east.example/fingerpost\"";
        /// Files that hold such URLs, under the names of the replicas.
        replica_files: BTreeMap<String, PathBuf> = BTreeMap::new(),
            example "east = \"/run/credentials/postgresql-east\"";
    }

    /// Who may do what.
    accounts: Accounts {
        /// What clients may do without a login: @read, @report, @db-admin.
        /// The reference's default was all three. Cleaning jobs that do not
        /// log in need @db-admin. @user-admin and @all are refused here.
        anonymous_permissions: AnonymousPermissions = AnonymousPermissions(DEFAULT_PERMISSIONS);
        /// A user with every permission, made (or reset) at each start.
        admin_username: Option<String> = None, example "\"admin\"";
        /// The token of that user. Also as `admin_password_file`, which keeps
        /// it out of this file.
        admin_password: Option<Secret> = None, example "\"...\"";
        /// File that holds the token of that user.
        admin_password_file: Option<PathBuf> = None, example "\"/run/credentials/admin\"";
        /// Takes tokens and passwords from other hosts without TLS, where everybody
        /// on the way can read them. For farms whose builders log in over plain
        /// `ws://` or TCP, and behind a proxy on another host that ends TLS.
        plaintext_logins: bool = false;
        /// Clients' certificates and the users they stand for, without any other
        /// login. The name is the first that the certificate has of `uri:...`,
        /// `email:...`, `dns:...` and `cn:...`, with its kind in front. Needs
        /// `tls.client_ca`.
        certificates: BTreeMap<String, String> = BTreeMap::new(),
            example "\"dns:builder.example\" = \"builder\"";
    }

    /// What the hash equivalence service does.
    hashequiv: Hashequiv {
        /// Memory for unihashes that were looked up lately, in MiB.
        lookup_cache_mib: u64 = 128;
        /// How often these are written to a file, so that a restart does not send
        /// every look-up to the database, in minutes; also when the server stops. 0:
        /// never, and none is loaded. Not with `database.durability = "relaxed"`, nor
        /// with `postgresql.allow_asynchronous_commit`.
        lookup_cache_dump_minutes: u64 = 5;
        /// That file, at most 70 bytes for each look-up, one for each server. It is
        /// written anew each time, beside itself. Without this key: the database file
        /// with `.lookup-cache.dump` behind its name; with PostgreSQL, none.
        lookup_cache_dump: Option<PathBuf> = None,
            example "\"/var/cache/fingerpost/lookups.dump\"";
        /// Answers from memory for as long as PostgreSQL does not say what others
        /// deleted. Otherwise for five seconds; then look-ups are answered as unknown
        /// until it does. SQLite needs neither.
        serve_stale: bool = true;
        /// Answers stored unihashes that are not 64 lower-case hex digits, as
        /// the reference does. Otherwise they are answered as unknown, since
        /// BitBake of June 2026 and later ends the build on them.
        serve_invalid_unihashes: bool = false;
        /// Lets `clean-unused` ignore its age, as the reference does by mistake.
        clean_unused_ignores_age: bool = false;
        /// Marks a row for the running collection also when it is reported
        /// again. The reference marks new rows only.
        remark_on_report: bool = false;
        /// Namespaces beside the one that is always there, `default`, which may be
        /// among them: independent worlds, say one for each release. A client
        /// chooses one by the path `/ns/NAME` of a websocket or of `/v1`; else its
        /// listener, its host name or its user does. Users are the same in all.
        namespaces: BTreeMap<String, Namespace> = BTreeMap::new();
    }

    /// Mercurial repositories, served over wire protocol v2.
    hg: Hg {
        /// What every URL path of a repository begins with, where a reverse
        /// proxy passes that on: `/hg`. Without this key, `web.prefix` of the
        /// hgweb file.
        prefix: String = String::new();
        /// A configuration file of hgweb: its `[paths]`, `[collections]` and
        /// `[trusted]`, and what it says for every repository in `[web]`,
        /// `[phases]` and `[server]`. Read again when it changes.
        hgweb_config: Option<PathBuf> = None, example "\"/etc/mercurial/hgweb.config\"";
        /// Configuration files of Mercurial that hold for every repository,
        /// below the hgweb file; those that do not exist are left out.
        hgrc: Vec<PathBuf> = vec![PathBuf::from("/etc/mercurial/hgrc")];
        /// Users, by name or number, whose `.hg/hgrc` may allow what was not
        /// allowed. Root's and the server's own may; those of others only
        /// forbid. "*" is everybody.
        trusted_users: Vec<String> = Vec::new();
        /// Groups, by name or number, whose `.hg/hgrc` may do so.
        trusted_groups: Vec<String> = Vec::new();
        /// Follows symbolic links that lead out of a collection, and links and
        /// shares of untrusted users to what belongs to others.
        follow_symlinks: bool = false;
        /// Where clients that do not speak wire protocol v2 find the
        /// repositories; they are told so.
        fallback_url: Option<String> = None, example "\"https://hg.example.org\"";
        /// Level of compressed answers, 1 to 19. Level 3 takes 1.6 times as long
        /// as 1 and saves a tenth.
        compression_level: u64 = 1;
        /// Largest request, in MiB.
        body_mib: u64 = 16;
        /// Most long answers at a time; more requests wait.
        answers_at_once: u64 = 64;
        /// How long a request may wait for others, in seconds.
        wait_seconds: u64 = 30;
        /// How long a client may take for one answer, in seconds.
        answer_seconds: u64 = 14_400;
        /// Memory for planning one answer, in MiB; a clone of a million files
        /// needs 200.
        request_mib: u64 = 64;
        /// Longest revision of a file that is served, in MiB. A request for one
        /// may take up to four times as much memory.
        text_mib: u64 = 256;
        /// Memory for which revisions were checked against their nodes already,
        /// in MiB.
        verified_mib: u64 = 64;
        /// Most repositories that are kept open.
        open_repositories: u64 = 1000;
        /// A repository that nobody asked for this long keeps no caches.
        idle_seconds: u64 = 600;
        /// Raise it when `hg censor` rewrote a file while no server ran: answers
        /// that were remembered on disk before are not found any more. A server
        /// that runs sees it by itself.
        epoch: u64 = 0;
        /// Lets those who may write move bookmarks and phases (`pushkey`). `hg`
        /// does it, with its hooks.
        pushkey: bool = false;
        /// The program `hg` for that, with its full path.
        hg_program: Option<PathBuf> = None, example "\"/usr/bin/hg\"";
        /// How long `hg` and its hooks may take.
        pushkey_seconds: u64 = 60;
        /// Repositories: URL path and directory. The path "" is the root; healthz, readyz, version, metrics, v1, ns, docs and openapi.json are the server's own.
        repositories: BTreeMap<String, PathBuf> = BTreeMap::new(),
            example "\"tools/build\" = \"/srv/hg/build\"";
        /// Directories whose repositories appear below a URL path, at any depth,
        /// new ones at once. Names that begin with a dot are left out.
        collections: BTreeMap<String, PathBuf> = BTreeMap::new(),
            example "\"team\" = \"/srv/hg/team\"";
        /// Who may read and who may write a repository, by its URL path; "*" is
        /// for those without rules of their own. Users are those of the
        /// accounts, "*" is everybody. What hgweb's rules forbid stays forbidden.
        rules: BTreeMap<String, ReadWrite> = BTreeMap::new(),
            example "\"team/secret\" = { read = [\"alice\", \"bob\"], write = [\"alice\"] }";
    }

    /// Answers that are made once and remembered, for Mercurial repositories.
    cache: Cache {
        /// Stores of answers, in the order in which they are asked: `memory`,
        /// `disk`, `valkey`, and names of `cache.objects`. What is found in one is
        /// copied to those before it. Without this key: memory, disk and Valkey, as
        /// far as they are configured.
        tiers: Vec<String> = Vec::new();
        /// Those of them that keep answers compressed, `disk` and names of
        /// `cache.objects` for example. It saves three quarters of the space of
        /// answers for clients without compression and for redirects to this
        /// server, and costs processor time for each read. What was stored before
        /// this was changed is not found any more, and goes in time.
        compressed: Vec<String> = Vec::new();
        /// Memory for answers, in MiB. 0: none is remembered there.
        memory_mib: u64 = 256;
        /// Directory for answers, behind the memory. They are found again after a
        /// restart, and by other servers on this host that have the same
        /// directory. Without it and without memory no answer is remembered, and
        /// requests at once are answered one by one.
        disk_directory: Option<PathBuf> = None, example "\"/var/cache/fingerpost/answers\"";
        /// Disk space for them, in MiB.
        disk_mib: u64 = 20_480;
        /// A Valkey or Redis server behind them, which many servers share:
        /// `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`. Needs `secret`. Also
        /// as `valkey_url_file`.
        valkey_url: Option<Secret> = None, example "\"redis://cache.example\"";
        /// File that holds the URL.
        valkey_url_file: Option<PathBuf> = None, example "\"/run/credentials/valkey\"";
        /// How long it keeps an answer, in hours.
        valkey_hours: u64 = 168;
        /// Longest answer that it is given, in MiB; at most 512.
        valkey_entry_mib: u64 = 8;
        /// The secret that answers have their names from, the same on every server
        /// of a Valkey; at least 16 bytes. Also as `secret_file`. Without it, one
        /// that is made at the first start and kept in `disk_directory`.
        secret: Option<Secret> = None, example "\"...\"";
        /// File that holds the secret.
        secret_file: Option<PathBuf> = None, example "\"/run/credentials/fingerpost-cache\"";
        /// Answers that are longer than this are not shared, in MiB.
        entry_mib: u64 = 4096;
        /// Answers that are shorter than this, in bytes as they are sent, are not
        /// stored.
        entry_bytes_min: u64 = 0;
        /// Where an answer is held while it is made, if it is longer than 1 MiB.
        /// Without it, where the system keeps temporary files. Not on a disk that
        /// may hang or that answers may fill: those that cannot be held there are
        /// made for each request.
        spool_directory: Option<PathBuf> = None, example "\"/var/cache/fingerpost\"";
        /// Disk space there for all of them together, in MiB, those that are being
        /// compressed for a store or put to a redirect target among them. Answers
        /// for which there is no room are not shared.
        spool_mib: u64 = 16384;
        /// Object storage: S3 and what speaks like it, Google, Azure, a directory.
        /// For `cache.tiers`, and for `redirect.targets`. Needs `secret`.
        objects: BTreeMap<String, ObjectPlace> = BTreeMap::new();
    }

    /// Places from which clients fetch remembered answers by themselves.
    redirect: Redirect {
        /// Clients are sent elsewhere only while so many long answers are being
        /// sent from here. 0: always.
        from_answers: u64 = 0;
        /// For how long an answer that was seen at a target counts as being there,
        /// in minutes. What deletes old objects there is told to each target by
        /// `deleted_after_days`.
        presence_minutes: u64 = 60;
        /// Pause between two looks whether a target works, in milliseconds.
        probe_ms: u64 = 1500;
        /// A target is left out when so many looks in a row failed.
        probe_failures: u64 = 2;
        /// Most answers at a time that clients fetch from this server's own
        /// `/content/`; more requests wait up to 10 seconds for a place. Who takes
        /// less than 256 KiB in 30 seconds is dropped.
        answers_at_once: u64 = 1024;
        /// The places. Clients are told of those that work.
        targets: BTreeMap<String, RedirectTarget> = BTreeMap::new();
    }

    /// Snapshots: what a namespace knows, as files that clients fetch and look up in
    /// without the server.
    snapshots: Snapshots {
        /// Directory with a directory for each snapshot, of which those of this server
        /// are served and, with `every_hours`, made. Needs room for `keep` + 1 of them:
        /// up to 63 bytes for each mapping, and 100 while one is made. Servers on one
        /// PostgreSQL that make snapshots must have the same one, on a file system that
        /// they share; one that has another serves none.
        directory: Option<PathBuf> = None, example "\"/var/lib/fingerpost/snapshots\"";
        /// A snapshot of each namespace is made so often. 0: none is made here. One of
        /// the servers on a database does it; a read-only one does not.
        every_hours: u64 = 0;
        /// The namespaces. Each snapshot has the mappings of one alone, and none of
        /// those that it falls back to.
        namespaces: Vec<String> = vec!["default".to_owned()];
        /// So many snapshots of a namespace that are published stay, and so many that
        /// are not.
        keep: u64 = 3;
        /// Serves only what was signed with `fingerpost snapshot publish`. Whoever
        /// serves others has readers that trust the server.
        published_only: bool = true;
    }

    /// What goes by itself: old and unused rows of hash equivalence. `fingerpost
    /// retention plan` shows what would go.
    retention: Retention {
        /// The rules are applied at this hour of each day, UTC, 0 to 23. Without it and
        /// without `every_hours`: only by `fingerpost retention run`. One of the servers
        /// on a database does it; a read-only one does not.
        daily_hour: Option<u64> = None, example "3";
        /// They are applied so often. 0: not by hours.
        every_hours: u64 = 0;
        /// What goes in which namespaces for which methods: the first rule that matches
        /// both counts, alone. Without a rule nothing goes.
        rules: Vec<RetentionRule> = Vec::new();
    }

    /// Another hash equivalence server that is asked for what is unknown here.
    upstream: Upstream {
        /// Its address: `HOST:PORT`, `unix://PATH`, `ws://HOST[:PORT]` or
        /// `wss://HOST[:PORT]`, any server that speaks the protocol. Empty for
        /// none.
        address: MaybeAddress = MaybeAddress(None);
        /// Login there. Without it, its anonymous permissions apply.
        username: Option<String> = None, example "\"mirror\"";
        /// Token there. Also as `password_file`.
        password: Option<Secret> = None, example "\"...\"";
        /// File that holds the token.
        password_file: Option<PathBuf> = None, example "\"/run/credentials/upstream\"";
        /// The longest wait for an answer from there, in milliseconds; then
        /// the answer comes from local data.
        timeout_ms: u64 = 2000;
        /// For how long "not known there" is remembered, in seconds, at most
        /// 30. A report made here clears it at once.
        miss_seconds: u64 = 30;
    }

    /// Limits on what a client can make the server hold or wait for.
    limits: Limits {
        /// Most connections at a time; more are closed at once. 0: most of the
        /// limit on open files, which is raised at start.
        connections: u64 = 0;
        /// A connection must have said what it is within this time. There is no
        /// limit afterwards: BitBake keeps a silent connection for a whole build.
        handshake_seconds: u64 = 10;
        /// Most header lines of a handshake.
        handshake_lines: u64 = 256;
        /// Most bytes of a handshake.
        handshake_bytes: u64 = 131_072;
        /// Longest line, in bytes. The reference's limit, and its client's, is
        /// 65536.
        line_bytes: u64 = 65_536;
        /// Longest message sent in pieces (over TCP and Unix sockets), in MiB. A
        /// websocket message has at most 1 MiB, as the reference's.
        message_mib: u64 = 64;
        /// The longest time from a message's first byte to its last.
        message_seconds: u64 = 120;
        /// Answers that may wait for one client to read them, in KiB; its
        /// requests are not read meanwhile.
        pending_kib: u64 = 4096;
        /// What all connections, and bodies of requests for `/v1`, together may have
        /// buffered, in MiB. The process may take up to four times as much for it.
        buffered_mib: u64 = 256;
        /// A client that takes none of its answers for this long is closed.
        write_stall_seconds: u64 = 120;
        /// Lines of a stream that are looked up together when memory does not
        /// know them.
        batch_lines: u64 = 1000;
    }

    /// How often one client may ask, and how much costly work is done at once.
    /// Addresses are single ones of IPv4, and networks (/64) of IPv6. 0 is any number.
    rates: Rates {
        /// Look-ups a second of one address, lines of streams included. Whoever asks
        /// more gets answers later; over HTTP, 429.
        cheap_per_address: u64 = 0;
        /// Look-ups a second of one user.
        cheap_per_user: u64 = 0;
        /// Reports a second of one address, and signatures. Many in one request each wait
        /// for their turn; an array may have those of a minute.
        reports_per_address: u64 = 0;
        /// Reports a second of one user.
        reports_per_user: u64 = 0;
        /// Dear requests a second of one address: collections, listings, accounts.
        dear_per_address: u64 = 0;
        /// Dear requests a second of one user.
        dear_per_user: u64 = 0;
        /// Wrong logins a second of one address, whoever they name; beyond it only those
        /// are looked at that were right in the last quarter of an hour. One builder
        /// with an old token does not get there: see docs/identity.md.
        bad_logins_per_address: u64 = 10;
        /// Whoever was quiet for so long may do at once what is for that time.
        burst_seconds: u64 = 10;
        /// Reports that are worked on at once; others wait up to 30 seconds.
        reports_at_once: u64 = 256;
        /// Dear requests that are worked on at once; others wait up to 30 seconds.
        dear_at_once: u64 = 16;
    }

    /// The audit log: a JSON line for every change and every denial, with who it was and
    /// what kind of credential they showed.
    audit: Audit {
        /// File that lines are appended to, made with mode 0600. `-`: into the log.
        /// Opened again after SIGHUP, or when it was moved.
        file: Option<PathBuf> = None, example "\"/var/log/fingerpost/audit.jsonl\"";
        /// Reports too, which may be hundreds of thousands a day.
        reports: bool = false;
    }

    /// Traces for OpenTelemetry: a span for each HTTP request, which goes on with the
    /// trace of a `traceparent`, and for each command over BitBake's protocol but the
    /// lines of a stream. Only in programs that were built with the feature `otlp`.
    traces: Traces {
        /// A collector that takes OTLP over HTTP, without TLS: one beside the
        /// server. Empty for none.
        endpoint: String = String::new();
        /// Of so many requests one is traced, those aside that a traced parent
        /// sends.
        one_in: u64 = 100;
        /// What the service is called in traces.
        service_name: String = "fingerpost".to_owned();
    }

    /// Logs, written to standard error.
    log: Log {
        /// `error`, `warning`, `info`, `debug` or `trace`. What the library for
        /// object storage tries again is told from `debug` on.
        level: LogLevel = LogLevel::Info;
        /// `text`, `json`, or `auto`: text on a terminal, JSON elsewhere.
        format: LogFormat = LogFormat::Auto;
    }
}
