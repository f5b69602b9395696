//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use housecall::config::{Config, ConfigError, Written, listen_address};
use housecall_portal::VisitStart;
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

/// Self-hosted video visits between patients and clinicians.
#[derive(Parser)]
#[command(name = "housecall", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a command, `serve` is meant.
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the server (the default).
    Serve(Serve),
    /// Look for what is wrong with the configuration and this machine, also while the server runs.
    Doctor(Serve),
    /// Join a test room from outside and say how media gets there: for monitoring.
    ///
    /// Exit code 0: all is well; 1: it works, but worse than --max-loss and --max-rtt-ms allow; 2: it does not work.
    Probe(Probe),
    /// Make visits, also while the server runs.
    #[command(subcommand)]
    Visit(Visit),
    /// Print a bearer token for a visit, also while the server runs.
    Token(Token),
    /// For whoever looks after the server, also while it runs.
    #[command(subcommand)]
    Ops(Ops),
}

/// Where configuration and data are; every command has these.
#[derive(Args)]
pub(crate) struct Place {
    /// Configuration file; without one, the defaults and a demo clinic.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory; beats the configuration file [default: ./housecall-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    place: Place,
    /// Address and port for HTTP (TCP) and media (UDP); beats the configuration file.
    #[arg(long, value_name = "IP:PORT", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// An address at which browsers reach this server, best first; repeatable, beats the configuration file.
    #[arg(long = "public-address", value_name = "IP")]
    public_addresses: Vec<IpAddr>,
}

#[derive(Subcommand)]
pub(crate) enum Visit {
    /// Book a visit and print its id.
    Create(CreateVisit),
    /// Take back all links to a visit: nobody comes in, or comes back, with one of them.
    Revoke(RevokeVisit),
}

#[derive(Args)]
pub(crate) struct CreateVisit {
    #[command(flatten)]
    pub(crate) place: Place,
    /// When it starts, counted from now.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=527_040))]
    in_minutes: u32,
    /// When it starts: 2027-03-01T14:30 by the clinic's clocks, or with an offset, 2027-03-01T14:30-07:00.
    #[arg(long, value_name = "TIME", conflicts_with = "in_minutes", value_parser = start)]
    at: Option<VisitStart>,
    /// Print a JSON object with the id and the times.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct RevokeVisit {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The visit's id, as `visit create` prints it.
    #[arg(long, value_name = "ID")]
    pub(crate) visit: String,
}

#[derive(Args)]
pub(crate) struct Token {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The visit's id, as `visit create` prints it.
    #[arg(long, value_name = "ID")]
    pub(crate) visit: String,
    /// Whose part the bearer takes.
    #[arg(long)]
    pub(crate) role: Role,
    /// The name the others see.
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// How long the token can be used, e.g. 30m, 1h, 12h [default: until 12 hours after the visit's end].
    #[arg(long, value_name = "TIME", value_parser = time_to_live)]
    pub(crate) ttl: Option<Duration>,
    /// Print the whole link instead of the token alone.
    #[arg(long)]
    pub(crate) link: bool,
}

#[derive(Subcommand)]
pub(crate) enum Ops {
    /// Print a bearer token that shows how well visits worked, and nobody's name.
    Token(OpsToken),
    /// Make a test room and print its link, for `housecall probe`.
    ProbeLink(ProbeLink),
}

#[derive(Args)]
pub(crate) struct ProbeLink {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How long the link can be used, e.g. 24h, 720h.
    #[arg(long, value_name = "TIME", default_value = "8784h", value_parser = time_to_live)]
    pub(crate) ttl: Duration,
}

/// Where a probe goes, what it does there, and what is good enough.
#[derive(Args)]
pub(crate) struct Probe {
    /// The link that `housecall ops probe-link` printed, or - to read it from standard input, where no other user sees it.
    #[arg(value_name = "URL")]
    url: String,
    /// The way media takes; auto tries what is best first, as a browser does.
    #[arg(long, default_value = "auto")]
    path: PathChoice,
    /// For how long sound is sent and received.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=300))]
    seconds: u32,
    /// The largest share of packets that may be lost in either direction, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0, value_parser = limit)]
    max_loss: f64,
    /// The longest a packet may take to the server and back, in the median.
    #[arg(long, value_name = "MS", default_value_t = 300.0, value_parser = limit)]
    max_rtt_ms: f64,
    /// A PEM file with the authority that signed the server's certificate, instead of those that this machine trusts.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print one line of JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Also write the figures to this file, for the textfile collector of Prometheus' node_exporter.
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,
    /// How often as long as usual everything may take: for machines that are slow themselves.
    #[arg(long, value_name = "TIMES", default_value_t = 1, hide = true, value_parser = clap::value_parser!(u32).range(1..=10))]
    patience: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum PathChoice {
    Auto,
    Udp,
    Tcp,
    TurnUdp,
    TurnTcp,
    TurnTls,
}

impl Probe {
    /// What the probe is asked for.
    ///
    /// # Errors
    /// If the link cannot be read from standard input.
    pub(crate) fn order(&self) -> std::io::Result<housecall::probe::Order> {
        use housecall::probe::PathKind;
        let url = match self.url.as_str() {
            "-" => std::io::read_to_string(std::io::Read::take(std::io::stdin(), 4_096))?,
            url => url.to_owned(),
        };
        Ok(housecall::probe::Order {
            url: url.trim().to_owned(),
            path: match self.path {
                PathChoice::Auto => None,
                PathChoice::Udp => Some(PathKind::Udp),
                PathChoice::Tcp => Some(PathKind::Tcp),
                PathChoice::TurnUdp => Some(PathKind::TurnUdp),
                PathChoice::TurnTcp => Some(PathKind::TurnTcp),
                PathChoice::TurnTls => Some(PathKind::TurnTls),
            },
            time: Duration::from_secs(u64::from(self.seconds)),
            max_loss: self.max_loss,
            max_rtt_ms: self.max_rtt_ms,
            authority: self.ca.clone(),
            json: self.json,
            prometheus: self.prometheus.clone(),
            patience: self.patience,
        })
    }
}

#[derive(Args)]
pub(crate) struct OpsToken {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How long the token can be used, e.g. 30m, 1h, 12h.
    #[arg(long, value_name = "TIME", default_value = "12h", value_parser = time_to_live)]
    pub(crate) ttl: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    Clinician,
    Patient,
    Guest,
}

/// With an offset or Z it is an instant, without one a time on the clinic's wall.
fn start(text: &str) -> Result<VisitStart, String> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(VisitStart::At(instant));
    }
    // A date alone would be midnight, which nobody means.
    match text.parse::<DateTime>() {
        Ok(shown) if text.contains(':') && !text.contains('[') => Ok(VisitStart::OnTheWall(shown)),
        _ => Err("write it like 2027-03-01T14:30 (by the clinic's clocks) or 2027-03-01T14:30-07:00".to_owned()),
    }
}

impl CreateVisit {
    /// When the visit starts.
    pub(crate) fn start(&self) -> VisitStart {
        let wait = VisitStart::In(SignedDuration::from_mins(i64::from(self.in_minutes)));
        self.at.unwrap_or(wait)
    }
}

/// What is not a number is no limit: everything is within it.
fn limit(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    let usable = number.filter(|number| number.is_finite() && *number >= 0.0);
    usable.ok_or_else(|| "write a number that is not negative, like 2 or 0.5".to_owned())
}

fn time_to_live(text: &str) -> Result<Duration, String> {
    let help = "write it like 30m, 1h or 12h";
    let span: SignedDuration = text.parse().map_err(|_| help.to_owned())?;
    Duration::try_from(span)
        .ok()
        .filter(|ttl| !ttl.is_zero())
        .ok_or_else(|| format!("must be longer than nothing: {help}"))
}

impl Cli {
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

impl Place {
    fn written(&self) -> Result<Written, ConfigError> {
        let mut written = match &self.config {
            Some(file) => Written::from_file(file)?,
            None => Written::without_file(),
        };
        if let Some(data) = &self.data {
            written.data_dir.clone_from(data);
        }
        Ok(written)
    }

    /// The checked configuration these arguments lead to.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        self.written()?.check()
    }

    /// These arguments again, as far as they were given.
    pub(crate) fn arguments(&self) -> Vec<(&'static str, &Path)> {
        let given = [("--config", &self.config), ("--data", &self.data)];
        given
            .into_iter()
            .filter_map(|(name, path)| Some((name, path.as_deref()?)))
            .collect()
    }
}

impl Serve {
    /// The checked configuration these arguments lead to.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        let mut written = self.place.written()?;
        if let Some(listen) = self.listen {
            written.listen = listen;
        }
        if !self.public_addresses.is_empty() {
            written.public_addresses.clone_from(&self.public_addresses);
        }
        written.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).map(Cli::command)
    }

    fn serve(line: &str) -> Config {
        match parse(line) {
            Ok(Command::Serve(serve)) => serve.config().unwrap(),
            Ok(_) => panic!("{line} is not serve"),
            Err(error) => panic!("{line}: {error}"),
        }
    }

    #[test]
    fn no_command_means_serve_with_the_demo() {
        assert_eq!(serve("housecall"), Written::without_file().check().unwrap());
        assert_eq!(serve("housecall --data d"), serve("housecall serve --data d"));
    }

    #[test]
    fn arguments_beat_the_file() {
        let config = serve(
            "housecall serve --config configs/housecall.toml --data d --listen [::]:9 --public-address 10.0.0.1 --public-address ::1",
        );
        assert_eq!(config.data_dir, Path::new("d"));
        assert_eq!(config.listen, "[::]:9".parse::<SocketAddr>().unwrap());
        assert_eq!(
            config.public_addresses,
            ["10.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]
        );
        assert!(!config.demo);
    }

    #[test]
    fn starts() {
        let read = |line: &str| match parse(line) {
            Ok(Command::Visit(Visit::Create(create))) => Ok(create.start()),
            Ok(_) => panic!("{line} makes no visit"),
            Err(error) => Err(error.to_string()),
        };
        let minutes = |n| Ok(VisitStart::In(SignedDuration::from_mins(n)));
        assert_eq!(read("housecall visit create"), minutes(0));
        assert_eq!(read("housecall visit create --in-minutes 30"), minutes(30));
        let wall = VisitStart::OnTheWall(jiff::civil::date(2027, 3, 1).at(14, 30, 0, 0));
        assert_eq!(read("housecall visit create --at 2027-03-01T14:30"), Ok(wall));
        assert_eq!(start("2027-03-01 14:30"), Ok(wall));
        for text in ["2027-03-01T14:30-07:00", "2027-03-01T21:30:00Z"] {
            let instant = "2027-03-01T21:30:00Z".parse().unwrap();
            assert_eq!(start(text), Ok(VisitStart::At(instant)), "{text}");
        }
        for bad in [
            "",
            "2027-03-01",
            "tomorrow",
            "14:30",
            "2027-03-01T25:00",
            "2027-03-01T14:30[Europe/Berlin]",
        ] {
            assert!(
                start(bad).is_err_and(|help| help.contains("2027-03-01T14:30")),
                "{bad:?}"
            );
        }
        assert!(read("housecall visit create --at 2027-03-01T14:30 --in-minutes 5").is_err());
    }

    #[test]
    fn a_port_alone_is_answered_with_what_to_write() {
        let Err(refused) = parse("housecall --listen 8092") else {
            panic!("a port alone is no address");
        };
        assert!(refused.to_string().contains("write \"0.0.0.0:8092\""), "{refused}");
    }

    #[test]
    fn times_to_live() {
        for (text, seconds) in [("1h", 3600), ("30m", 1800), ("90s", 90), ("1h30m", 5400)] {
            assert_eq!(time_to_live(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "0s", "-1h", "soon", "5"] {
            assert!(time_to_live(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn tokens_need_a_visit_and_a_role() {
        let Ok(Command::Token(token)) = parse("housecall token --visit 7 --role guest --name Ann") else {
            panic!("a complete token command parses");
        };
        assert_eq!((token.visit.as_str(), token.role), ("7", Role::Guest));
        assert_eq!((token.name.as_deref(), token.ttl), (Some("Ann"), None));
        for bad in [
            "housecall token --visit 7",
            "housecall token --role guest",
            "housecall token --visit 7 --role nurse",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
