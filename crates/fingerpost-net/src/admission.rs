//! Who may have something done now, and who waits: rates for each address and
//! user, and places for what costs much, so that cheap requests are never behind it.

mod buckets;
mod places;

use std::cmp::Ordering;
use std::time::Duration;

use fingerpost_core::{Cost, Declaration, Kind, Origin};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::OwnedSemaphorePermit;

use self::buckets::Buckets;
use self::places::Places;

/// Requests a second of one address and of one user, 0 for any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Of one IPv4 address, one IPv6 network (/64), one user of this machine.
    pub per_address: u32,
    /// Of one user who logged in, wherever from.
    pub per_user: u32,
}

/// Limits of [`Admission`].
#[derive(Clone, Copy, Debug)]
pub struct AdmissionOptions {
    /// Look-ups, each line of a stream. Any number.
    pub cheap: Rates,
    /// Reports. Any number.
    pub reports: Rates,
    /// Requests that cost much. Any number.
    pub dear: Rates,
    /// Whoever was quiet for so many seconds may do at once what is for them. 10.
    pub burst_seconds: u32,
    /// Reports that are worked on at once. 256.
    pub reports_at_once: usize,
    /// Dear requests that are worked on at once. 16.
    pub dear_at_once: usize,
    /// How many of either may wait for a place. 4,096.
    pub waiting_max: usize,
    /// How long one may wait for a place. 30 s.
    pub wait_max: Duration,
    /// Addresses and users that are remembered at most, for each limit. 65,536.
    pub remembered_max: usize,
}

impl Default for AdmissionOptions {
    fn default() -> Self {
        Self {
            cheap: Rates::default(),
            reports: Rates::default(),
            dear: Rates::default(),
            burst_seconds: 10,
            reports_at_once: 256,
            dear_at_once: 16,
            waiting_max: 4096,
            wait_max: Duration::from_secs(30),
            remembered_max: 65_536,
        }
    }
}

/// Who asks, as far as limits are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// See [`crate::Peer::host`].
    pub host: Origin,
    /// The login, if there is one.
    pub user: Option<&'a str>,
}

/// A request that may be worked on; keep it until it is done.
#[derive(Debug)]
#[must_use]
pub struct Pass {
    _place: Option<OwnedSemaphorePermit>,
}

impl Pass {
    /// For what [`Admission::is_free`].
    pub const FREE: Self = Self { _place: None };
}

/// Why a request is not worked on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Crowded {
    /// The address or the user asks too often; it may be tried again after this time.
    #[error("too many requests; try again in {} s", .0.as_secs_f32().ceil())]
    Rate(Duration),
    /// Too many such requests of anybody are being worked on.
    #[error("too much is being worked on; try again later")]
    Places,
}

/// The limits of a server, for all its doors.
#[derive(Debug)]
pub struct Admission {
    cheap: Pair,
    reports: Pair,
    dear: Pair,
    report_places: Places,
    dear_places: Places,
    limited: Family<LimitedLabels, Counter>,
}

/// The buckets of one kind of request.
#[derive(Debug)]
struct Pair {
    address: Buckets,
    user: Buckets,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitedLabels {
    kind: &'static str,
    by: &'static str,
}

impl Admission {
    /// Makes the limits; nobody has asked for anything yet.
    pub fn new(options: AdmissionOptions) -> Self {
        let buckets = |rate| Buckets::new(rate, options.burst_seconds, options.remembered_max);
        let pair = |rates: Rates| Pair {
            address: buckets(rates.per_address),
            user: buckets(rates.per_user),
        };
        let places = |at_once| Places::new(at_once, options.waiting_max, options.wait_max);
        Self {
            cheap: pair(options.cheap),
            reports: pair(options.reports),
            dear: pair(options.dear),
            report_places: places(options.reports_at_once),
            dear_places: places(options.dear_at_once),
            limited: limited(),
        }
    }

    /// Adds the counters to `registry`, whose prefix is `fingerpost`.
    pub fn register(&self, registry: &mut Registry) {
        let about =
            "Requests that had to wait or were refused, by what they are and what was used up";
        registry.register("limited", about, self.limited.clone());
        let about = "Dear requests and reports that wait for a place now";
        self.report_places
            .register(registry, "reports_waiting", about);
        self.dear_places.register(registry, "dear_waiting", about);
    }

    /// Whether [`Admission::enter`] never waits or refuses for such a request.
    pub const fn is_free(&self, cost: Cost) -> bool {
        matches!(cost, Cost::Cheap) && self.cheap.address.is_off() && self.cheap.user.is_off()
    }

    /// Lets one request of a command in. One that is over its rate waits for its
    /// time if that comes within `patience`; then reports and dear requests wait for
    /// a place. A line of a stream, for which its command is called, has no rate of
    /// its own: see [`Admission::lines`].
    ///
    /// # Errors
    ///
    /// Refuses what would wait longer. Nothing is charged then.
    pub async fn enter(
        &self,
        declaration: &Declaration,
        asker: Asker<'_>,
        patience: Duration,
    ) -> Result<Pass, Crowded> {
        if declaration.kind == Kind::Once {
            self.turn(declaration.cost, asker, patience).await?;
        }
        self.place(declaration.cost).await
    }

    /// Waits until the caller may have one more request of this cost done, if that
    /// comes within `patience`.
    ///
    /// # Errors
    ///
    /// Refuses what would wait longer. Nothing is charged then.
    pub async fn turn(
        &self,
        cost: Cost,
        asker: Asker<'_>,
        patience: Duration,
    ) -> Result<(), Crowded> {
        let (kind, pair) = self.rates(cost);
        let pause = self.reserve(kind, pair, asker, patience)?;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// Lets a request in whose turn it is: reports and dear requests wait for a place.
    ///
    /// # Errors
    ///
    /// Refuses when too many wait for one, or it does not come in time.
    pub async fn place(&self, cost: Cost) -> Result<Pass, Crowded> {
        let places = match cost {
            Cost::Cheap => return Ok(Pass::FREE),
            Cost::Report => &self.report_places,
            Cost::Dear => &self.dear_places,
        };
        let (kind, _) = self.rates(cost);
        let place = places.take(|| self.count(kind, "places")).await;
        let place = Some(place.ok_or(Crowded::Places)?);
        Ok(Pass { _place: place })
    }

    /// How many requests of this cost a caller who was quiet may have done within
    /// `time`; `None` for any number.
    pub fn most_within(&self, cost: Cost, asker: Asker<'_>, time: Duration) -> Option<u64> {
        let (_, pair) = self.rates(cost);
        let by_user = asker.user.and_then(|_| pair.user.most_within(time));
        let by_address = pair.address.most_within(time);
        by_address.into_iter().chain(by_user).min()
    }

    const fn rates(&self, cost: Cost) -> (&'static str, &Pair) {
        match cost {
            Cost::Cheap => ("cheap", &self.cheap),
            Cost::Report => ("report", &self.reports),
            Cost::Dear => ("dear", &self.dear),
        }
    }

    /// Charges a batch of look-ups that were answered. Gives how long to rest before
    /// more are taken, which is at most `patience`.
    pub fn lines(&self, asker: Asker<'_>, lines: u64, patience: Duration) -> Duration {
        let lines = u32::try_from(lines).unwrap_or(u32::MAX);
        let by_address = self.cheap.address.charge(&asker.host, lines, patience);
        let by_user = asker
            .user
            .map(|user| self.cheap.user.charge(user, lines, patience));
        self.longer("cheap", by_address, by_user.unwrap_or_default())
    }

    /// The pause before a request of this kind.
    fn reserve(
        &self,
        kind: &'static str,
        pair: &Pair,
        asker: Asker<'_>,
        patience: Duration,
    ) -> Result<Duration, Crowded> {
        let refused = |by, wait| {
            self.count(kind, by);
            Crowded::Rate(wait)
        };
        // Before the user is charged for what the address may not do.
        let wait = pair.address.would_wait(&asker.host);
        if wait > patience {
            return Err(refused("address", wait));
        }
        let by_user = asker.user.map(|user| pair.user.reserve(user, patience));
        let by_user = by_user.transpose().map_err(|wait| refused("user", wait))?;
        let by_address = pair.address.reserve(&asker.host, patience);
        let by_address = by_address.map_err(|wait| refused("address", wait))?;
        Ok(self.longer(kind, by_address, by_user.unwrap_or_default()))
    }

    /// The longer pause, which is counted.
    fn longer(&self, kind: &'static str, by_address: Duration, by_user: Duration) -> Duration {
        match by_address.cmp(&by_user) {
            _ if by_address.is_zero() && by_user.is_zero() => {}
            Ordering::Less => self.count(kind, "user"),
            Ordering::Equal | Ordering::Greater => self.count(kind, "address"),
        }
        by_address.max(by_user)
    }

    fn count(&self, kind: &'static str, by: &'static str) {
        self.limited
            .get_or_create(&LimitedLabels { kind, by })
            .inc();
    }
}

/// The counter with zeros of all that it can have: one that begins with the first
/// refusal hides it.
fn limited() -> Family<LimitedLabels, Counter> {
    let limited = Family::default();
    for (kind, used_up) in [
        ("cheap", &["address", "user"][..]),
        ("report", &["address", "user", "places"]),
        ("dear", &["address", "user", "places"]),
    ] {
        for by in used_up {
            drop(limited.get_or_create(&LimitedLabels { kind, by }));
        }
    }
    limited
}

#[cfg(test)]
mod tests;
