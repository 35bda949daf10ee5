//! Tables that the operator names: each key with its type, its default and its
//! documentation, as in the tree.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::keys::{Kind, Named, Table, keys};
use super::{Address, AnonymousPermissions, Secret, TlsMode};

/// Declares a table: its keys, and that they are below a name.
macro_rules! table {
    ($(#[doc = $doc:literal])+ $struct:ident { $($keys:tt)+ }) => {
        keys! {
            $(#[doc = $doc])+
            $struct { $($keys)+ }
        }

        impl Named for $struct {
            const KIND: Kind = Kind::Tables(&Table {
                keys: Self::KEYS,
                defaults: || {
                    let defaults = serde_json::to_value(Self::default());
                    defaults.expect("a table is plain data")
                },
            });
        }
    };
}

table! {
    /// Further addresses to listen on.
    Further {
        /// The addresses, as in `server.bind`. Must be set. Sockets that systemd
        /// passed with this table's name (`FileDescriptorName=`) take their place.
        bind: Vec<Address> = Vec::new();
        /// As `server.tls`, for these.
        tls: Option<TlsMode> = None, example "\"off\"";
        /// As `server.namespace`, for these.
        namespace: Option<String> = None, example "\"release\"";
        /// As `server.proxy_protocol`, for these.
        proxy_protocol: bool = false;
    }
}

table! {
    /// A namespace: a world of hash equivalences of its own.
    Namespace {
        /// Where a look-up goes on that found nothing here. It answers and copies
        /// nothing. Who may read here reads what is there.
        fallback: Option<String> = None, example "\"default\"";
        /// What clients may do here without a login. Without this key: what
        /// `accounts.anonymous_permissions` says.
        anonymous_permissions: Option<AnonymousPermissions> = None, example "[\"@read\"]";
        /// Users whose permissions hold here. Without any: every user's.
        members: Vec<String> = Vec::new();
        /// Users who work here unless they choose another namespace.
        users: Vec<String> = Vec::new();
        /// Names of this server under which requests over HTTP are for this
        /// namespace unless they choose another one.
        hosts: Vec<String> = Vec::new();
    }
}

table! {
    /// A place of objects.
    ObjectPlace {
        /// `s3://BUCKET[/PREFIX]`, `gs://BUCKET[/PREFIX]`, `az://CONTAINER[/PREFIX]`
        /// or `file:///DIRECTORY`. Must be set. What is for clients lies below
        /// `answers/`, what is for servers alone below `tier/`.
        url: String = String::new(), example "\"s3://answers/fingerpost\"";
        /// Where the service is, if it is not the cloud's own.
        endpoint: Option<String> = None, example "\"https://minio.example:9000\"";
        /// Where clients reach it, if they do elsewhere: signed URLs are of this.
        client_endpoint: Option<String> = None, example "\"https://answers.example\"";
        /// What the service wants to know, credentials too, by the names of the
        /// library `object_store`. Nothing is taken from the environment.
        options: BTreeMap<String, Secret> = BTreeMap::new(),
            example "{ aws_region = \"eu-central-1\", aws_access_key_id = \"...\" }";
        /// Options that are in files.
        option_files: BTreeMap<String, PathBuf> = BTreeMap::new(),
            example "{ aws_secret_access_key = \"/run/credentials/s3\" }";
    }
}

table! {
    /// A redirect target.
    RedirectTarget {
        /// Whether stock clients of Mercurial are sent there. Must be stated. They
        /// abort when a redirect fails and never ask again without it, so the
        /// target has to be at least as available as this server.
        stock_clients: Option<bool> = None, example "true";
        /// The store of `cache.objects` that answers are put to, and that clients
        /// fetch them from by URLs that are signed for each. For stock clients the
        /// credential must be one that does not end, as those of roles do: its URLs
        /// end with it. Without this key, this server's own disk is the target, at
        /// `/content/`.
        objects: Option<String> = None, example "\"s3\"";
        /// Without `objects`: where clients reach this server, or what stands in
        /// front of its `/content/`. With `objects` and `public`: where clients
        /// fetch answers without a signature; their names are appended.
        url: Option<String> = None, example "\"https://fingerpost.example:8686\"";
        /// That everybody may fetch whatever lies there. Only answers that are for
        /// everybody get there. Needs `objects` and `url`.
        public: bool = false;
        /// Networks of clients that can reach it. Without any: all.
        networks: Vec<String> = Vec::new();
        /// Targets with a lower one come first; those with the same, by name.
        priority: u64 = 0;
        /// Whether clients need Server Name Indication for it. Told to clients.
        sni_required: Option<bool> = None, example "true";
        /// Versions of TLS that it speaks, as clients know them: "1.2". Stock
        /// clients do not know "1.3", and leave out a target that has only that.
        tls_versions: Vec<String> = Vec::new();
        /// File with the certificate of its server, PEM, which clients that check
        /// it are told. Stock clients are not: they print a warning.
        server_certificate: Option<PathBuf> = None, example "\"/etc/fingerpost/cdn.pem\"";
        /// File with the certificates of authorities, PEM, that such clients trust
        /// for this target beside those of their own, and so does `probe`.
        authority_certificates: Option<PathBuf> = None, example "\"/etc/fingerpost/ca.pem\"";
        /// Shortest answer that is redirected there, in KiB without compression.
        kib_min: u64 = 1024;
        /// Longest answer that is put there, in MiB without compression.
        mib_max: u64 = 4096;
        /// How long a URL is good at least when a client gets it, in minutes: longer
        /// than a whole clone takes. An answer stays on this server's disk as long as
        /// a URL of it is good. At least 120 for stock clients; at most 5040 where
        /// `objects` signs, and 6720 for this server itself.
        lifetime_minutes: u64 = 720;
        /// After how many days something deletes what was put there, such as a rule
        /// of the bucket. An answer is put again in time. At least twice what
        /// `lifetime_minutes` and `redirect.presence_minutes` are together.
        deleted_after_days: Option<u64> = None, example "30";
        /// Looks again and again whether an answer can be fetched from there. If
        /// not, clients are not told of it.
        probe: bool = true;
    }
}
