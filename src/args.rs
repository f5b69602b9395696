//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use housecall::config::{Config, ConfigError, Written};

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
    /// Make visits, also while the server runs.
    #[command(subcommand)]
    Visit(Visit),
    /// Print a bearer token for a visit, also while the server runs.
    Token(Token),
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
    #[arg(long, value_name = "IP:PORT")]
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
    pub(crate) in_minutes: u32,
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
    /// How long the token can be used, e.g. 30m, 1h, 12h.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time_to_live)]
    pub(crate) ttl: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    Clinician,
    Patient,
    Guest,
}

fn time_to_live(text: &str) -> Result<Duration, String> {
    let help = "write it like 30m, 1h or 12h";
    let span: jiff::SignedDuration = text.parse().map_err(|_| help.to_owned())?;
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
    use std::path::Path;

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
        assert_eq!(config.listen, "[::]:9".parse().unwrap());
        assert_eq!(
            config.public_addresses,
            ["10.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]
        );
        assert!(!config.demo);
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
        assert_eq!(
            (token.name.as_deref(), token.ttl),
            (Some("Ann"), Duration::from_secs(3600))
        );
        for bad in [
            "housecall token --visit 7",
            "housecall token --role guest",
            "housecall token --visit 7 --role nurse",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
