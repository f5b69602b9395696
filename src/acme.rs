//! A certificate from an authority, by ACME (RFC 8555): asked for at the start, and again when two thirds of its life are over.
//!
//! The authority looks whether the name is ours by TLS-ALPN-01 (RFC 8737), on the port that everything is on; nothing else has to be
//! opened. A new certificate goes into a file in the data directory, and from there to handshakes as any file does ([`tls::watch`]).
//! Whatever fails is tried again, more and more seldom, and told to the log and to the doctor; the server goes on with what it has.
//!
//! [`tls::watch`]: crate::front::tls::watch

mod order;
mod place;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{sleep, timeout};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::Acme;
use crate::front::FrontMetrics;
use crate::front::tls::{Certificate, load};

pub(crate) use place::{Place, Trouble};

/// How long one attempt may take. Authorities look from several places, one after the other.
const ATTEMPT: Duration = Duration::from_secs(180);

/// Nothing is slept through for longer, for a machine may have been asleep itself, and files may have been taken away.
const LOOK: Duration = Duration::from_secs(3_600);

/// Seconds to wait after so many failures in a row, and after all further ones the last. Let's Encrypt takes five failures per hour.
const PAUSES: [i64; 6] = [60, 300, 900, 3_600, 4 * 3_600, 6 * 3_600];

/// The time a certificate is valid, seconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Life {
    from: i64,
    until: i64,
}

impl Life {
    /// Of the first certificate in a file with its key. A pair that handshakes cannot use has none: a self-signed one is shown instead.
    fn of(file: &Path) -> Option<Self> {
        let pair = load(file, file, &aws_lc_rs::default_provider()).ok()?;
        let (_, certificate) = X509Certificate::from_der(pair.cert.first()?).ok()?;
        let validity = certificate.validity();
        Some(Self {
            from: validity.not_before.timestamp(),
            until: validity.not_after.timestamp(),
        })
    }
}

/// When to ask the authority next, seconds of Unix time; what is over means now.
fn due(life: Option<Life>, trouble: Option<&Trouble>, now: i64) -> i64 {
    let renewal = life.map_or(now, |life| life.from + (life.until - life.from) / 3 * 2);
    let retry = trouble.map_or(now, |trouble| {
        let pause = usize::try_from(trouble.failures.saturating_sub(1)).unwrap_or(usize::MAX);
        // One from the future is of a clock that was wrong.
        trouble.at.min(now) + PAUSES[pause.min(PAUSES.len() - 1)]
    });
    renewal.max(retry)
}

/// Sees to it, for ever, that there is a certificate that is not too old.
pub(crate) async fn keep(acme: Acme, place: Place, certificate: Arc<Certificate>, metrics: FrontMetrics) {
    // What asks the authority takes the one of the process. Whoever installed it before installed the same.
    let _ = aws_lc_rs::default_provider().install_default();
    // The file is for the next start and the doctor. What holds is this: the file may be what cannot be written.
    let mut trouble = place.trouble();
    loop {
        let now = unix_time();
        let wait = due(Life::of(&place.certificate()), trouble.as_ref(), now) - now;
        if let Ok(wait @ 1..) = u64::try_from(wait) {
            sleep(Duration::from_secs(wait).min(LOOK)).await;
            continue;
        }
        let attempt = Box::pin(order::obtain(&acme, &place, &certificate));
        let error = match timeout(ATTEMPT, attempt).await {
            Ok(Ok(())) => {
                trouble = None;
                place.forget_trouble();
                tracing::info!(authority = acme.directory, "the authority has given a new certificate");
                continue;
            }
            Ok(Err(error)) => anyhow::Error::from(error),
            Err(_) => anyhow::anyhow!("the authority took more than {} s", ATTEMPT.as_secs()),
        };
        metrics.acme_failed();
        trouble = Some(failed(&place, unix_time(), trouble, &format!("{error:#}")));
    }
}

/// One more failure: told to the log, and noted for the next start if that can be.
fn failed(place: &Place, at: i64, before: Option<Trouble>, what: &str) -> Trouble {
    let trouble = Trouble::new(at, before, what);
    let again = due(None, Some(&trouble), at) - at;
    tracing::warn!(
        cause = trouble.what,
        "no new certificate; what there is stays in use, and the next try is in {again} s"
    );
    if let Err(cause) = place.note(&trouble) {
        tracing::warn!(%cause, "what went wrong cannot be noted in the data directory");
    }
    trouble
}

fn unix_time() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Tls;

    const NOW: i64 = 1_800_000_000;
    const DAY: i64 = 24 * 3_600;

    fn failed(failures: u32, at: i64) -> Option<Trouble> {
        let what = "no".to_owned();
        Some(Trouble { at, failures, what })
    }

    #[test]
    fn it_is_asked_at_two_thirds_of_life_and_ever_more_seldom_after_failures() {
        let life = |from, until| Some(Life { from, until });
        for (name, life, trouble, expected) in [
            ("nothing yet", None, None, 0),
            ("just issued", life(NOW, NOW + 90 * DAY), None, 60 * DAY),
            ("two thirds over", life(NOW - 60 * DAY, NOW + 30 * DAY), None, 0),
            ("long over", life(NOW - 100 * DAY, NOW - 10 * DAY), None, -40 * DAY),
            ("failed once", None, failed(1, NOW), 60),
            ("failed four times", None, failed(4, NOW - 600), 3_000),
            ("failed very often", None, failed(99, NOW), 6 * 3_600),
            ("failed in the future", None, failed(1, NOW + 10 * DAY), 60),
            (
                "failed, but there is a new one now",
                life(NOW, NOW + 90 * DAY),
                failed(1, NOW),
                60 * DAY,
            ),
            (
                "a renewal failed",
                life(NOW - 60 * DAY, NOW + 30 * DAY),
                failed(2, NOW - 100),
                200,
            ),
        ] {
            let until = due(life, trouble.as_ref(), NOW) - NOW;
            if expected < 0 {
                assert!(until <= 0, "{name}: {until}");
            } else {
                assert_eq!(until, expected, "{name}");
            }
        }
    }

    #[test]
    fn within_an_hour_an_authority_is_not_asked_more_than_five_times() {
        let data = tempfile::tempdir().expect("a folder");
        let place = Place::of(&acme("https://one.example/dir"), data.path());
        for writable in [true, false] {
            if !writable {
                unwritable(data.path());
            }
            let mut at = NOW;
            let mut trouble: Option<Trouble> = None;
            let mut tries = 0;
            while at < NOW + 3_600 {
                tries += 1;
                trouble = Some(super::failed(&place, at, trouble, "no"));
                at = due(None, trouble.as_ref(), at);
            }
            assert!((2..5).contains(&tries), "{tries} with writable = {writable}");
            assert_eq!(place.trouble(), trouble.filter(|_| writable));
        }
    }

    #[tokio::test]
    async fn nobody_is_asked_for_what_could_not_be_kept() {
        let data = tempfile::tempdir().expect("a folder");
        let authority = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        authority.set_nonblocking(true).expect("set");
        let acme = acme(&format!("https://{}/dir", authority.local_addr().expect("bound")));
        let place = Place::of(&acme, data.path());
        place.prove().expect("a folder that can be written");
        let folder = place.certificate().parent().expect("a folder").to_owned();
        assert_eq!(
            std::fs::read_dir(&folder).expect("there").count(),
            0,
            "the proof is gone"
        );
        unwritable(data.path());
        let certificate = Certificate::open(&Tls::Acme(acme.clone()), data.path(), vec![acme.host.clone()]);
        let certificate = certificate.expect("a self-signed one").expect("with TLS");
        let error = order::obtain(&acme, &place, &certificate)
            .await
            .expect_err("nowhere to write");
        assert!(matches!(error, order::AcmeError::Kept(_)), "{error:?}");
        let asked = authority.accept().expect_err("nobody came");
        assert_eq!(asked.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_certificate_without_its_key_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let make = || rcgen::generate_simple_self_signed(vec!["visits.example.org".to_owned()]).expect("made");
        let (one, other) = (make(), make());
        let file = folder.path().join("pair.pem");
        for (name, text, good) in [
            ("a pair", one.signing_key.serialize_pem() + &one.cert.pem(), true),
            (
                "the key of another",
                other.signing_key.serialize_pem() + &one.cert.pem(),
                false,
            ),
            ("no key", one.cert.pem(), false),
        ] {
            std::fs::write(&file, text).expect("written");
            assert_eq!(Life::of(&file).is_some(), good, "{name}");
        }
    }

    fn acme(directory: &str) -> Acme {
        Acme {
            host: "visits.example.org".to_owned(),
            contact: None,
            directory: directory.to_owned(),
            root: None,
        }
    }

    /// Has a file where the folder for authorities would be, which stops even one with all rights.
    fn unwritable(data: &Path) {
        let folder = data.join("acme");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).expect("removed");
        }
        std::fs::write(&folder, "").expect("written");
    }

    #[test]
    fn what_is_kept_is_for_this_user_alone_and_apart_for_each_authority() {
        use std::os::unix::fs::PermissionsExt;
        let data = tempfile::tempdir().expect("a folder");
        let place = Place::of(&acme("https://one.example/../dir"), data.path());
        let other = Place::of(&acme("https://two.example/dir"), data.path());
        assert!(place.certificate().starts_with(data.path().join("acme")));
        assert_ne!(place.certificate(), other.certificate());
        assert_eq!(place.trouble(), None);
        let first = Trouble::new(NOW, None, "no\nand no");
        place.note(&first).expect("written");
        let trouble = place.trouble().expect("read again");
        assert_eq!((trouble.failures, trouble.what.as_str()), (1, "no and no"));
        assert_eq!(Trouble::new(NOW, Some(trouble), "again").failures, 2);
        assert_eq!(other.trouble(), None);
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let folder = place.certificate().parent().expect("a folder").to_owned();
        assert_eq!(mode(&folder), 0o700);
        for file in std::fs::read_dir(&folder).expect("readable") {
            assert_eq!(mode(&file.expect("an entry").path()), 0o600);
        }
        place.forget_trouble();
        assert_eq!(place.trouble(), None);
    }
}
