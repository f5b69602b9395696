//! Commands on the data of a server, running or not.
//!
//! What was asked for goes to `out`, alone, for programs to read; what a person may want to know beside it goes to `hints`.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use housecall::config::Config;
use housecall_portal::store::HolderRole;
use housecall_portal::text::PersonName;
use housecall_portal::{MintedToken, PortalError, TokenRequest};
use jiff::{SignedDuration, Timestamp};

use crate::args::{CreateVisit, OpsToken, ProbeLink, RevokeVisit, Role, Token};

/// What `visit create --json` prints.
#[derive(serde::Serialize)]
struct VisitJson {
    visit: String,
    starts_at: Timestamp,
    ends_at: Timestamp,
    time_zone: String,
}

/// `housecall visit create`
pub(crate) async fn create_visit(
    config: &Config,
    command: &CreateVisit,
    out: &mut impl Write,
    hints: &mut impl Write,
) -> anyhow::Result<()> {
    let portal = housecall::open_for_command(config)?;
    let visit = portal
        .create_visit(command.start(), housecall::clinic_profile(config)?)
        .await
        .context("the visit was not made")?;
    if command.json {
        let json = VisitJson {
            visit: visit.visit.to_string(),
            starts_at: visit.starts_at,
            ends_at: visit.ends_at,
            time_zone: visit.time_zone,
        };
        writeln!(out, "{}", serde_json::to_string(&json)?)?;
        return Ok(());
    }
    writeln!(out, "{}", visit.visit)?;
    out.flush()?;

    let (id, place, program) = (visit.visit, place(command.place.arguments()), program());
    writeln!(
        hints,
        "\nThe visit starts {}. For its two links ({}/join# and a token each):",
        shown(visit.starts_at, &visit.time_zone),
        origin(config),
    )?;
    writeln!(hints, "  {program} token{place} --visit {id} --role clinician --link")?;
    writeln!(
        hints,
        "  {program} token{place} --visit {id} --role patient --link --name \"THEIR NAME\""
    )?;
    unless_served(&config.data_dir, hints)
}

/// `housecall visit revoke`
pub(crate) async fn revoke_visit(config: &Config, command: &RevokeVisit, out: &mut impl Write) -> anyhow::Result<()> {
    let visit = command.visit.parse().map_err(|_| no_visit())?;
    let revoked = match housecall::open_for_command(config)?.revoke_links(visit).await {
        Ok(revoked) => revoked,
        Err(PortalError::NotFound) => return Err(no_visit()),
        Err(cause) => return Err(cause).context("the links were not taken back"),
    };
    writeln!(out, "{revoked}")?;
    Ok(())
}

fn no_visit() -> anyhow::Error {
    anyhow!("there is no such visit here. `housecall visit create` makes one and prints its id")
}

/// `housecall token`
pub(crate) async fn token(
    config: &Config,
    command: &Token,
    out: &mut impl Write,
    hints: &mut impl Write,
) -> anyhow::Result<()> {
    let request = TokenRequest {
        visit: command.visit.parse().map_err(|_| no_visit())?,
        role: match command.role {
            Role::Clinician => HolderRole::Clinician,
            Role::Patient => HolderRole::Patient,
            Role::Guest => HolderRole::Guest,
        },
        name: command
            .name
            .as_deref()
            .map(PersonName::new)
            .transpose()
            .context("--name")?,
        ttl: command.ttl.map(SignedDuration::try_from).transpose().context("--ttl")?,
    };
    // Before there is a token: one that opens nothing is not to be left behind.
    let origin = match (command.link, known_origin(config)) {
        (true, None) => {
            bail!("it is not known where people open links. Start the server, or set public_url in its file")
        }
        (true, Some(origin)) => Some(origin),
        (false, _) => None,
    };
    let minted = match housecall::open_for_command(config)?.mint_token(request).await {
        Ok(minted) => minted,
        Err(PortalError::NotFound) => return Err(no_visit()),
        Err(PortalError::VisitEnded | PortalError::VisitCancelled) => {
            bail!("this visit is over. `housecall visit create` makes another")
        }
        Err(cause) => return Err(cause).context("the token was not made"),
    };
    match origin {
        Some(origin) => {
            writeln!(out, "{origin}/join#{}", minted.token.expose())?;
            out.flush()?;
            writeln!(hints, "\n{}", lifetime(&minted))?;
        }
        None => {
            writeln!(out, "{}", minted.token.expose())?;
            out.flush()?;
            let (origin, lifetime) = (self::origin(config), lifetime(&minted));
            writeln!(hints, "\nThe link is {origin}/join# and this token. {lifetime}")?;
        }
    }
    unless_served(&config.data_dir, hints)
}

/// `housecall ops token`
pub(crate) async fn ops_token(
    config: &Config,
    command: &OpsToken,
    out: &mut impl Write,
    hints: &mut impl Write,
) -> anyhow::Result<()> {
    let ttl = SignedDuration::try_from(command.ttl).context("--ttl")?;
    let minted = housecall::open_for_command(config)?.mint_operator(ttl).await;
    let minted = minted.context("the token was not made")?;
    writeln!(out, "{}", minted.token.expose())?;
    out.flush()?;

    writeln!(
        hints,
        "\nThe page is {}/ops# and this token. It works until {}.",
        origin(config),
        shown(minted.expires_at, "UTC")
    )?;
    unless_served(&config.data_dir, hints)
}

/// `housecall ops probe-link`
pub(crate) async fn probe_link(
    config: &Config,
    command: &ProbeLink,
    out: &mut impl Write,
    hints: &mut impl Write,
) -> anyhow::Result<()> {
    let ttl = SignedDuration::try_from(command.ttl).context("--ttl")?;
    let minted = housecall::open_for_command(config)?.mint_probe(ttl).await;
    let minted = minted.context("the link was not made")?;
    writeln!(out, "{}/probe#{}", origin(config), minted.token.expose())?;
    out.flush()?;

    writeln!(
        hints,
        "\nAnywhere: housecall probe - < FILE, with the link in FILE. It works until {}. To take it back:\n  {} visit revoke{} --visit {}",
        shown(minted.expires_at, "UTC"),
        program(),
        place(command.place.arguments()),
        minted.visit
    )?;
    unless_served(&config.data_dir, hints)
}

/// Until when, and a warning if that is too soon for the visit.
fn lifetime(minted: &MintedToken) -> String {
    let until = shown(minted.expires_at, &minted.time_zone);
    if minted.expires_at < minted.ends_at {
        let end = shown(minted.ends_at, &minted.time_zone);
        return format!(
            "It works until {until} only, but the visit lasts until {end}: give it a longer --ttl, or none."
        );
    }
    format!("It works until {until}.")
}

/// An instant by the clinic's clocks, to the minute.
fn shown(instant: Timestamp, zone: &str) -> String {
    let tz = jiff::tz::TimeZoneDatabase::bundled().get(zone);
    let zoned = instant.to_zoned(tz.unwrap_or(jiff::tz::TimeZone::UTC));
    zoned.strftime("%Y-%m-%d %H:%M (%Q)").to_string()
}

/// Where people open links: what the running server says, else what the configuration does.
fn known_origin(config: &Config) -> Option<String> {
    let said = housecall::origin_of_server(&config.data_dir).filter(|origin| !origin.is_empty());
    said.or_else(|| config.public_url.clone())
}

/// As [`known_origin`], or what to put there.
fn origin(config: &Config) -> String {
    known_origin(config).unwrap_or_else(|| "http://localhost:PORT".to_owned())
}

/// How this program was called, for the next command: as the user that `sudo` made of the one who asked.
fn program() -> String {
    let asked = |name| std::env::var(name).ok();
    called(asked("SUDO_USER").as_deref(), asked("USER").as_deref())
}

fn called(by: Option<&str>, as_user: Option<&str>) -> String {
    match (by, as_user) {
        (Some(by), Some(user)) if by != user && user != "root" => format!("sudo -u {user} housecall"),
        _ => "housecall".to_owned(),
    }
}

/// The arguments that lead the next command to the same data.
fn place(arguments: Vec<(&'static str, &Path)>) -> String {
    let one = |(name, path): (&str, &Path)| {
        let path = path.display().to_string();
        match path.contains(|c: char| !c.is_ascii_alphanumeric() && !"/._-".contains(c)) {
            true => format!(" {name} '{}'", path.replace('\'', r"'\''")),
            false => format!(" {name} {path}"),
        }
    };
    arguments.into_iter().map(one).collect()
}

/// A visit on data that no server uses opens for nobody: often it is the wrong directory.
fn unless_served(directory: &Path, hints: &mut impl Write) -> anyhow::Result<()> {
    if housecall::origin_of_server(directory).is_none() {
        let directory = std::path::absolute(directory)?;
        writeln!(
            hints,
            "No server uses {} at the moment. If one runs, its data is elsewhere: use its --data.",
            directory.display()
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_shown_by_the_clinics_clocks() {
        let instant = "2027-07-01T21:30:00Z".parse().unwrap();
        assert_eq!(
            shown(instant, "America/Vancouver"),
            "2027-07-01 14:30 (America/Vancouver)"
        );
        assert_eq!(shown(instant, "Mars/Olympus"), "2027-07-01 21:30 (UTC)");
    }

    #[test]
    fn the_next_command_is_for_the_same_user() {
        assert_eq!(called(Some("admin"), Some("housecall")), "sudo -u housecall housecall");
        assert_eq!(
            called(Some("admin"), Some("root")),
            "housecall",
            "root's commands need nobody's leave"
        );
        assert_eq!(called(None, Some("housecall")), "housecall");
    }

    #[test]
    fn the_next_command_can_be_copied() {
        let paths = vec![
            ("--config", Path::new("/etc/housecall.toml")),
            ("--data", Path::new("it's here")),
        ];
        assert_eq!(place(paths), r" --config /etc/housecall.toml --data 'it'\''s here'");
        assert_eq!(place(Vec::new()), "");
    }
}
