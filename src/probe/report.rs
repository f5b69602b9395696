//! What a probe prints: a table, a line of JSON, or metrics.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::http::Steps;
use super::measure::Figures;
use super::{Joined, Order, PathKind, Trouble};

/// How long each step took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Times {
    #[serde(serialize_with = "ms")]
    dns: Option<Duration>,
    #[serde(serialize_with = "ms")]
    tcp: Option<Duration>,
    #[serde(serialize_with = "ms")]
    tls: Option<Duration>,
    #[serde(serialize_with = "ms")]
    pub(super) session: Option<Duration>,
    #[serde(serialize_with = "ms")]
    signalling: Option<Duration>,
    #[serde(serialize_with = "ms")]
    transport: Option<Duration>,
    #[serde(serialize_with = "ms")]
    ice: Option<Duration>,
    #[serde(serialize_with = "ms")]
    dtls: Option<Duration>,
    #[serde(serialize_with = "ms")]
    pub(super) first_packet: Option<Duration>,
}

fn ms<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(millis).serialize(to)
}

/// Milliseconds, to the hundredth.
fn millis(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3)
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

impl Times {
    pub(super) fn web(&mut self, steps: &Steps) {
        (self.dns, self.tcp, self.tls) = (Some(steps.dns), Some(steps.tcp), steps.tls);
    }

    pub(super) fn connected(&mut self, joined: Joined) {
        self.signalling = Some(joined.signalling);
        self.transport = Some(joined.transport);
        (self.ice, self.dtls) = (Some(joined.ice), Some(joined.dtls));
    }

    /// In the order in which they are passed.
    fn steps(&self) -> [(&'static str, Option<Duration>); 9] {
        [
            ("dns", self.dns),
            ("tcp", self.tcp),
            ("tls", self.tls),
            ("session", self.session),
            ("signalling", self.signalling),
            ("transport", self.transport),
            ("ice", self.ice),
            ("dtls", self.dtls),
            ("first_packet", self.first_packet),
        ]
    }
}

/// One direction, or both together.
#[derive(Clone, Copy, Debug, Serialize)]
struct Way {
    lost: u32,
    loss_percent: f64,
}

impl Way {
    fn of(lost: u32, loss: f64) -> Self {
        let loss_percent = rounded(loss);
        Self { lost, loss_percent }
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
struct RoundTrip {
    min: f64,
    median: f64,
    p95: f64,
    max: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Jitter {
    /// As the server reports it, if it does.
    up: Option<f64>,
    /// Of packets that went to the server and back.
    round: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Media {
    packets: u32,
    /// There or back.
    round: Way,
    /// `None`: the server has not told.
    up: Option<Way>,
    down: Option<Way>,
    rtt_ms: RoundTrip,
    jitter_ms: Jitter,
}

/// What came of a probe. Its JSON is what `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    ok: bool,
    pub(super) reached: bool,
    path: Option<&'static str>,
    /// Ways that were tried before and did not work.
    pub(super) blocked: Vec<&'static str>,
    #[serde(rename = "timings_ms")]
    pub(super) times: Times,
    media: Option<Media>,
    pub(super) problem: Option<String>,
}

impl Outcome {
    pub(super) fn reached(path: PathKind, times: Times, figures: Figures) -> Self {
        Self {
            ok: true,
            reached: true,
            path: Some(path.as_str()),
            blocked: Vec::new(),
            times,
            media: Some(Media {
                packets: figures.sent,
                round: Way::of(figures.lost, figures.loss()),
                up: figures
                    .lost_up
                    .zip(figures.loss_up())
                    .map(|(lost, loss)| Way::of(lost, loss)),
                down: figures
                    .lost_down()
                    .zip(figures.loss_down())
                    .map(|(lost, loss)| Way::of(lost, loss)),
                rtt_ms: RoundTrip {
                    min: rounded(figures.rtt_min),
                    median: rounded(figures.rtt_median),
                    p95: rounded(figures.rtt_p95),
                    max: rounded(figures.rtt_max),
                },
                jitter_ms: Jitter {
                    up: figures.jitter_up.map(rounded),
                    round: rounded(figures.jitter_loop),
                },
            }),
            problem: None,
        }
    }

    pub(super) fn failed(trouble: &Trouble) -> Self {
        Self {
            ok: false,
            reached: false,
            path: None,
            blocked: Vec::new(),
            times: Times::default(),
            media: None,
            problem: Some(trouble.to_string()),
        }
    }

    /// Whether it is good enough.
    pub(super) fn judged(mut self, order: &Order) -> Self {
        let Some(media) = &self.media else { return self };
        let mut worse = Vec::new();
        let mut ways = [("to the server", media.up), ("from the server", media.down)].to_vec();
        if media.up.is_none() {
            // Not known apart: together they must not be worse than one may be.
            ways = vec![("to the server and back", Some(media.round))];
        }
        for (direction, way) in ways.into_iter().filter_map(|(direction, way)| Some((direction, way?))) {
            if way.loss_percent > order.max_loss {
                worse.push(format!(
                    "{} % of the packets {direction} are lost, {} % are allowed",
                    way.loss_percent, order.max_loss
                ));
            }
        }
        if media.rtt_ms.median > order.max_rtt_ms {
            worse.push(format!(
                "a packet takes {} ms to the server and back, {} ms are allowed",
                media.rtt_ms.median, order.max_rtt_ms
            ));
        }
        if !worse.is_empty() {
            self.ok = false;
            self.problem = Some(format!(
                "{}; look at the network on the way and at the server's load",
                worse.join(", and ")
            ));
        }
        self
    }

    /// What monitoring goes by.
    pub(super) fn code(&self) -> u8 {
        match (self.reached, self.ok) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        }
    }

    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:<14}{value}");
        };
        line("path", self.path.unwrap_or("none").to_owned());
        if !self.blocked.is_empty() {
            line("blocked", self.blocked.join(", "));
        }
        for (name, time) in self.times.steps() {
            if let Some(time) = time {
                line(name, format!("{:>9.2} ms", millis(time)));
            }
        }
        if let Some(media) = &self.media {
            let RoundTrip { min, median, p95, max } = media.rtt_ms;
            line(
                "round trip",
                format!("{median:>9.2} ms median, {min:.2} min, {p95:.2} p95, {max:.2} max"),
            );
            let Jitter { up, round } = media.jitter_ms;
            let up = up.map_or("  unknown".to_owned(), |up| format!("{up:>9.2} ms"));
            line("jitter", format!("{up} up, {round:.2} ms round"));
            for (name, way) in [
                ("loss", Some(media.round)),
                ("loss up", media.up),
                ("loss down", media.down),
            ] {
                let value = way.map_or("  unknown".to_owned(), |way| {
                    format!("{:>9.2} %  {} of {} packets", way.loss_percent, way.lost, media.packets)
                });
                line(name, value);
            }
        }
        match &self.problem {
            None => text += "OK\n",
            Some(problem) => text += &format!("WARNING: {problem}.\n"),
        }
        text
    }

    /// In the text format of Prometheus.
    pub(super) fn prometheus(&self) -> String {
        let mut text = String::new();
        let mut gauge = |name: &str, help: &str, values: &[(String, f64)]| {
            let _ = writeln!(
                text,
                "# HELP housecall_probe_{name} {help}\n# TYPE housecall_probe_{name} gauge"
            );
            for (labels, value) in values {
                let _ = writeln!(text, "housecall_probe_{name}{labels} {value}");
            }
        };
        let one = |value: f64| vec![(String::new(), value)];
        gauge(
            "reached",
            "Whether sound went to the server and back.",
            &one(f64::from(u8::from(self.reached))),
        );
        gauge(
            "ok",
            "Whether it did so within the limits.",
            &one(f64::from(u8::from(self.ok))),
        );
        if let Some(path) = self.path {
            gauge(
                "path",
                "The way that media took.",
                &[(format!("{{path=\"{path}\"}}"), 1.0)],
            );
        }
        let steps: Vec<_> = self
            .times
            .steps()
            .into_iter()
            .filter_map(|(step, time)| Some((format!("{{step=\"{step}\"}}"), time?.as_secs_f64())))
            .collect();
        if !steps.is_empty() {
            gauge("step_seconds", "How long a step took.", &steps);
        }
        if let Some(media) = &self.media {
            let label = |name: &str| format!("{{direction=\"{name}\"}}");
            gauge(
                "loss_ratio",
                "Share of the packets that were lost.",
                &[("up", media.up), ("down", media.down), ("round", Some(media.round))]
                    .into_iter()
                    .filter_map(|(name, way)| Some((label(name), way?.loss_percent / 100.0)))
                    .collect::<Vec<_>>(),
            );
            gauge(
                "round_trip_seconds",
                "To the server and back, in the median.",
                &one(media.rtt_ms.median / 1e3),
            );
            gauge(
                "jitter_seconds",
                "Of packets that went to the server and back.",
                &one(media.jitter_ms.round / 1e3),
            );
        }
        text
    }
}

/// Replaces a file at once: whoever reads it finds the old one or the new one.
pub(super) fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = file.with_file_name(name);
    std::fs::write(&beside, text)?;
    std::fs::rename(beside, file)
}
