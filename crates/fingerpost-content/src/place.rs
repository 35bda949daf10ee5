//! Where objects lie: S3 and what speaks like it, Google, Azure, or a
//! directory, by one URL and the options that each of them has.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::signer::Signer;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

/// Attempts after the first, for answers 5xx and connections that broke.
const RETRIES: usize = 2;
const POOL_IDLE: Duration = Duration::from_secs(30);

/// A place of objects, as it is configured.
#[derive(Clone, Default)]
pub struct Place {
    /// `s3://BUCKET[/PREFIX]`, `gs://BUCKET[/PREFIX]`, `az://CONTAINER[/PREFIX]`
    /// or `file:///DIRECTORY`, which has to be there.
    pub url: String,
    /// Where the service is, if it is not the cloud's own: `http://minio:9000`.
    /// Without TLS only if it says `http://`.
    pub endpoint: Option<String>,
    /// The endpoint that clients reach it by, if it is another one: signed URLs
    /// are of this, and a signature holds for one host alone.
    pub client_endpoint: Option<String>,
    /// Options as `object_store` names them: `aws_region`, `aws_access_key_id`,
    /// `google_service_account_path`, `azure_storage_account_name` and so on.
    /// Nothing is read from the environment.
    pub options: Vec<(String, String)>,
}

/// A place with its connections.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn object_store::ObjectStore>,
    /// Signs URLs of the client's endpoint; a directory cannot.
    pub(crate) signer: Option<Arc<dyn Signer>>,
    /// What stands before every key, with a slash at its end, or nothing.
    pub(crate) prefix: String,
    /// Whether objects have a media type and the like.
    pub(crate) has_attributes: bool,
}

impl Place {
    /// Prepares the connections and does not use them yet. An attempt takes
    /// at most `connect` until there is a connection, and `request` in all.
    ///
    /// # Errors
    ///
    /// A sentence that names what cannot be used, without secrets.
    pub(crate) fn open(&self, connect: Duration, request: Duration) -> Result<Opened, String> {
        // The client demands a provider of TLS, also where there is none. One
        // that is there already stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (scheme, rest) = self
            .url
            .split_once("://")
            .ok_or("a place is a URL: s3://BUCKET, for example")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let client = |endpoint: Option<&String>| {
            ClientOptions::new()
                .with_connect_timeout(connect)
                .with_timeout(request)
                .with_pool_idle_timeout(POOL_IDLE)
                .with_allow_http(endpoint.is_some_and(|url| url.starts_with("http://")))
        };
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(50),
                max_backoff: Duration::from_millis(500),
                base: 2.0,
            },
            max_retries: RETRIES,
            retry_timeout: request,
        };
        let own = self.endpoint.as_ref();
        let clients = self.client_endpoint.as_ref().or(own);
        // Sentences about what fails have URLs in them, and go to logs.
        if [own, clients, Some(&self.url)]
            .into_iter()
            .flatten()
            .any(|url| has_login(url))
        {
            return Err("a login in a URL is not used; it belongs into the options".to_owned());
        }
        match scheme {
            "s3" => {
                let build = |endpoint| self.s3(bucket, endpoint, client(endpoint), retry.clone());
                opened(build(own)?, build(clients)?, prefix)
            }
            "gs" => {
                let build =
                    |endpoint| self.google(bucket, endpoint, client(endpoint), retry.clone());
                opened(build(own)?, build(clients)?, prefix)
            }
            "az" => {
                let build =
                    |endpoint| self.azure(bucket, endpoint, client(endpoint), retry.clone());
                opened(build(own)?, build(clients)?, prefix)
            }
            "file" => directory(rest),
            _ => Err(format!("{scheme}:// is no place that we know")),
        }
    }

    fn s3(
        &self,
        bucket: &str,
        endpoint: Option<&String>,
        client: ClientOptions,
        retry: RetryConfig,
    ) -> Result<object_store::aws::AmazonS3, String> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        for (key, value) in &self.options {
            builder = builder.with_config(known::<AmazonS3ConfigKey>(key)?, value);
        }
        builder.build().map_err(|error| self.unusable(&error))
    }

    fn google(
        &self,
        bucket: &str,
        endpoint: Option<&String>,
        client: ClientOptions,
        retry: RetryConfig,
    ) -> Result<object_store::gcp::GoogleCloudStorage, String> {
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(bucket)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = endpoint {
            builder = builder.with_base_url(endpoint);
        }
        for (key, value) in &self.options {
            builder = builder.with_config(known::<GoogleConfigKey>(key)?, value);
        }
        builder.build().map_err(|error| self.unusable(&error))
    }

    fn azure(
        &self,
        container: &str,
        endpoint: Option<&String>,
        client: ClientOptions,
        retry: RetryConfig,
    ) -> Result<object_store::azure::MicrosoftAzure, String> {
        let mut builder = MicrosoftAzureBuilder::new()
            .with_container_name(container)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        for (key, value) in &self.options {
            builder = builder.with_config(known::<AzureConfigKey>(key)?, value);
        }
        builder.build().map_err(|error| self.unusable(&error))
    }

    /// What a builder says, without the values it was given.
    fn unusable(&self, error: &object_store::Error) -> String {
        let mut said = error.to_string();
        for (_, value) in self.options.iter().filter(|(_, value)| value.len() > 2) {
            said = said.replace(value, "..");
        }
        format!("{} cannot be used: {said}", self.url)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values of options may be secrets.
        let options: Vec<&str> = self.options.iter().map(|(key, _)| key.as_str()).collect();
        f.debug_struct("Place")
            .field("url", &self.url)
            .field("endpoint", &self.endpoint)
            .field("client_endpoint", &self.client_endpoint)
            .field("options", &options)
            .finish()
    }
}

fn known<K: FromStr>(key: &str) -> Result<K, String> {
    key.parse()
        .map_err(|_| format!("{key} is no option of this kind of place"))
}

fn opened<S>(store: S, signer: S, prefix: &str) -> Result<Opened, String>
where
    S: object_store::ObjectStore + Signer,
{
    let prefix = prefix.trim_end_matches('/');
    // What would be escaped in a key is escaped again in a URL: leave it out.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    let part = |part: &str| !matches!(part, "" | "." | "..");
    let fits = prefix.bytes().all(plain) && prefix.split('/').all(part);
    if !prefix.is_empty() && !fits {
        return Err(format!(
            "the prefix {prefix} has other characters than letters, digits and /-_."
        ));
    }
    let prefix = match prefix {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    Ok(Opened {
        store: Arc::new(store),
        signer: Some(Arc::new(signer)),
        prefix,
        has_attributes: true,
    })
}

fn directory(path: &str) -> Result<Opened, String> {
    let store = LocalFileSystem::new_with_prefix(path)
        .map_err(|_| format!("the directory {path} is not there"))?;
    Ok(Opened {
        store: Arc::new(store),
        signer: None,
        prefix: String::new(),
        has_attributes: false,
    })
}

/// Whether there is a login between the scheme and the path.
fn has_login(url: &str) -> bool {
    let behind = url.split_once("://").map_or(url, |(_, behind)| behind);
    let authority = behind.split('/').next();
    authority.is_some_and(|authority| authority.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: &str, options: &[(&str, &str)]) -> Result<Opened, String> {
        let options = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let place = Place {
            url: url.to_owned(),
            options: options.collect(),
            ..Place::default()
        };
        assert!(!format!("{place:?}").contains("hidden"));
        place.open(Duration::from_secs(1), Duration::from_secs(1))
    }

    #[test]
    fn every_kind_is_opened() {
        let s3 = [
            ("aws_access_key_id", "me"),
            ("aws_secret_access_key", "hidden"),
        ];
        assert_eq!(open("s3://bucket/a/b/", &s3).unwrap().prefix, "a/b/");
        assert_eq!(open("s3://bucket", &s3).unwrap().prefix, "");
        let azure = [
            ("azure_storage_account_name", "me"),
            ("azure_storage_account_key", "aGlkZGVu"),
        ];
        assert!(open("az://container/p", &azure).unwrap().signer.is_some());
        assert!(open("gs://bucket", &[]).unwrap().signer.is_some());
        assert!(open("file:///", &[]).unwrap().signer.is_none());
    }

    #[test]
    fn a_url_has_no_login_in_it() {
        let with = |url: &str, own: Option<&str>, clients: Option<&str>| {
            let place = Place {
                url: url.to_owned(),
                endpoint: own.map(str::to_owned),
                client_endpoint: clients.map(str::to_owned),
                options: Vec::new(),
            };
            place.open(Duration::from_secs(1), Duration::from_secs(1))
        };
        let (good, bad) = (Some("http://host:9000"), Some("http://me:hidden@host:9000"));
        assert!(with("s3://b", good, good).is_ok());
        assert!(!has_login("file:///srv/answers@farm"), "that is a path");
        for place in [
            with("s3://b", bad, good),
            with("s3://b", good, bad),
            with("s3://me:hidden@b", good, good),
        ] {
            let said = place.err().unwrap();
            assert!(said.contains("login") && !said.contains("hidden"), "{said}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_without_secrets() {
        for (url, options, part) in [
            ("bucket", &[][..], "is a URL"),
            ("ftp://x", &[], "ftp://"),
            ("s3://b/a%20b", &[], "a%20b"),
            ("s3://b/../c", &[], "../c"),
            ("file:///not/there", &[], "/not/there"),
            ("s3://b", &[("region of", "hidden")], "region of"),
            (
                "gs://b",
                &[("google_service_account_key", "hidden")],
                "gs://b",
            ),
        ] {
            let said = open(url, options).err().unwrap();
            assert!(said.contains(part), "{said}");
            assert!(!said.contains("hidden"), "{said}");
        }
    }
}
