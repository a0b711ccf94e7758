//! What variables make of the export, and which are warned of.

use super::*;

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");

fn environment(variables: &[(&str, &str)]) -> Environment {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Environment::new(variables.iter().map(owned))
}

fn warned_of(variables: &[(&str, &str)]) -> Vec<String> {
    let with_endpoint = [&[ENDPOINT], variables].concat();
    let warnings = environment(&with_endpoint).warnings().into_iter();
    warnings.map(|warning| warning.variable).collect()
}

#[test]
fn traces_are_on_when_a_collector_is_named_and_nothing_switches_them_off() {
    let is_on = |variables: &[(&str, &str)]| environment(variables).settings().is_some();
    assert!(is_on(&[ENDPOINT]));
    assert!(is_on(&[(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "https://collector/v1/traces"
    )]));
    assert!(is_on(&[
        ENDPOINT,
        ("OTEL_TRACES_EXPORTER", "console, otlp")
    ]));
    assert!(is_on(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")]));

    assert!(!is_on(&[]));
    assert!(!is_on(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]));
    assert!(!is_on(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318")]));
    assert!(!is_on(&[(
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "http://localhost:4318"
    )]));
    assert!(!is_on(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]));
    assert!(!is_on(&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")]));
}

#[test]
fn numbers_are_bounded_and_those_of_traces_come_first() {
    let settings = |variables: &[(&str, &str)]| {
        let with_endpoint = [&[ENDPOINT], variables].concat();
        environment(&with_endpoint).settings().expect("on")
    };
    assert_eq!(
        settings(&[]),
        Settings {
            timeout: Duration::from_secs(10),
            queue: 2048,
            batch: 512,
            delay: Duration::from_secs(5),
        }
    );
    let set = settings(&[
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "20"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "99999999999"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "30"),
    ]);
    assert_eq!(
        set,
        Settings {
            timeout: Duration::from_millis(20),
            queue: MAX_QUEUE,
            batch: 1,
            delay: Duration::from_millis(30),
        }
    );
    assert_eq!(settings(&[("OTEL_BSP_MAX_QUEUE_SIZE", "7")]).batch, 7);
}

#[test]
fn fields_are_decoded_and_an_empty_variable_hides_none() {
    let named = environment(&[
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", ""),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "api-key=x, authorization=Bearer%20y",
        ),
    ]);
    let mut fields: Vec<_> = named.headers().into_iter().collect();
    fields.sort();
    let text = |text: &str| text.to_owned();
    let key = (text("api-key"), text("x"));
    assert_eq!(fields, [key, (text("authorization"), text("Bearer y"))]);
}

#[test]
fn what_has_no_effect_is_told() {
    for variable in [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_TRACES_SAMPLER", "xray"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem"),
        ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2049"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=%ff"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key:x"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,bad header=x"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=x%0d%0ay"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment"),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.1"),
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_BSP_MAX_CONCURRENT_EXPORTS", "2"),
    ] {
        assert_eq!(warned_of(&[variable]), [variable.0]);
        assert!(
            environment(&[variable]).warnings().is_empty(),
            "nothing is exported"
        );
    }
    for ratio in ["NaN", "-3", "1.5", "lots"] {
        let sampler = ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
        let warned = warned_of(&[sampler, ("OTEL_TRACES_SAMPLER_ARG", ratio)]);
        assert_eq!(warned, ["OTEL_TRACES_SAMPLER_ARG"], "{ratio}");
    }
    for endpoint in [
        "http://user:word@host",
        "http://host/?q",
        "localhost:4318",
        "http://",
    ] {
        let named = environment(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
        assert_eq!(named.settings(), None, "{endpoint}");
        let warnings = named.warnings();
        let variables: Vec<_> = warnings.iter().map(|warning| &*warning.variable).collect();
        assert_eq!(variables, ["OTEL_EXPORTER_OTLP_ENDPOINT"], "{endpoint}");
    }
    let usual = [
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.1"),
        ("OTEL_PROPAGATORS", "tracecontext,baggage"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20x, a=b,",
        ),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test,app.kubernetes.io/name=x,",
        ),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_SERVICE_NAME", "crm"),
        ("OTEL_RESOURCE_ATTRIBUTES_POD_NAME", "pod"),
        ("OTEL_METRICS_EXPORTER", "none"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            "http://localhost:4318",
        ),
    ];
    assert_eq!(warned_of(&usual), [""; 0]);
}
