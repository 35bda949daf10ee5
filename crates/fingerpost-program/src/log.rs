//! Log lines on standard error: text for people, one JSON object a line for
//! programs.
//!
//! Every JSON line begins with `ts` (RFC 3339, UTC), `level` and `msg`. The
//! other fields are the event's own and those of the spans around it; the
//! pinned names among them are `request_id`, `peer`, `user` and `command`.

mod words;

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;

use fingerpost_core::{Clock, SPANS, SystemClock};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{JsonFields, Writer, debug_fn};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt as _;

pub use self::words::{LogFormat, LogLevel};

/// What takes spans of requests, if anything does.
pub type Spans = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging, for the whole process. Later calls change nothing.
pub fn start(level: LogLevel, format: LogFormat) {
    start_with(level, format, None);
}

/// The same, and spans go to `spans`.
pub fn start_with(level: LogLevel, format: LogFormat, spans: Option<Spans>) {
    // An error says that a subscriber is there already, which is as good.
    let _ = match spans {
        // A filter for all costs less than one for each layer.
        None => tracing_subscriber::registry()
            .with(filter(level))
            .with(lines(format))
            .try_init(),
        Some(spans) => tracing_subscriber::registry()
            .with(spans)
            .with(lines(format).with_filter(filter(level)))
            .try_init(),
    };
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(terminal);
    if json {
        Box::new(
            lines
                .fmt_fields(JsonFields::new())
                .event_format(JsonLines(Arc::new(SystemClock))),
        )
    } else {
        Box::new(
            lines
                .with_timer(UtcTime(SystemClock))
                .fmt_fields(debug_fn(write_field).delimited(" ")),
        )
    }
}

/// What is logged at a level. At the default one, libraries that tell of their own
/// work are heard from warnings on: whoever wants more asks for more.
fn filter(level: LogLevel) -> Targets {
    let (ours, theirs) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warning => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::DEBUG),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    let talkative = TALKATIVE.map(|library| (library, theirs));
    Targets::new()
        .with_default(ours)
        .with_targets(talkative)
        .with_target(SPANS, LevelFilter::OFF)
}

/// It tells of every request that it tries again, which is counted as failures of
/// the tier or target anyway once they matter.
const TALKATIVE: [&str; 1] = ["object_store"];

/// Writes a field of a text line. Words of clients are in some of them: they
/// cannot begin a line of their own, nor colour the terminal.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(writer, "{}=", field.name())?;
    }
    for character in format!("{value:?}").chars() {
        if character.is_control() {
            write!(writer, "{}", character.escape_default())?;
        } else {
            writer.write_char(character)?;
        }
    }
    Ok(())
}

/// RFC 3339 in UTC in front of text lines.
struct UtcTime(SystemClock);

impl FormatTime for UtcTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.write_str(&self.0.now().to_rfc3339())
    }
}

/// Writes one JSON object a line.
struct JsonLines(Arc<dyn Clock>);

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut collected = Collected::default();
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>();
            let parsed = fields.and_then(|fields| serde_json::from_str(&fields.fields).ok());
            if let Some(Value::Object(fields)) = parsed {
                collected.fields.extend(fields);
            }
        }
        event.record(&mut collected);
        let ts = Value::from(self.0.now().to_rfc3339());
        let level = Value::from(name(*event.metadata().level()));
        let msg = Value::from(collected.message);
        write!(writer, "{{\"ts\":{ts},\"level\":{level},\"msg\":{msg}")?;
        for (field, value) in &collected.fields {
            write!(writer, ",{}:{value}", Value::from(field.as_str()))?;
        }
        writer.write_str("}\n")
    }
}

/// Levels as the configuration names them.
const fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The fields of an event, with its message apart.
#[derive(Default)]
struct Collected {
    message: String,
    fields: Map<String, Value>,
}

impl Collected {
    fn put(&mut self, field: &Field, value: Value) {
        // A field may not hide one of ours.
        let name = match field.name() {
            "ts" | "level" | "msg" => format!("field_{}", field.name()),
            other => other.to_owned(),
        };
        self.fields.insert(name, value);
    }
}

impl Visit for Collected {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, text.into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, value.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use fingerpost_core::{ManualClock, Timestamp};
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Sink {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn logged(act: impl FnOnce()) -> Value {
        let sink = Sink::default();
        let clock = ManualClock::new(Timestamp(1_000_000));
        let subscriber = tracing_subscriber::fmt()
            .with_writer(sink.clone())
            .fmt_fields(JsonFields::new())
            .event_format(JsonLines(Arc::new(clock)))
            .finish();
        tracing::subscriber::with_default(subscriber, act);
        let bytes = sink.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.starts_with("{\"ts\":\"1970-01-01T00:00:01Z\",\"level\":"),
            "{text}"
        );
        serde_json::from_str(text.trim_end()).unwrap()
    }

    #[test]
    fn a_library_that_talks_is_heard_when_more_is_asked_for_than_the_default() {
        let check = |level, target: &str, expected: [bool; 4]| {
            let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG];
            let shown = levels.map(|it| filter(level).would_enable(target, &it));
            assert_eq!(shown, expected, "{target} at {level:?}");
        };
        let (ours, theirs) = ("fingerpost_content::tiers", "object_store::client::retry");
        check(LogLevel::Error, ours, [true, false, false, false]);
        check(LogLevel::Error, theirs, [true, false, false, false]);
        check(LogLevel::Info, ours, [true, true, true, false]);
        check(LogLevel::Info, theirs, [true, true, false, false]);
        check(LogLevel::Debug, theirs, [true; 4]);
        check(LogLevel::Trace, SPANS, [false; 4]);
    }

    #[test]
    fn a_json_line_has_the_pinned_fields() {
        let line = logged(|| {
            tracing::warn!(
                peer = "10.0.0.1:5",
                command = "gc-mark",
                rows = 3,
                "Denied \"it\""
            );
        });
        assert_eq!(line["level"], "warning");
        assert_eq!(line["msg"], "Denied \"it\"");
        assert_eq!(line["peer"], "10.0.0.1:5");
        assert_eq!(line["rows"], 3);
    }

    #[test]
    fn fields_of_spans_are_on_the_line_and_the_event_has_the_last_word() {
        let line = logged(|| {
            let _span = tracing::info_span!("connection", peer = "a", user = "bob").entered();
            tracing::info!(peer = "b", level = "mine", "hello");
        });
        assert_eq!((&line["user"], &line["peer"]), (&"bob".into(), &"b".into()));
        assert_eq!(line["field_level"], "mine");
    }
}
