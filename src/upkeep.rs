//! What has to be done from time to time, whoever is there.

use std::time::Duration;

use housecall_portal::Portal;
use housecall_signaling::{Hub, Media};

/// How often visits that nobody ended are looked for. Their links are over for hours by then, so nothing waits for it; each look is a row of the audit log.
const EVERY: Duration = Duration::from_hours(1);

/// Ends visits that nobody ended and nobody can come back into, for ever.
pub(crate) async fn keep<M: Media>(portal: Portal, hub: Hub<Portal, M>) {
    loop {
        let live = hub.clone();
        match portal.end_lapsed(move |visit| live.is_open(visit)).await {
            Ok(0) => {}
            Ok(visits) => tracing::info!(visits, "visits that nobody ended, and whose links are over, are ended"),
            Err(cause) => {
                tracing::warn!(%cause, "visits that nobody ended cannot be looked for; the next try is in an hour");
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}
