//! Configuration in two steps: [`Written`] is the TOML as somebody wrote it, [`Config`] is checked and ready to use.
//!
//! `configs/housecall.toml` shows every key with its default and its reason; a test holds it to this file.

pub mod log;
mod tls;
mod turn;
mod words;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use housecall_portal::ClinicProfile;
use housecall_portal::text::PersonName;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};

pub use tls::{Acme, Tls, TlsVersion, WrittenAcme, WrittenTls};
pub use turn::{GeneralRelay, Relay, WrittenTurn};
pub use words::listen_address;

/// People in one visit. One alone is no visit; every participant may receive from every other, so the cost grows with the square.
const PARTICIPANTS: RangeInclusive<usize> = 2..=64;
/// Receive-only connections to one visit. The upper end is what one UDP port and one thread could carry at 480p.
const VIEWERS: RangeInclusive<usize> = 0..=5_000;
/// Media threads. More than this many ports in a row is nothing anybody opens in a firewall by hand.
const SHARDS: RangeInclusive<usize> = 1..=64;
/// Start bitrate, kbit/s: from 480p at its floor to a full 720p and 480p pair with room to spare.
const START_KBPS: RangeInclusive<u32> = 250..=5_000;
/// Below 200 kbit/s not even a third of the frames of 480p gets through; above 2,000 most people at home would see no picture.
const PICTURE_FLOOR_KBPS: RangeInclusive<u32> = 200..=2_000;
/// Days that quality records are kept: at least one night to look at them, at most as long as an audit log.
const QUALITY_DAYS: RangeInclusive<u32> = 1..=2_557;
/// Stands for "work it out" where a key has no fixed default.
const AUTO: &str = "auto";

/// The configuration as written, defaults filled in, nothing checked but its shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// See [`Config::listen`].
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// See [`Config::public_url`]; `"auto"` or an origin.
    pub public_url: String,
    /// See [`Config::public_addresses`].
    pub public_addresses: Vec<IpAddr>,
    /// See [`Config::trusted_proxies`].
    pub trusted_proxies: Vec<String>,
    /// See [`Config::metrics_from`].
    pub metrics_from: Vec<String>,
    /// See [`Config::data_dir`].
    pub data_dir: PathBuf,
    /// See [`Config::demo`].
    pub demo: bool,
    /// Who the clinic is.
    pub clinic: WrittenClinic,
    /// Media threads and rates.
    pub media: WrittenMedia,
    /// The TURN relay.
    pub turn: WrittenTurn,
    /// The certificate.
    pub tls: WrittenTls,
    /// Quality records.
    pub quality: WrittenQuality,
    /// Bounds per visit.
    pub limits: WrittenLimits,
    /// Logging.
    pub log: WrittenLog,
}

/// `[clinic]` as written, and checked: words that patients read. Taken when a data directory is used for the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WrittenClinic {
    /// The clinic's name, at most 120 characters.
    pub name: String,
    /// The name of its first clinician.
    pub clinician: String,
    /// Its time zone, an IANA name.
    pub time_zone: String,
}

/// `[media]` as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WrittenMedia {
    /// See [`Config::shards`].
    pub shards: usize,
    /// See [`Config::start_kbps`].
    pub start_kbps: u32,
    /// See [`Config::picture_floor_kbps`].
    pub picture_floor_kbps: u32,
    /// See [`Config::adaptation`].
    pub adaptation: bool,
}

/// `[quality]` as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WrittenQuality {
    /// See [`Config::quality_days`].
    pub keep_days: u32,
}

impl Default for WrittenQuality {
    fn default() -> Self {
        Self { keep_days: 90 }
    }
}

/// `[limits]` as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WrittenLimits {
    /// See [`Config::participants_per_visit`].
    pub participants_per_visit: usize,
    /// See [`Config::viewers_per_visit`].
    pub viewers_per_visit: usize,
}

/// `[log]` as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WrittenLog {
    /// See [`Config::log_format`].
    pub format: LogFormat,
    /// See [`Config::log_filter`].
    pub filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            public_url: AUTO.to_owned(),
            public_addresses: Vec::new(),
            trusted_proxies: Vec::new(),
            metrics_from: vec!["127.0.0.1/32".to_owned(), "::1/128".to_owned()],
            data_dir: PathBuf::from("./housecall-data"),
            demo: false,
            clinic: WrittenClinic::default(),
            media: WrittenMedia::default(),
            turn: WrittenTurn::default(),
            tls: WrittenTls::default(),
            quality: WrittenQuality::default(),
            limits: WrittenLimits::default(),
            log: WrittenLog::default(),
        }
    }
}

impl Default for WrittenClinic {
    fn default() -> Self {
        Self {
            name: "Our clinic".to_owned(),
            clinician: "Your clinician".to_owned(),
            time_zone: "UTC".to_owned(),
        }
    }
}

impl Default for WrittenMedia {
    fn default() -> Self {
        Self {
            shards: 1,
            start_kbps: 1_500,
            picture_floor_kbps: 500,
            adaptation: true,
        }
    }
}

impl Default for WrittenLimits {
    fn default() -> Self {
        Self {
            participants_per_visit: 16,
            viewers_per_visit: 500,
        }
    }
}

impl Default for WrittenLog {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            filter: "info,dimpl=error".to_owned(),
        }
    }
}

/// The configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// TCP for HTTP and UDP for media. Port 0: the kernel chooses one for both.
    pub listen: SocketAddr,
    /// The origin in front of every link, without a slash at the end; `None`: `http://localhost:PORT`.
    pub public_url: Option<String>,
    /// Addresses offered to browsers for media, best first. Empty: those of this machine.
    pub public_addresses: Vec<IpAddr>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Who is shown `/metrics`.
    pub metrics_from: Vec<IpNet>,
    /// Where everything is stored.
    pub data_dir: PathBuf,
    /// Whether a demo clinic is created and its links printed.
    pub demo: bool,
    /// The clinic, as a new data directory will hold it.
    pub clinic: WrittenClinic,
    /// Media threads, at least 1.
    pub shards: usize,
    /// Start bitrate hint for publishers, kbit/s.
    pub start_kbps: u32,
    /// A viewer whose line carries less, in kbit/s, is sent no picture.
    pub picture_floor_kbps: u32,
    /// Whether what a viewer is sent follows what its line carries.
    pub adaptation: bool,
    /// Whether browsers can reach media through TURN.
    pub relay: Relay,
    /// The relay for other software, if there is one.
    pub general_relay: Option<GeneralRelay>,
    /// The certificate of HTTPS and of TURN over TLS.
    pub tls: Tls,
    /// The oldest version of TLS that is spoken.
    pub oldest_tls: TlsVersion,
    /// Days that quality records of visits are kept.
    pub quality_days: u32,
    /// People in one visit.
    pub participants_per_visit: usize,
    /// Receive-only connections to one visit.
    pub viewers_per_visit: usize,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log_filter: String,
}

/// Why a configuration was refused: the key, what is wrong with it, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{subject}: {problem}. {fix}.")]
pub struct ConfigError {
    /// The key, or the file if it could not be read as a whole.
    pub subject: String,
    /// What is wrong, without a full stop.
    pub problem: String,
    /// What to do, without a full stop.
    pub fix: String,
}

impl ConfigError {
    fn new(subject: impl fmt::Display, problem: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self {
            subject: subject.to_string(),
            problem: problem.to_string(),
            fix: fix.to_string(),
        }
    }
}

impl Config {
    /// Whether people come through a proxy (this program speaks no TLS itself) that is not listed as one.
    #[must_use]
    pub fn proxies_unnamed(&self) -> bool {
        let https = self
            .public_url
            .as_deref()
            .is_some_and(|url| url.starts_with("https://"));
        https && self.tls == Tls::Off && self.trusted_proxies.is_empty() && !self.listen.ip().is_loopback()
    }
}

impl Written {
    /// What holds without a configuration file: the defaults, with the demo clinic.
    #[must_use]
    pub fn without_file() -> Self {
        let demo = ClinicProfile::demo();
        Self {
            demo: true,
            clinic: WrittenClinic {
                name: demo.name,
                clinician: demo.clinician.expose().to_owned(),
                time_zone: demo.time_zone,
            },
            ..Self::default()
        }
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// If the file can't be read, is not TOML, or has a key or a type that doesn't belong.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|cause| {
            ConfigError::new(
                path.display(),
                format_args!("the configuration file cannot be read ({cause})"),
                "Check the path and that this user may read it",
            )
        })?;
        Self::from_toml(&text, &path.display().to_string())
    }

    /// Reads configuration text; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`Self::from_file`].
    pub fn from_toml(text: &str, name: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|cause| {
            let line = cause
                .span()
                .map(|span| text[..span.start].matches('\n').count() + 1)
                .map_or_else(String::new, |line| format!(", line {line}"));
            ConfigError::new(
                format_args!("{name}{line}"),
                words::plain(cause.message()),
                "Correct the line; configs/housecall.toml in the source tree shows every key with its default",
            )
        })
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first value that can't work.
    pub fn check(self) -> Result<Config, ConfigError> {
        in_range("media.shards", &self.media.shards, &SHARDS)?;
        in_range("media.start_kbps", &self.media.start_kbps, &START_KBPS)?;
        in_range(
            "media.picture_floor_kbps",
            &self.media.picture_floor_kbps,
            &PICTURE_FLOOR_KBPS,
        )?;
        in_range("quality.keep_days", &self.quality.keep_days, &QUALITY_DAYS)?;
        in_range(
            "limits.participants_per_visit",
            &self.limits.participants_per_visit,
            &PARTICIPANTS,
        )?;
        in_range("limits.viewers_per_visit", &self.limits.viewers_per_visit, &VIEWERS)?;

        if usize::from(self.listen.port()) + self.media.shards - 1 > usize::from(u16::MAX) {
            return Err(ConfigError::new(
                "listen",
                format_args!(
                    "{} shards need as many ports in a row, which go past 65535",
                    self.media.shards
                ),
                "Choose a lower port or fewer media.shards",
            ));
        }
        for (index, address) in self.public_addresses.iter().enumerate() {
            let problem = if address.is_unspecified() {
                "stands for every address, so no browser can send to it"
            } else if address.is_multicast() {
                "is a multicast address"
            } else if self.public_addresses[..index].contains(address) {
                "is there twice"
            } else {
                continue;
            };
            return Err(ConfigError::new(
                "public_addresses",
                format_args!("{address} {problem}"),
                "Name the addresses at which browsers reach this server, each once",
            ));
        }
        if self.data_dir.as_os_str().is_empty() {
            return Err(ConfigError::new(
                "data_dir",
                "it is empty",
                "Name a directory, e.g. \"/var/lib/housecall\"",
            ));
        }
        if let Err(cause) = log::filter(&self.log.filter) {
            return Err(ConfigError::new("log.filter", cause, log::ADVICE));
        }

        let oldest_tls = self.tls.oldest;
        let public_url = public_url(&self.public_url)?;
        Ok(Config {
            tls: tls::check(self.tls, public_url.as_deref())?,
            public_url,
            trusted_proxies: networks("trusted_proxies", &self.trusted_proxies)?,
            metrics_from: networks("metrics_from", &self.metrics_from)?,
            listen: self.listen,
            public_addresses: self.public_addresses,
            data_dir: self.data_dir,
            demo: self.demo,
            clinic: clinic(self.clinic)?,
            shards: self.media.shards,
            start_kbps: self.media.start_kbps,
            picture_floor_kbps: self.media.picture_floor_kbps,
            adaptation: self.media.adaptation,
            relay: self.turn.relay,
            general_relay: turn::check(self.turn)?,
            oldest_tls,
            quality_days: self.quality.keep_days,
            participants_per_visit: self.limits.participants_per_visit,
            viewers_per_visit: self.limits.viewers_per_visit,
            log_format: self.log.format,
            log_filter: self.log.filter,
        })
    }
}

fn listen<'de, D: Deserializer<'de>>(value: D) -> Result<SocketAddr, D::Error> {
    listen_address(&String::deserialize(value)?).map_err(serde::de::Error::custom)
}

fn in_range<T: PartialOrd + fmt::Display>(key: &str, value: &T, range: &RangeInclusive<T>) -> Result<(), ConfigError> {
    if range.contains(value) {
        return Ok(());
    }
    let (low, high) = (range.start(), range.end());
    Err(ConfigError::new(
        key,
        format_args!("{value} is out of range"),
        format_args!("Set it to a number from {low} to {high}"),
    ))
}

/// Words that patients will read, and a zone that exists.
fn clinic(written: WrittenClinic) -> Result<WrittenClinic, ConfigError> {
    for (key, text) in [("clinic.name", &written.name), ("clinic.clinician", &written.clinician)] {
        PersonName::new(text).map_err(|cause| ConfigError::new(key, cause, "Write it as patients should read it"))?;
    }
    jiff::tz::TimeZoneDatabase::bundled()
        .get(&written.time_zone)
        .map_err(|_| {
            ConfigError::new(
                "clinic.time_zone",
                format_args!("\"{}\" is not a time zone", written.time_zone),
                "Use an IANA name, e.g. \"America/Vancouver\"",
            )
        })?;
    Ok(written)
}

/// Addresses and networks.
fn networks(key: &str, written: &[String]) -> Result<Vec<IpNet>, ConfigError> {
    let read = |text: &String| {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map_err(|_| {
            ConfigError::new(
                key,
                format_args!("\"{text}\" is neither an IP address nor a network"),
                "Write them like \"192.0.2.1\" or \"2001:db8::/48\"",
            )
        })
    };
    written.iter().map(read).collect()
}

/// An origin: scheme, host and perhaps a port, nothing after it.
fn public_url(written: &str) -> Result<Option<String>, ConfigError> {
    if written == AUTO {
        return Ok(None);
    }
    let host = written
        .strip_prefix("https://")
        .or_else(|| written.strip_prefix("http://"));
    let problem = match host.map(|host| host.strip_suffix('/').unwrap_or(host)) {
        None => "does not begin with https:// or http://",
        Some("") => "has no host",
        Some(host) if host.contains(['/', '?', '#', '@', '\\']) || host.contains(char::is_whitespace) => {
            "has more than a host and a port"
        }
        Some(_) => return Ok(Some(written.strip_suffix('/').unwrap_or(written).to_owned())),
    };
    Err(ConfigError::new(
        "public_url",
        format_args!("\"{written}\" {problem}"),
        "Write it like \"https://visits.example.org\", or \"auto\" for http://localhost:PORT",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Config, String> {
        Written::from_toml(text, "test.toml")
            .and_then(Written::check)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let config = check("").unwrap();
        assert_eq!(config, Written::default().check().unwrap());
        assert!(!config.demo, "a configured server makes no demo clinic unasked");
        assert!(Written::without_file().demo);
    }

    #[test]
    fn every_refusal_names_key_problem_and_fix() {
        for (text, key, problem, fix) in [
            (
                "colour = 1",
                "line 1",
                "there is no key `colour`",
                "configs/housecall.toml",
            ),
            (
                "demo = true\n[media]\nthreads = 2",
                "line 3",
                "there is no key `threads` here, only `shards`",
                "every key",
            ),
            (
                "[clinic]\nname = \"  \"",
                "clinic.name",
                "empty",
                "as patients should read it",
            ),
            (
                "[clinic]\ntime_zone = \"Mars/Olympus\"",
                "clinic.time_zone",
                "\"Mars/Olympus\" is not a time zone",
                "IANA name",
            ),
            (
                "listen = \"8080\"",
                "line 1",
                "\"8080\" is a port without an address: write \"0.0.0.0:8080\"",
                "Correct the line",
            ),
            (
                "[media]\nshards = \"two\"",
                "line 2",
                "it must be a whole number, 0 or more, not the text \"two\"",
                "Correct the line",
            ),
            (
                "demo = 1",
                "line 1",
                "it must be true or false, not the number 1",
                "Correct the line",
            ),
            (
                "trusted_proxies = \"127.0.0.1\"",
                "line 1",
                "it must be a list in [ ], not the text \"127.0.0.1\"",
                "Correct the line",
            ),
            (
                "public_addresses = [\"here\"]",
                "line 1",
                "an IP address",
                "Correct the line",
            ),
            (
                "[media]\nshards = 0",
                "media.shards",
                "0 is out of range",
                "from 1 to 64",
            ),
            (
                "[media]\nstart_kbps = 9",
                "media.start_kbps",
                "9 is out of range",
                "from 250 to 5000",
            ),
            (
                "[limits]\nparticipants_per_visit = 1",
                "limits.participants_per_visit",
                "1 is",
                "from 2 to 64",
            ),
            (
                "[limits]\nviewers_per_visit = 5001",
                "limits.viewers_per_visit",
                "5001 is",
                "from 0 to 5000",
            ),
            (
                "listen = \"0.0.0.0:65535\"\n[media]\nshards = 2",
                "listen",
                "past 65535",
                "lower port",
            ),
            (
                "public_addresses = [\"0.0.0.0\"]",
                "public_addresses",
                "every address",
                "each once",
            ),
            (
                "public_addresses = [\"ff02::1\"]",
                "public_addresses",
                "multicast",
                "each once",
            ),
            (
                "public_addresses = [\"::1\", \"::1\"]",
                "public_addresses",
                "twice",
                "each once",
            ),
            (
                "public_url = \"visits.example.org\"",
                "public_url",
                "https://",
                "or \"auto\"",
            ),
            ("public_url = \"https://\"", "public_url", "no host", "or \"auto\""),
            (
                "public_url = \"https://a/b\"",
                "public_url",
                "more than a host",
                "or \"auto\"",
            ),
            (
                "trusted_proxies = [\"proxy.example\"]",
                "trusted_proxies",
                "neither",
                "\"192.0.2.1\"",
            ),
            ("metrics_from = [\"10.0.0.0/33\"]", "metrics_from", "neither", "/48"),
            ("data_dir = \"\"", "data_dir", "empty", "/var/lib/housecall"),
            (
                "[log]\nfilter = \"loud=very\"",
                "log.filter",
                "cannot be read",
                "debug or trace",
            ),
            (
                "[turn]\nrelay = \"private\"",
                "line 2",
                "it is `private`, but must be one of `off`, `hand-over`, `hand-over-udp`, `public`",
                "Correct the line",
            ),
            (
                "[turn]\nrelay = \"public\"",
                "turn.secret_file",
                "needs a secret",
                "openssl rand",
            ),
            (
                "[turn]\nports = [50000, 49999]",
                "turn.ports",
                "no range of ports",
                "[49152, 65535]",
            ),
            (
                "[turn]\naddresses = [\"192.0.2.1\", \"192.0.2.2\"]",
                "turn.addresses",
                "second of its family",
                "one of each",
            ),
            (
                "[turn]\nallow_peers = [\"lab\"]",
                "turn.allow_peers",
                "neither",
                "\"192.0.2.1\"",
            ),
            (
                "[turn]\nallocations_per_user = 0",
                "turn.allocations_per_user",
                "0 is out of range",
                "from 1 to 10000",
            ),
            ("[tls]\ncert = \"c.pem\"", "tls.key", "without a key", "private key"),
            ("[tls]\nkey = \"k.pem\"", "tls.cert", "without a certificate", "chain"),
            (
                "[tls]\ncert = \"c.pem\"\nkey = \"k.pem\"\nself_signed = true",
                "tls.self_signed",
                "files as well",
                "either",
            ),
            (
                "[tls.acme]\ncontact = \"it@example.org\"",
                "tls.acme.terms_agreed",
                "do nothing without it",
                "set it to true",
            ),
            (
                "[tls.acme]\nterms_agreed = true",
                "tls.acme",
                "`public_url` has none",
                "visits.example.org",
            ),
            (
                "public_url = \"https://192.0.2.1\"\n[tls.acme]\nterms_agreed = true",
                "tls.acme",
                "names in the DNS only",
                "visits.example.org",
            ),
            (
                "public_url = \"https://a.example\"\n[tls]\nself_signed = true\nacme = { terms_agreed = true }",
                "tls.acme",
                "another certificate",
                "either",
            ),
            (
                "public_url = \"https://a.example\"\n[tls.acme]\nterms_agreed = true\ncontact = \"me\"",
                "tls.acme.contact",
                "not one e-mail",
                "it@example.org",
            ),
            (
                "public_url = \"https://a.example\"\n[tls.acme]\nterms_agreed = true\ndirectory = \"http://x\"",
                "tls.acme.directory",
                "https://",
                "letsencrypt.org",
            ),
            (
                "[tls]\noldest = \"1.1\"",
                "line 2",
                "must be `1.2` or `1.3`",
                "Correct the line",
            ),
            (
                "[log]\nformat = \"xml\"",
                "line 2",
                "it is `xml`, but must be `text` or `json`",
                "Correct the line",
            ),
        ] {
            let refusal = check(text).expect_err(text);
            for part in [key, problem, fix] {
                assert!(
                    refusal.contains(part),
                    "{text:?} gave {refusal:?}, which lacks {part:?}"
                );
            }
            assert!(refusal.ends_with('.') && !refusal.contains('\n'), "{refusal:?}");
        }
    }

    #[test]
    fn an_origin_loses_its_last_slash() {
        let config = check("public_url = \"https://visits.example.org/\"").unwrap();
        assert_eq!(config.public_url.as_deref(), Some("https://visits.example.org"));
    }

    #[test]
    fn a_proxy_that_is_not_listed_is_noticed() {
        let https = "public_url = \"https://visits.example.org\"\n";
        for (text, unnamed) in [
            (https.to_owned(), true),
            (format!("{https}trusted_proxies = [\"127.0.0.1\"]"), false),
            (format!("{https}listen = \"127.0.0.1:8080\""), false),
            (format!("{https}[tls]\nself_signed = true"), false),
            ("public_url = \"http://visits.example.org\"".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(check(&text).unwrap().proxies_unnamed(), unnamed, "{text:?}");
        }
    }

    #[test]
    fn networks_may_be_single_addresses() {
        let config = check("trusted_proxies = [\"192.0.2.1\", \"2001:db8::/48\"]").unwrap();
        let expected = ["192.0.2.1/32", "2001:db8::/48"].map(|network| network.parse().unwrap());
        assert_eq!(config.trusted_proxies, expected);
    }

    #[test]
    fn a_port_of_zero_is_left_to_the_kernel() {
        assert_eq!(check("listen = \"[::1]:0\"").unwrap().listen.port(), 0);
    }
}
