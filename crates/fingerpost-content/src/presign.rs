//! URLs by which clients fetch entries from an object store by themselves.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_core::{CacherError, EntryName, SecretUrl};
use object_store::path::Path;
use object_store::signer::{Method, Signer};
use parking_lot::Mutex;

use crate::ObjectStore;
use crate::object::{in_time, key};

/// What S3 and Google sign for at most.
const LIFETIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How URLs are signed.
#[derive(Clone, Debug)]
pub struct PresignConfig {
    /// How long a URL is good after it was signed; at most seven days.
    pub lifetime: Duration,
    /// The least that a URL is good for when a client gets it. A download that
    /// began is not interrupted at the end of it.
    pub lifetime_min: Duration,
    /// How long the credential is good that signs, if that ends: those that a
    /// role gives do. A URL ends with it, whatever it says itself.
    pub credential_lives: Option<Duration>,
    /// Signed URLs that are remembered; 0 signs each time.
    pub remembered_max: usize,
}

impl Default for PresignConfig {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(3600),
            lifetime_min: Duration::from_secs(60),
            credential_lives: None,
            remembered_max: 10_000,
        }
    }
}

impl PresignConfig {
    /// Whether a URL that is handed out is good for `lifetime_min`: it is
    /// handed out during the first half of its life.
    ///
    /// # Errors
    ///
    /// A sentence about the rule that is broken.
    pub fn check(&self) -> Result<(), String> {
        let Self {
            lifetime,
            lifetime_min,
            ..
        } = self;
        if *lifetime > LIFETIME_MAX {
            return Err(format!(
                "URLs are signed for {LIFETIME_MAX:?} at most, not for {lifetime:?}"
            ));
        }
        if let Some(lives) = self.credential_lives
            && *lifetime > lives
        {
            return Err(format!(
                "a URL for {lifetime:?} ends with the credential that signs it, after {lives:?}"
            ));
        }
        if lifetime.as_secs() == 0 || *lifetime / 2 < *lifetime_min {
            return Err(format!(
                "half of a URL's {lifetime:?} is less than the {lifetime_min:?} it has to be good for"
            ));
        }
        Ok(())
    }
}

/// Signs GET requests for single objects of a store.
///
/// Signing costs some hundred microseconds, a multiple of a look-up, and some
/// places sign by a request: a URL is handed out again for half of its life.
pub struct Presigner {
    signer: Arc<dyn Signer>,
    prefix: String,
    deadline: Duration,
    config: PresignConfig,
    remembered: Mutex<Remembered>,
}

impl Presigner {
    /// Signs for `store`, with its credential and of its clients' endpoint.
    ///
    /// # Errors
    ///
    /// A sentence when a rule of [`PresignConfig::check`] is broken, when the
    /// place cannot sign, as a directory cannot, or when entries are sealed.
    pub fn new(store: &ObjectStore, config: PresignConfig) -> Result<Self, String> {
        config.check()?;
        if !store.is_plain() {
            return Err("clients cannot open what is sealed".to_owned());
        }
        let place = store.place();
        let signer = place
            .signer
            .clone()
            .ok_or("a directory has no URLs that could be signed")?;
        Ok(Self {
            signer,
            prefix: place.prefix.clone(),
            deadline: store.deadline(),
            config,
            remembered: Mutex::default(),
        })
    }

    /// A URL by which one GET, or many, yield the entry, whether it is there or
    /// not. `now` is a moment of the monotonic clock.
    ///
    /// # Errors
    ///
    /// [`CacherError`] when there is no credential, or none in time.
    pub async fn url(&self, name: &EntryName, now: Instant) -> Result<SecretUrl, CacherError> {
        if let Some(url) = self.remembered.lock().get(name, now) {
            return Ok(url);
        }
        let path: Path = key(&self.prefix, name);
        let signed = self
            .signer
            .signed_url(Method::GET, &path, self.config.lifetime);
        let url = in_time(self.deadline, name, signed).await?;
        let url = SecretUrl::new(url.into());
        let until = now + self.config.lifetime / 2;
        self.remembered
            .lock()
            .put(*name, url.clone(), until, now, self.config.remembered_max);
        Ok(url)
    }
}

impl fmt::Debug for Presigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

/// URLs that may be handed out again. All live equally long, so the oldest is
/// the next to end, and the first to go when there are too many.
#[derive(Default)]
struct Remembered {
    urls: HashMap<EntryName, (SecretUrl, Instant, u64)>,
    order: BTreeMap<u64, EntryName>,
    next: u64,
}

impl Remembered {
    fn get(&self, name: &EntryName, now: Instant) -> Option<SecretUrl> {
        let (url, until, _) = self.urls.get(name)?;
        (now < *until).then(|| url.clone())
    }

    fn put(&mut self, name: EntryName, url: SecretUrl, until: Instant, now: Instant, max: usize) {
        if max == 0 {
            return;
        }
        self.remove(&name);
        while let Some((_, oldest)) = self.order.first_key_value() {
            let oldest = *oldest;
            let over = self.urls.get(&oldest).is_none_or(|(_, end, _)| *end <= now);
            if !over && self.urls.len() < max {
                break;
            }
            self.remove(&oldest);
        }
        self.urls.insert(name, (url, until, self.next));
        self.order.insert(self.next, name);
        self.next += 1;
    }

    fn remove(&mut self, name: &EntryName) {
        if let Some((_, _, number)) = self.urls.remove(name) {
            self.order.remove(&number);
        }
    }
}

/// Where anybody can fetch entries, without a signature: a bucket that is open
/// to read, or a content delivery network before one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicBase(String);

impl PublicBase {
    /// Takes `https://HOST[:PORT][/PATH]`; a slash at its end is optional.
    ///
    /// # Errors
    ///
    /// A sentence when it is something else.
    pub fn new(base: &str) -> Result<Self, String> {
        let rest = ["https://", "http://"]
            .iter()
            .find_map(|scheme| base.strip_prefix(scheme))
            .ok_or_else(|| format!("{base} is no URL of HTTP"))?;
        let fits = |byte: u8| byte.is_ascii_graphic() && !b"?#@\"<>\\^`{|}".contains(&byte);
        if rest.is_empty() || rest.starts_with('/') || !rest.bytes().all(fits) {
            return Err("a base URL has a host, and neither user, query nor fragment".to_owned());
        }
        Ok(Self(format!("{}/", base.trim_end_matches('/'))))
    }

    /// `http` or `https`.
    pub fn protocol(&self) -> &str {
        self.0.split("://").next().unwrap_or_default()
    }

    /// The URL of an entry.
    pub fn url(&self, name: &EntryName) -> SecretUrl {
        SecretUrl::new(format!("{}{}", self.0, name.to_hex()))
    }

    /// The URL itself, with a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_url_never_outlives_its_credential() {
        let check = |lifetime, lifetime_min, credential_lives, fits: bool| {
            let config = PresignConfig {
                lifetime,
                lifetime_min,
                credential_lives,
                ..PresignConfig::default()
            };
            assert_eq!(config.check().is_ok(), fits, "{config:?}");
        };
        assert_eq!(PresignConfig::default().check(), Ok(()));
        check(secs(3600), secs(60), Some(secs(3600)), true);
        check(secs(3600), secs(60), Some(secs(3599)), false);
        check(secs(120), secs(60), None, true);
        check(secs(119), secs(60), None, false);
        check(secs(7 * 86400), secs(60), None, true);
        check(secs(7 * 86400 + 1), secs(60), None, false);
        check(secs(0), secs(0), None, false);
        check(Duration::from_millis(900), secs(0), None, false);
    }

    #[test]
    fn the_oldest_urls_are_forgotten() {
        let name = |n: u8| EntryName::from_hex(&format!("{n:02x}").repeat(32)).unwrap();
        let url = |n: u8| SecretUrl::new(n.to_string());
        let start = Instant::now();
        let mut remembered = Remembered::default();
        for n in 0..4 {
            let at = start + secs(n.into());
            remembered.put(name(n), url(n), at + secs(10), at, 3);
        }
        let at = start + secs(11);
        assert_eq!(remembered.urls.len(), 3);
        assert_eq!(remembered.get(&name(0), start), None);
        assert_eq!(remembered.get(&name(1), at), None);
        assert_eq!(remembered.get(&name(2), at), Some(url(2)));
        // Again, and what is over makes room.
        remembered.put(name(2), url(9), at + secs(10), at, 3);
        assert_eq!(remembered.get(&name(2), at), Some(url(9)));
        assert_eq!((remembered.urls.len(), remembered.order.len()), (2, 2));
        remembered.put(name(7), url(7), at + secs(10), at, 0);
        assert_eq!(remembered.get(&name(7), at), None);
    }

    #[test]
    fn a_base_is_a_url_without_query() {
        let base = PublicBase::new("https://cdn:8443/a").unwrap();
        assert_eq!(base, PublicBase::new("https://cdn:8443/a/").unwrap());
        assert_eq!(
            (base.protocol(), base.as_str()),
            ("https", "https://cdn:8443/a/")
        );
        let name = EntryName::from_hex(&"ab".repeat(32)).unwrap();
        let expected = format!("https://cdn:8443/a/{}", name.to_hex());
        assert_eq!(base.url(&name).expose(), expected);
        for wrong in [
            "",
            "cdn",
            "ftp://cdn",
            "https://",
            "https:///a",
            "https://u:p@cdn",
            "http://c?a",
            "http://c#a",
            "http://c d",
        ] {
            assert!(PublicBase::new(wrong).is_err(), "{wrong}");
        }
    }
}
