//! Who may use our relay by hand-over: people in visits, each of whom is told credentials with the welcome.

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use super::messages::Credentials;
use crate::socket::Person;
use crate::target::Target;

/// Allocations that the server lets one person have.
pub(crate) const EACH: usize = 16;
/// People in one visit: some less than the server lets in.
const TOGETHER: usize = 12;

/// People who are there for their credentials. They leave when this is dropped, and their allocations end.
pub(crate) struct Accounts {
    credentials: Vec<Credentials>,
    _followers: JoinSet<Result<()>>,
}

impl Accounts {
    /// As many people as may have so many allocations together.
    pub(crate) async fn enter(target: &Target, allocations: usize) -> Result<Self> {
        let people = allocations.div_ceil(EACH);
        let mut making = JoinSet::new();
        for first in (0..people).step_by(TOGETHER) {
            let target = target.clone();
            let count = (people - first).min(TOGETHER);
            making.spawn(async move {
                let named = target.clone();
                let tokens = tokio::task::spawn_blocking(move || {
                    let server = named.server()?;
                    let visit = server.create_visit()?;
                    (0..count)
                        .map(|_| server.token(&visit, "guest"))
                        .collect::<Result<Vec<_>>>()
                });
                let mut people = Vec::new();
                for token in tokens.await?? {
                    people.push(Person::enter(target.server()?, &token).await?);
                }
                Ok::<_, anyhow::Error>(people)
            });
        }
        let (mut credentials, mut followers) = (Vec::new(), JoinSet::new());
        while let Some(people) = making.join_next().await {
            for person in people?? {
                let told = person.relay().cloned();
                credentials.push(told.context("the server told no credentials for its relay")?);
                followers.spawn(person.follow());
            }
        }
        Ok(Self {
            credentials,
            _followers: followers,
        })
    }

    /// Those for the allocation with this number.
    pub(crate) fn of(&self, number: usize) -> &Credentials {
        &self.credentials[number / EACH % self.credentials.len()]
    }
}
