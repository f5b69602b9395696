//! Which clinician is in a call in which visit: what the visits of one clinician tell each other.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::ids::{PersonId, VisitId};

/// Shared by all visits. Written rarely (a clinician comes, goes, admits), read on every such change.
pub(super) struct Presence {
    /// Per clinician: the visits they are connected to, and whether a patient is with them there.
    clinicians: Mutex<HashMap<PersonId, HashMap<VisitId, bool>>>,
    changed: watch::Sender<()>,
}

impl Presence {
    pub(super) fn new() -> Self {
        Self {
            clinicians: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// Resolves after every change; several changes may be told as one.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Replaces what a visit said before.
    pub(super) fn set(&self, visit: &VisitId, before: &[(PersonId, bool)], now: &[(PersonId, bool)]) {
        if before == now {
            return;
        }
        let mut clinicians = self.clinicians.lock().unwrap_or_else(PoisonError::into_inner);
        for (person, _) in before {
            if let Some(visits) = clinicians.get_mut(person) {
                visits.remove(visit);
                if visits.is_empty() {
                    clinicians.remove(person);
                }
            }
        }
        for (person, in_call) in now {
            clinicians
                .entry(person.clone())
                .or_default()
                .insert(visit.clone(), *in_call);
        }
        drop(clinicians);
        self.changed.send_replace(());
    }

    /// Whether one of these is in a call in another visit than this one.
    pub(super) fn busy_elsewhere(&self, visit: &VisitId, people: &[PersonId]) -> bool {
        let clinicians = self.clinicians.lock().unwrap_or_else(PoisonError::into_inner);
        let in_call = |person| {
            let visits = clinicians.get(person);
            visits.is_some_and(|visits| visits.iter().any(|(other, &in_call)| in_call && other != visit))
        };
        people.iter().any(in_call)
    }
}
