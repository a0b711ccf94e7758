use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use proptest::prelude::*;
use tracing::info;
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt};

use super::*;
use crate::telemetry::{as_json, as_text};

const FORMS: [Form; 3] = [
    Form::Json,
    Form::Text { colours: false },
    Form::Text { colours: true },
];

/// What one record holds.
#[derive(Debug)]
struct Values {
    text: String,
    number: u64,
    truth: bool,
    micros: u64,
}

/// The line as `tracing` writes it.
fn by_tracing(form: Form, values: &Values) -> String {
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let written = Memory::default();
    let memory = written.clone();
    let writer = move || memory.clone();
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match form {
        Form::Json => Box::new(as_json(writer)),
        Form::Text { colours } => Box::new(as_text(colours, writer)),
    };
    let Values {
        text,
        number,
        truth,
        micros,
    } = values;
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        info!(
            target: "referral_gateway::access",
            text = text.as_str(),
            empty = "",
            shown = text.to_string(),
            status = number,
            bound = truth,
            duration_ms = *micros as f64 / 1000.0,
            "Answered"
        );
    });
    let bytes = written.0.lock().expect("no panic").clone();
    String::from_utf8(bytes).expect("a line is text")
}

/// The line as it is written here.
fn by_line(form: Form, values: &Values) -> String {
    let target = "referral_gateway::access";
    let mut line = Line::begin(form, Vec::new(), SystemTime::now(), target, "Answered");
    line.text("text", &values.text);
    line.text("empty", "");
    line.shown("shown", &values.text);
    line.number("status", values.number);
    line.truth("bound", values.truth);
    line.millis("duration_ms", Duration::from_micros(values.micros));
    String::from_utf8(line.end(target)).expect("a line is text")
}

/// The line with another time: each of its digits is a 0.
fn at_no_time(line: &str) -> String {
    let begin = line.find("20").expect("a year");
    let time = "2026-01-01T00:00:00.000000Z".len();
    let (before, rest) = line.split_at(begin);
    let (time, after) = rest.split_at(time);
    let time: String = time
        .chars()
        .map(|letter| if letter.is_ascii_digit() { '0' } else { letter })
        .collect();
    format!("{before}{time}{after}")
}

#[track_caller]
fn check(values: &Values) {
    for form in FORMS {
        let (line, model) = (by_line(form, values), by_tracing(form, values));
        assert_eq!(at_no_time(&line), at_no_time(&model), "{form:?}");
        assert!(line.contains("-"), "{line}");
    }
}

proptest! {
    #[test]
    fn a_line_is_that_of_tracing(text: String, number: u64, truth: bool, micros in 0_u64..100_000_000_000_000) {
        check(&Values { text, number, truth, micros });
    }
}

#[test]
fn texts_and_times_at_their_edges_are_those_of_tracing() {
    let all = (0..=0x2FF).filter_map(char::from_u32).collect();
    for text in [all, String::new(), "\u{1b}[31m\u{202e}\u{feff}".to_owned()] {
        for micros in [0, 1, 10, 100, 999, 1000, 1001, 1010, 1100, 59_999_999] {
            check(&Values {
                text: text.clone(),
                number: u64::MAX,
                truth: false,
                micros,
            });
        }
    }
}

#[test]
fn milliseconds_are_rounded_to_three_decimals() {
    for (nanos, shown) in [
        (0, "0.0"),
        (499, "0.0"),
        (500, "0.001"),
        (1_234_567, "1.235"),
        (999_999_500, "1000.0"),
    ] {
        let mut line = Line {
            form: Form::Json,
            bytes: Vec::new(),
        };
        line.millis("ms", Duration::from_nanos(nanos));
        assert_eq!(line.bytes, format!(",\"ms\":{shown}").as_bytes(), "{nanos}");
    }
}
