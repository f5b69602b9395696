//! Commands on the data of a server, running or not.

use std::io::Write;

use anyhow::{Context, anyhow, bail};
use housecall::config::Config;
use housecall_portal::store::HolderRole;
use housecall_portal::text::PersonName;
use housecall_portal::{PortalError, TokenRequest};
use jiff::SignedDuration;

use crate::args::{CreateVisit, RevokeVisit, Role, Token};

/// What `visit create --json` prints.
#[derive(serde::Serialize)]
struct VisitJson {
    visit: String,
    starts_at: jiff::Timestamp,
    ends_at: jiff::Timestamp,
    time_zone: String,
}

/// `housecall visit create`
pub(crate) async fn create_visit(config: &Config, command: &CreateVisit, out: &mut impl Write) -> anyhow::Result<()> {
    let portal = housecall::open_portal(config)?;
    let visit = portal
        .create_visit(
            SignedDuration::from_mins(i64::from(command.in_minutes)),
            housecall::clinic_profile(config)?,
        )
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
    } else {
        writeln!(out, "{}", visit.visit)?;
    }
    Ok(())
}

/// `housecall visit revoke`
pub(crate) async fn revoke_visit(config: &Config, command: &RevokeVisit, out: &mut impl Write) -> anyhow::Result<()> {
    let visit = command.visit.parse().map_err(|_| no_visit())?;
    let revoked = match housecall::open_portal(config)?.revoke_links(visit).await {
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
pub(crate) async fn token(config: &Config, command: &Token, out: &mut impl Write) -> anyhow::Result<()> {
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
        ttl: SignedDuration::try_from(command.ttl).context("--ttl")?,
    };
    let minted = match housecall::open_portal(config)?.mint_token(request).await {
        Ok(minted) => minted,
        Err(PortalError::NotFound) => return Err(no_visit()),
        Err(PortalError::VisitEnded | PortalError::VisitCancelled) => {
            bail!("this visit is over. `housecall visit create` makes another")
        }
        Err(cause) => return Err(cause).context("the token was not made"),
    };
    writeln!(out, "{}", minted.token.expose())?;
    Ok(())
}
