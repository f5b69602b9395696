//! The long-term credential mechanism (RFC 8489 §9.2.4), and writing answers.

use arrayvec::ArrayVec;

use super::{Answer, Dropped, Now, Outcome, Peers, Server};
use crate::address::ClientAddr;
use crate::credentials::{PasswordAlgorithm, REALM, User, Username, UsernameHash};
use crate::limits;
use crate::nonce;
use crate::stun::{AttributeType, Builder, Class, Integrity, IntegrityKey, Message, Method};

/// Bytes of IPv4 and UDP headers: both ways of a request and its answer have them, and an attacker pays for and gains by them.
const DATAGRAM_OVERHEAD: usize = 28;

/// Who sent a request, proved.
pub(super) struct Authenticated {
    pub(super) user: User,
    pub(super) username: UsernameHash,
    pub(super) key: IntegrityKey,
    /// How the answer is to be protected.
    pub(super) integrity: Integrity,
}

/// What a request without proof gets.
pub(super) enum Refused {
    /// This error code with realm, nonce and algorithms: try again like that.
    Challenge(u16),
    /// 400 with nothing.
    BadRequest,
    /// No answer.
    Silently,
}

impl Server {
    /// The checks of RFC 8489 §9.2.4, in its order. A stranger without a valid nonce costs one HMAC until the budget says that it
    /// may be answered; whoever shows a valid nonce receives at the address it sends from.
    pub(super) fn authenticate(
        &mut self,
        client: ClientAddr,
        request: &Message<'_>,
        now: Now,
    ) -> Result<Authenticated, Refused> {
        if !request.has_integrity() {
            return Err(self.within_budget(client, now, Refused::Challenge(401)));
        }
        let (Some(username), Some(_), Some(nonce)) = (
            request.get(AttributeType::USERNAME),
            request.get(AttributeType::REALM),
            request.get(AttributeType::NONCE),
        ) else {
            return Err(self.within_budget(client, now, Refused::BadRequest));
        };
        let is_nonce_valid = self.nonces.is_valid(nonce, client, now.secs);
        if !is_nonce_valid && !self.budget.take(client, now.millis) {
            return Err(Refused::Silently);
        }
        let refuse = |server: &mut Self, refused| {
            if is_nonce_valid {
                server.within_budget(client, now, refused)
            } else {
                refused
            }
        };

        let (algorithm, integrity) = match (
            request.get(AttributeType::PASSWORD_ALGORITHM),
            request.get(AttributeType::PASSWORD_ALGORITHMS),
        ) {
            (None, None) => (PasswordAlgorithm::Md5, Integrity::Sha1),
            // Somebody on the way who took the better algorithm out of the list is noticed here. The list was in the same answer as the
            // nonce, whose cookie says that there is one; a nonce without cookie is not ours, and its request is refused below.
            (Some(chosen), Some(list)) if nonce.starts_with(nonce::COOKIE) && *list == PasswordAlgorithm::LIST => {
                match PasswordAlgorithm::from_value(chosen) {
                    Some(algorithm) => (algorithm, Integrity::Sha256),
                    None => return Err(refuse(self, Refused::BadRequest)),
                }
            }
            _ => return Err(refuse(self, Refused::BadRequest)),
        };
        let parsed = std::str::from_utf8(username)
            .ok()
            .and_then(|username| Some((username, Username::parse(username)?)));
        let Some((username, parts)) = parsed.filter(|(_, parts)| self.is_in_time(request, parts, now)) else {
            return Err(refuse(self, Refused::Challenge(401)));
        };
        let key = self.secret.key(username, algorithm);
        if request.verify_integrity(&key).is_err() {
            return Err(refuse(self, Refused::Challenge(401)));
        }
        if !is_nonce_valid {
            return Err(Refused::Challenge(438));
        }
        Ok(Authenticated {
            user: User::new(parts.id),
            username: UsernameHash::new(username),
            key,
            integrity,
        })
    }

    /// New allocations need credentials that are good now; what a visit has allocated with them may be kept for longer.
    fn is_in_time(&self, request: &Message<'_>, username: &Username<'_>, now: Now) -> bool {
        let unix = self.unix.0 + u64::from(now.secs);
        let grace = match (&self.peers, request.method()) {
            // Whoever mints credentials of the public relay says how long they are good, and nothing is known of what they are for.
            (Peers::Public { .. }, _) | (_, Method::ALLOCATE) => 0,
            (Peers::Only(_), _) => limits::CREDENTIALS_GRACE,
        };
        unix <= username.expires.0.saturating_add(grace)
    }

    fn within_budget(&mut self, client: ClientAddr, now: Now, refused: Refused) -> Refused {
        if self.budget.take(client, now.millis) {
            refused
        } else {
            Refused::Silently
        }
    }

    /// Writes the answer to a request that was not authenticated.
    pub(super) fn refuse(&mut self, client: ClientAddr, request: &Message<'_>, refused: &Refused, now: Now) -> Outcome {
        match *refused {
            Refused::Silently => Outcome::Dropped(Dropped::Budget),
            Refused::BadRequest => self.answer(client, request, Class::Error, None, |builder| {
                builder.error_code(400, "");
            }),
            Refused::Challenge(code) => {
                self.counters.challenged += 1;
                let nonce = self.nonces.issue(client, now.secs);
                self.answer(client, request, Class::Error, None, |builder| {
                    builder
                        .error_code(code, "")
                        .attribute(AttributeType::REALM, REALM.as_bytes())
                        .attribute(AttributeType::NONCE, &nonce)
                        .attribute(AttributeType::PASSWORD_ALGORITHMS, &PasswordAlgorithm::LIST);
                })
            }
        }
    }

    /// Queues an answer. One to a stranger is never larger than twice the request, as both are on the wire.
    pub(super) fn answer(
        &mut self,
        client: ClientAddr,
        request: &Message<'_>,
        class: Class,
        protect: Option<(&IntegrityKey, Integrity)>,
        add: impl FnOnce(&mut Builder<'_>),
    ) -> Outcome {
        if self.answers.len() >= limits::MAX_PENDING_ANSWERS {
            return Outcome::Dropped(Dropped::Busy);
        }
        let mut buffer = [0; limits::MAX_ANSWER];
        let mut builder = Builder::new(&mut buffer, class, request.method(), request.transaction_id());
        add(&mut builder);
        if let Some((key, integrity)) = protect {
            builder.integrity(integrity, key);
        }
        if request.fingerprint() != crate::stun::Fingerprint::Absent {
            builder.fingerprint();
        }
        let Ok(len) = builder.finish() else {
            debug_assert!(false, "every answer fits");
            return Outcome::Dropped(Dropped::Busy);
        };
        let asked = request.as_bytes().len() + DATAGRAM_OVERHEAD;
        if protect.is_none() && !client.transport().is_stream() && len + DATAGRAM_OVERHEAD > 2 * asked {
            return Outcome::Dropped(Dropped::Budget);
        }
        let mut bytes = ArrayVec::new();
        // Cannot fail: both are of the same size.
        let _ = bytes.try_extend_from_slice(&buffer[..len]);
        self.answers.push_back(Answer { client, bytes });
        Outcome::Request
    }
}
