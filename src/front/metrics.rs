//! What became of connections. Every label is one of a fixed few.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// What a connection was served as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    Http,
    Https,
    IceTcp,
    TurnTcp,
    TurnTls,
    /// An authority that looked whether the name is ours.
    Acme,
}

/// Why a connection was closed without being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its address prefix has all it may have.
    Crowd,
    /// It did not say in time what it wants.
    Silent,
    /// It speaks nothing that is spoken here.
    Protocol,
    /// The TLS handshake failed.
    Handshake,
    /// It went away before it said anything.
    Gone,
    /// The media core has too much to do.
    Busy,
}

const SERVED: [(Served, &str); 6] = [
    (Served::Http, "http"),
    (Served::Https, "https"),
    (Served::IceTcp, "ice_tcp"),
    (Served::TurnTcp, "turn_tcp"),
    (Served::TurnTls, "turn_tls"),
    (Served::Acme, "acme"),
];
const REFUSED: [(Refused, &str); 6] = [
    (Refused::Crowd, "crowd"),
    (Refused::Silent, "silent"),
    (Refused::Protocol, "protocol"),
    (Refused::Handshake, "handshake"),
    (Refused::Gone, "gone"),
    (Refused::Busy, "busy"),
];

/// See the module.
#[derive(Clone)]
pub(crate) struct FrontMetrics {
    served: IntCounterVec,
    refused: IntCounterVec,
    /// End of the certificate in use, seconds of Unix time.
    pub(super) certificate: IntGaugeVec,
}

impl FrontMetrics {
    /// All of them, at zero.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let served = IntCounterVec::new(
            Opts::new("housecall_connections_total", "TCP connections served, by protocol."),
            &["protocol"],
        )?;
        let refused = IntCounterVec::new(
            Opts::new(
                "housecall_connections_refused_total",
                "TCP connections not served, by reason.",
            ),
            &["reason"],
        )?;
        let certificate = IntGaugeVec::new(
            Opts::new(
                "housecall_tls_certificate",
                "The certificate in use: end of its validity (not_after, Unix time), how often it was read anew (reloads), and how often an authority refused a new one (acme_failures).",
            ),
            &["figure"],
        )?;
        for (_, label) in SERVED {
            served.with_label_values(&[label]);
        }
        for (_, label) in REFUSED {
            refused.with_label_values(&[label]);
        }
        registry.register(Box::new(served.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        registry.register(Box::new(certificate.clone()))?;
        Ok(Self {
            served,
            refused,
            certificate,
        })
    }

    /// An authority gave no new certificate.
    pub(crate) fn acme_failed(&self) {
        self.certificate.with_label_values(&["acme_failures"]).inc();
    }

    pub(super) fn serve(&self, what: Served) {
        let label = SERVED.iter().find(|(served, _)| *served == what);
        self.served
            .with_label_values(&[label.map_or("http", |(_, label)| label)])
            .inc();
    }

    pub(super) fn refuse(&self, why: Refused) {
        let label = REFUSED.iter().find(|(refused, _)| *refused == why);
        self.refused
            .with_label_values(&[label.map_or("gone", |(_, label)| label)])
            .inc();
    }

    /// How many were refused for a reason.
    #[cfg(test)]
    pub(super) fn refused_for(&self, why: Refused) -> u64 {
        let label = REFUSED.iter().find(|(refused, _)| *refused == why);
        self.refused
            .with_label_values(&[label.map_or("gone", |(_, label)| label)])
            .get()
    }
}
