//! One attempt: account, order, answer to the authority's question, certificate.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error as ClientError, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use tokio_rustls::rustls::crypto::aws_lc_rs;

use super::Place;
use crate::config::Acme;
use crate::front::tls::{Certificate, TlsError, load};

/// How long the authority may take to look, and then to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(60));

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum AcmeError {
    #[error("the authority did not do as it was asked")]
    Authority(#[from] ClientError),
    #[error("the authority does not take TLS-ALPN-01 for this name")]
    NoChallenge,
    #[error("the authority did not find this server under its name ({0})")]
    NotFound(String),
    #[error("it cannot be kept in the data directory")]
    Kept(#[from] io::Error),
    #[error("what the authority gave cannot be used")]
    Useless(#[from] TlsError),
}

impl AcmeError {
    /// Whether the authority knows nothing of the account that it gave us: one in a laboratory forgets.
    fn is_forgotten(&self) -> bool {
        let Self::Authority(ClientError::Api(problem)) = self else {
            return false;
        };
        problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist")
    }
}

/// Gets a new certificate and puts it into its file. Whether it can be put there is seen first: authorities count what they give.
pub(super) async fn obtain(acme: &Acme, place: &Place, certificate: &Arc<Certificate>) -> Result<(), AcmeError> {
    place.prove()?;
    match Box::pin(order(acme, place, certificate)).await {
        Err(error) if error.is_forgotten() => {
            fs::remove_file(place.account())?;
            Box::pin(order(acme, place, certificate)).await
        }
        outcome => outcome,
    }
}

async fn account(acme: &Acme, place: &Place) -> Result<Account, AcmeError> {
    let builder = match &acme.root {
        Some(root) => Account::builder_with_root(root)?,
        None => Account::builder()?,
    };
    let kept = fs::read(place.account()).ok();
    if let Some(credentials) = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        return Ok(builder.from_credentials(credentials).await?);
    }
    let contact = acme.contact.as_ref().map(|address| format!("mailto:{address}"));
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        // Without it there is no [`Acme`].
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let (account, credentials) = builder.create(&new, acme.directory.clone(), None).await?;
    let text = serde_json::to_vec(&credentials).map_err(ClientError::from)?;
    place.write(&place.account(), &text, |_| Ok::<_, AcmeError>(()))?;
    Ok(account)
}

async fn order(acme: &Acme, place: &Place, certificate: &Arc<Certificate>) -> Result<(), AcmeError> {
    let account = account(acme, place).await?;
    let names = [Identifier::Dns(acme.host.clone())];
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    let mut answering = None;
    let mut authorizations = order.authorizations();
    // There is one for each name, hence one.
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let mut challenge = authorization
            .challenge(ChallengeType::TlsAlpn01)
            .ok_or(AcmeError::NoChallenge)?;
        let digest = challenge.key_authorization().digest();
        let digest = digest.as_ref().try_into().map_err(|_| ClientError::Crypto)?;
        answering = Some(certificate.answer(&acme.host, digest)?);
        challenge.set_ready().await?;
    }
    let ready = order.poll_ready(&PATIENCE).await;
    drop(answering);
    match ready {
        Ok(OrderStatus::Ready) => {}
        Ok(_) => return Err(AcmeError::NotFound(why(&mut order).await)),
        Err(error) => {
            return Err(match why(&mut order).await {
                reason if reason.is_empty() => error.into(),
                reason => AcmeError::NotFound(reason),
            });
        }
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    let pair = format!("{key}{chain}");
    place.write(&place.certificate(), pair.as_bytes(), |new| {
        load(new, new, &aws_lc_rs::default_provider())?;
        Ok(())
    })
}

/// What the authority found when it looked; empty if it doesn't say.
async fn why(order: &mut Order) -> String {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else {
            continue;
        };
        let problems = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        if let Some(detail) = problems.filter_map(|problem| problem.detail.clone()).next() {
            return detail;
        }
    }
    String::new()
}
