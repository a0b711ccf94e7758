//! The standard `process_*` metrics, read from `/proc/self` at each scrape.
//!
//! The collector of the `prometheus` crate counts CPU time in whole seconds, which is too coarse for a sidecar.

use prometheus::{
    Counter, Gauge, Opts,
    core::{Collector as Collect, Desc},
    proto::MetricFamily,
};

/// Reads `/proc/self` at each scrape. Without it, its metrics stay at 0.
#[derive(Debug)]
pub(super) struct Collector {
    cpu: Counter,
    resident: Gauge,
    virtual_memory: Gauge,
    open_files: Gauge,
    max_files: Gauge,
    threads: Gauge,
    start: Gauge,
}

/// Clock ticks per second in `/proc`: 100 on every Linux.
const TICKS: f64 = 100.0;
const PAGE: f64 = 4096.0;

impl Collector {
    pub(super) fn new() -> Self {
        let gauge = |name: &str, help: &str| {
            Gauge::with_opts(Opts::new(name, help)).expect("a valid constant name")
        };
        let cpu = Opts::new(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
        );
        let collector = Self {
            cpu: Counter::with_opts(cpu).expect("a valid constant name"),
            resident: gauge(
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
            ),
            virtual_memory: gauge(
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes.",
            ),
            open_files: gauge("process_open_fds", "Number of open file descriptors."),
            max_files: gauge(
                "process_max_fds",
                "Maximum number of open file descriptors.",
            ),
            threads: gauge("process_threads", "Number of OS threads in the process."),
            start: gauge(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
            ),
        };
        collector.start.set(start_time().unwrap_or_default());
        collector
    }

    fn update(&self) {
        if let Some(stat) = stat() {
            let field = |at: usize| {
                stat.get(at)
                    .and_then(|text| text.parse::<f64>().ok())
                    .unwrap_or_default()
            };
            // proc(5), counted from the field after the program's name: 11 utime, 12 stime, 17 threads, 20 vsize, 21 rss.
            let spent = (field(11) + field(12)) / TICKS;
            self.cpu.inc_by((spent - self.cpu.get()).max(0.0));
            self.threads.set(field(17));
            self.virtual_memory.set(field(20));
            self.resident.set(field(21) * PAGE);
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            self.open_files
                .set(u32::try_from(files.count()).map_or(0.0, f64::from));
        }
        if let Ok(limits) = std::fs::read_to_string("/proc/self/limits") {
            let line = limits
                .lines()
                .find_map(|line| line.strip_prefix("Max open files"));
            let soft = line
                .and_then(|rest| rest.split_whitespace().next())
                .and_then(|text| text.parse().ok());
            self.max_files.set(soft.unwrap_or_default());
        }
    }
}

impl Collect for Collector {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = [
            &self.resident,
            &self.virtual_memory,
            &self.open_files,
            &self.max_files,
            &self.threads,
            &self.start,
        ];
        self.cpu
            .desc()
            .into_iter()
            .chain(gauges.into_iter().flat_map(|gauge| gauge.desc()))
            .collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.update();
        let gauges = [
            &self.resident,
            &self.virtual_memory,
            &self.open_files,
            &self.max_files,
            &self.threads,
            &self.start,
        ];
        self.cpu
            .collect()
            .into_iter()
            .chain(gauges.into_iter().flat_map(|gauge| gauge.collect()))
            .collect()
    }
}

/// The fields of `/proc/self/stat` after the program's name, which may contain spaces.
fn stat() -> Option<Vec<String>> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn start_time() -> Option<f64> {
    let started: f64 = stat()?.get(19)?.parse().ok()?;
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    Some(boot + started / TICKS)
}
