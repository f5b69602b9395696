//! Requests of clients that have proved who they are (RFC 8656 §7, §8, §10, §12).

use std::net::SocketAddr;

use smallvec::SmallVec;

use super::auth::Authenticated;
use super::{Now, Opened, Opening, Outcome, Peers, RelayCommand, Server};
use crate::address::{ClientAddr, Family, PeerAddr};
use crate::allocation::{Allocation, AllocationKey, Bandwidth, Relayed, Stage};
use crate::channel::ChannelNumber;
use crate::limits;
use crate::stun::{AttributeType, Class, Integrity, IntegrityKey, Message, Method};

/// Attributes a request may have although they must be understood; any other is 420.
const KNOWN: [AttributeType; 18] = [
    AttributeType::MAPPED_ADDRESS,
    AttributeType::USERNAME,
    AttributeType::ERROR_CODE,
    AttributeType::UNKNOWN_ATTRIBUTES,
    AttributeType::REALM,
    AttributeType::NONCE,
    AttributeType::XOR_MAPPED_ADDRESS,
    AttributeType::PASSWORD_ALGORITHM,
    AttributeType::CHANNEL_NUMBER,
    AttributeType::LIFETIME,
    AttributeType::XOR_PEER_ADDRESS,
    AttributeType::DATA,
    AttributeType::XOR_RELAYED_ADDRESS,
    AttributeType::REQUESTED_ADDRESS_FAMILY,
    AttributeType::EVEN_PORT,
    AttributeType::REQUESTED_TRANSPORT,
    // Payload of hand-over never becomes an IP packet, and the driver of the public relay can keep the kernel from fragmenting.
    AttributeType::DONT_FRAGMENT,
    AttributeType::RESERVATION_TOKEN,
];

/// The number of UDP in REQUESTED-TRANSPORT.
const UDP: u8 = 17;

/// Why a request is refused: what its error response says.
pub(super) struct Refusal {
    code: u16,
    reason: &'static str,
}

const BAD_REQUEST: Refusal = refusal(400, "Bad Request");
const FORBIDDEN: Refusal = refusal(403, "Forbidden");
const ALLOCATION_MISMATCH: Refusal = refusal(437, "Allocation Mismatch");
const FAMILY_NOT_SUPPORTED: Refusal = refusal(440, "Address Family not Supported");
const WRONG_CREDENTIALS: Refusal = refusal(441, "Wrong Credentials");
const UNSUPPORTED_TRANSPORT: Refusal = refusal(442, "Unsupported Transport Protocol");
const FAMILY_MISMATCH: Refusal = refusal(443, "Peer Address Family Mismatch");
const QUOTA_REACHED: Refusal = refusal(486, "Allocation Quota Reached");
const INSUFFICIENT_CAPACITY: Refusal = refusal(508, "Insufficient Capacity");

const fn refusal(code: u16, reason: &'static str) -> Refusal {
    Refusal { code, reason }
}

/// A request and who sent it.
struct Request<'a> {
    client: ClientAddr,
    message: &'a Message<'a>,
    who: Authenticated,
    now: Now,
}

/// What an Allocate request wants.
struct Wanted {
    families: SmallVec<[Family; 2]>,
    /// Whether one of two families is enough.
    is_dual: bool,
    even: Option<EvenPort>,
    token: Option<[u8; 8]>,
}

/// EVEN-PORT (RFC 8656 §18.7).
#[derive(Clone, Copy, PartialEq, Eq)]
enum EvenPort {
    /// An even port.
    Even,
    /// And the one above it in reserve.
    Pair,
}

impl Server {
    pub(super) fn handle_request(&mut self, client: ClientAddr, message: &Message<'_>, now: Now) -> Outcome {
        let who = match self.authenticate(client, message, now) {
            Ok(who) => who,
            Err(refused) => return self.refuse(client, message, &refused, now),
        };
        let request = Request {
            client,
            message,
            who,
            now,
        };
        if message.unknown_required(&KNOWN).next().is_some() {
            self.counters.refused += 1;
            let protect = Some((&request.who.key, request.who.integrity));
            return self.answer(client, message, Class::Error, protect, |builder| {
                builder
                    .error_code(420, "Unknown Attribute")
                    .unknown_attributes(message.unknown_required(&KNOWN));
            });
        }
        let done = match message.method() {
            Method::ALLOCATE => self.allocate(&request),
            Method::REFRESH => self.refresh(&request),
            Method::CREATE_PERMISSION => self.create_permission(&request),
            _ => self.channel_bind(&request),
        };
        match done {
            Ok(outcome) => outcome,
            Err(refusal) => self.answer_refusal(client, message, &request.who.key, request.who.integrity, &refusal),
        }
    }

    fn answer_refusal(
        &mut self,
        client: ClientAddr,
        message: &Message<'_>,
        key: &IntegrityKey,
        integrity: Integrity,
        refusal: &Refusal,
    ) -> Outcome {
        self.counters.refused += 1;
        self.answer(client, message, Class::Error, Some((key, integrity)), |builder| {
            builder.error_code(refusal.code, refusal.reason);
        })
    }

    /// RFC 8656 §7.2, in its order.
    fn allocate(&mut self, request: &Request<'_>) -> Result<Outcome, Refusal> {
        let (message, now) = (request.message, request.now);
        if let Some(key) = self.find(request.client, now) {
            let allocation = &self.allocations[key.index as usize];
            let is_retransmission =
                allocation.transaction == message.transaction_id() && allocation.username == request.who.username;
            return match (is_retransmission, allocation.stage) {
                (true, Stage::Live) => {
                    Ok(self.answer_allocated(key, message, &request.who.key, request.who.integrity, now))
                }
                // The answer comes when the socket is open.
                (true, Stage::Opening) => Ok(Outcome::Request),
                (false, _) => Err(ALLOCATION_MISMATCH),
            };
        }
        match message.get(AttributeType::REQUESTED_TRANSPORT) {
            Some([UDP, _, _, _]) => {}
            Some([_, _, _, _]) => return Err(UNSUPPORTED_TRANSPORT),
            _ => return Err(BAD_REQUEST),
        }
        let wanted = self.wanted(message)?;
        let lifetime = lifetime(message)?.clamp(limits::DEFAULT_LIFETIME, limits::MAX_LIFETIME);
        self.check_quotas(request, &wanted)?;
        let expires = now.secs + lifetime;
        let (relayed, reservation) = self.take_ports(request, &wanted, expires)?;

        let sockets = match &self.peers {
            Peers::Only(_) => 0,
            Peers::Public { .. } => relayed.iter().flatten().count() as u8,
        };
        let key = self.insert(Allocation {
            generation: 0,
            swept_at: expires,
            client: request.client,
            user: request.who.user,
            username: request.who.username,
            stage: if sockets == 0 { Stage::Live } else { Stage::Opening },
            transaction: message.transaction_id(),
            granted: lifetime,
            reservation,
            relayed,
            permissions: SmallVec::new(),
            bindings: SmallVec::new(),
            bandwidth: Bandwidth::default(),
        });
        self.counters.allocated += 1;
        if sockets == 0 {
            return Ok(self.answer_allocated(key, message, &request.who.key, request.who.integrity, now));
        }
        for family in Family::ALL {
            if let Some(relayed) = self.relayed(key, family) {
                self.commands.push_back(RelayCommand::Open {
                    allocation: key,
                    relayed,
                });
            }
        }
        self.opening.insert(
            key,
            Opening {
                request: message.as_bytes().into(),
                key: request.who.key.clone(),
                integrity: request.who.integrity,
                waiting: sockets,
                // A port that was asked for in particular has no substitute.
                tries: if wanted.even.is_some() || wanted.token.is_some() {
                    0
                } else {
                    limits::OPEN_TRIES
                },
            },
        );
        Ok(Outcome::Request)
    }

    /// Reads what an Allocate request asks for; combinations that are forbidden are refused in the order of §7.2.
    fn wanted(&self, message: &Message<'_>) -> Result<Wanted, Refusal> {
        let requested = message.get(AttributeType::REQUESTED_ADDRESS_FAMILY);
        let additional = message.get(AttributeType::ADDITIONAL_ADDRESS_FAMILY);
        let even = match message.get(AttributeType::EVEN_PORT) {
            None => None,
            Some([flags]) if flags & 0x80 != 0 => Some(EvenPort::Pair),
            Some([_]) => Some(EvenPort::Even),
            Some(_) => return Err(BAD_REQUEST),
        };
        let token = match message.get(AttributeType::RESERVATION_TOKEN) {
            None => None,
            Some(token) => Some(<[u8; 8]>::try_from(token).map_err(|_| BAD_REQUEST)?),
        };
        if token.is_some() && (even.is_some() || requested.is_some() || additional.is_some()) {
            return Err(BAD_REQUEST);
        }
        if requested.is_some() && additional.is_some() {
            return Err(BAD_REQUEST);
        }
        let families: SmallVec<[Family; 2]> = match (requested, additional) {
            (_, Some(additional)) => {
                if even == Some(EvenPort::Pair) || family(additional)? != Some(Family::V6) {
                    return Err(BAD_REQUEST);
                }
                SmallVec::from_slice(&Family::ALL)
            }
            (Some(requested), None) => {
                let family = family(requested)?.ok_or(FAMILY_NOT_SUPPORTED)?;
                SmallVec::from_slice(&[family])
            }
            (None, None) => SmallVec::from_slice(&[Family::V4]),
        };
        if token.is_none() && families.iter().all(|family| self.pools[family.index()].is_none()) {
            return Err(FAMILY_NOT_SUPPORTED);
        }
        Ok(Wanted {
            families,
            is_dual: additional.is_some(),
            even,
            token,
        })
    }

    /// A port in reserve counts as the allocation that it is held for.
    fn check_quotas(&self, request: &Request<'_>, wanted: &Wanted) -> Result<(), Refusal> {
        let (user, prefix) = (request.who.user, request.client.prefix());
        let (mut of_user, mut of_prefix, mut all) = (
            self.by_user.get(&user).map_or(0, SmallVec::len),
            self.by_prefix.get(&prefix).map_or(0, |count| *count as usize),
            self.allocations.len(),
        );
        for (token, reservation) in &self.reservations {
            // The one that is taken up with this request becomes what was counted.
            if reservation.expires > request.now.secs && wanted.token != Some(*token) {
                of_user += usize::from(reservation.user == user);
                of_prefix += usize::from(reservation.prefix == prefix);
                all += 1;
            }
        }
        let more = if wanted.even == Some(EvenPort::Pair) { 2 } else { 1 };
        if of_user + more > self.quotas.per_user as usize || of_prefix + more > self.quotas.per_prefix as usize {
            return Err(QUOTA_REACHED);
        }
        if all + more > self.quotas.total as usize || self.opening.len() >= limits::MAX_OPENING {
            return Err(INSUFFICIENT_CAPACITY);
        }
        Ok(())
    }

    /// Takes the ports for a new allocation, and the token of the one held in reserve.
    #[expect(clippy::type_complexity, reason = "both families, and a token: used in one place")]
    fn take_ports(
        &mut self,
        request: &Request<'_>,
        wanted: &Wanted,
        expires: u32,
    ) -> Result<([Option<Relayed>; 2], Option<[u8; 8]>), Refusal> {
        let now = request.now;
        let mut relayed = [None; 2];
        if let Some(token) = wanted.token {
            let reservation = self
                .reservations
                .get(&token)
                .filter(|reservation| reservation.expires > now.secs)
                .map(|reservation| reservation.relayed)
                .ok_or(INSUFFICIENT_CAPACITY)?;
            self.reservations.remove(&token);
            relayed[Family::of(reservation.ip()).index()] = Some(Relayed {
                port: reservation.port(),
                expires,
            });
            return Ok((relayed, None));
        }
        let pair = wanted.even == Some(EvenPort::Pair);
        if pair && self.reservations.len() >= limits::MAX_RESERVATIONS {
            return Err(INSUFFICIENT_CAPACITY);
        }
        for family in &wanted.families {
            let chance = self.next_chance();
            let Some(pool) = &mut self.pools[family.index()] else {
                continue;
            };
            let port = match wanted.even {
                None => pool.ports.take_any(chance),
                Some(even) => pool.ports.take_even(even == EvenPort::Pair, chance),
            };
            relayed[family.index()] = port.map(|port| Relayed { port, expires });
        }
        // A dual request is content with one; `answer_allocated` says which is missing.
        let Some((first, family)) = Family::ALL
            .iter()
            .find_map(|family| Some((relayed[family.index()]?, *family)))
        else {
            return Err(INSUFFICIENT_CAPACITY);
        };
        debug_assert!(wanted.is_dual || wanted.families.as_slice() == [family], "as requested");
        let owner = (request.who.user, request.client.prefix());
        let token = pair.then(|| self.reserve(family, first.port + 1, owner, now)).flatten();
        Ok((relayed, token))
    }

    /// The success response (§7.2), the same for a retransmission.
    fn answer_allocated(
        &mut self,
        key: AllocationKey,
        message: &Message<'_>,
        integrity_key: &IntegrityKey,
        integrity: Integrity,
        now: Now,
    ) -> Outcome {
        let allocation = &self.allocations[key.index as usize];
        let (client, granted, reservation) = (allocation.client, allocation.granted, allocation.reservation);
        let addresses: [Option<SocketAddr>; 2] = Family::ALL.map(|family| self.relayed(key, family));
        let is_dual = message.get(AttributeType::ADDITIONAL_ADDRESS_FAMILY).is_some();
        let has_pool = Family::ALL.map(|family| self.pools[family.index()].is_some());
        let remaining = allocation.expires().saturating_sub(now.secs).min(granted);
        self.answer(
            client,
            message,
            Class::Success,
            Some((integrity_key, integrity)),
            |builder| {
                for address in addresses.iter().flatten() {
                    builder.xor_address(AttributeType::XOR_RELAYED_ADDRESS, *address);
                }
                for family in Family::ALL.into_iter().filter(|_| is_dual) {
                    if addresses[family.index()].is_none() {
                        let code: [u8; 2] = if has_pool[family.index()] { [5, 8] } else { [4, 40] };
                        builder.attribute(
                            AttributeType::ADDRESS_ERROR_CODE,
                            &[family.number(), 0, code[0], code[1]],
                        );
                    }
                }
                builder.attribute(AttributeType::LIFETIME, &remaining.to_be_bytes());
                if let Some(token) = reservation {
                    builder.attribute(AttributeType::RESERVATION_TOKEN, &token);
                }
                builder.xor_mapped_address(client.remote());
            },
        )
    }

    /// A socket of the public relay was opened, or could not be. Then another port may be tried: [`Self::poll_relay`] says so.
    pub fn relay_opened(&mut self, key: AllocationKey, relayed: SocketAddr, opened: Opened, now: std::time::Instant) {
        let now = self.time(now);
        if opened == Opened::No && self.try_other_port(key, relayed) {
            return;
        }
        let Some(opening) = self.opening.get_mut(&key) else {
            return;
        };
        opening.waiting = opening.waiting.saturating_sub(1);
        let is_last = opening.waiting == 0;
        let allocation = &mut self.allocations[key.index as usize];
        if opened != Opened::Yes {
            let family = Family::of(relayed.ip());
            allocation.relayed[family.index()] = None;
            self.release(relayed);
            self.counters.exhausted += u64::from(opened == Opened::Exhausted);
        }
        if !is_last {
            return;
        }
        let Some(opening) = self.opening.remove(&key) else {
            return;
        };
        let allocation = &mut self.allocations[key.index as usize];
        allocation.stage = Stage::Live;
        let (client, has_any) = (allocation.client, allocation.relayed.iter().any(Option::is_some));
        let Ok(message) = Message::parse(&opening.request) else {
            return;
        };
        if has_any {
            self.answer_allocated(key, &message, &opening.key, opening.integrity, now);
        } else {
            self.remove(key);
            self.answer_refusal(
                client,
                &message,
                &opening.key,
                opening.integrity,
                &INSUFFICIENT_CAPACITY,
            );
        }
    }

    /// Gives an allocation that is being made another port for one that somebody else has. False if there is none, or it had tries enough.
    fn try_other_port(&mut self, key: AllocationKey, refused: SocketAddr) -> bool {
        let family = Family::of(refused.ip());
        let chance = self.next_chance();
        let (Some(opening), Some(pool)) = (self.opening.get_mut(&key), &mut self.pools[family.index()]) else {
            return false;
        };
        if opening.tries == 0 {
            return false;
        }
        // Taken before the refused one is free again, so it is another.
        let (Some(port), Some(held)) = (
            pool.ports.take_any(chance),
            &mut self.allocations[key.index as usize].relayed[family.index()],
        ) else {
            return false;
        };
        opening.tries -= 1;
        held.port = port;
        let relayed = SocketAddr::new(pool.ip, port);
        self.release(refused);
        self.commands.push_back(RelayCommand::Open {
            allocation: key,
            relayed,
        });
        true
    }

    /// RFC 8656 §8.2.
    fn refresh(&mut self, request: &Request<'_>) -> Result<Outcome, Refusal> {
        let key = self.own(request)?;
        let family = match request.message.get(AttributeType::REQUESTED_ADDRESS_FAMILY) {
            None => None,
            Some(value) => {
                let family = family(value)?.ok_or(FAMILY_MISMATCH)?;
                if self.allocations[key.index as usize].relayed[family.index()].is_none() {
                    return Err(FAMILY_MISMATCH);
                }
                Some(family)
            }
        };
        let desired = match lifetime(request.message)? {
            0 if request.message.get(AttributeType::LIFETIME).is_some() => 0,
            asked => asked.clamp(limits::DEFAULT_LIFETIME, limits::MAX_LIFETIME),
        };
        let outcome = self.answer(
            request.client,
            request.message,
            Class::Success,
            Some((&request.who.key, request.who.integrity)),
            |builder| {
                builder.attribute(AttributeType::LIFETIME, &desired.to_be_bytes());
            },
        );
        self.set_lifetime(key, family, desired, request.now);
        Ok(outcome)
    }

    /// RFC 8656 §10.2. All addresses or none.
    fn create_permission(&mut self, request: &Request<'_>) -> Result<Outcome, Refusal> {
        let key = self.own(request)?;
        let mut peers: SmallVec<[PeerAddr; 4]> = SmallVec::new();
        for address in request.message.xor_addresses(AttributeType::XOR_PEER_ADDRESS) {
            if peers.len() == limits::MAX_PEERS_PER_REQUEST {
                return Err(INSUFFICIENT_CAPACITY);
            }
            peers.push(PeerAddr::new(address.ok_or(BAD_REQUEST)?));
        }
        if peers.is_empty() {
            return Err(BAD_REQUEST);
        }
        let allocation = &self.allocations[key.index as usize];
        if !peers.iter().all(|peer| allocation.has(peer.family(), request.now.secs)) {
            return Err(FAMILY_MISMATCH);
        }
        if !peers.iter().all(|peer| self.can_permit(peer.get().ip())) {
            return Err(FORBIDDEN);
        }
        let allocation = &mut self.allocations[key.index as usize];
        for peer in &peers {
            if !allocation.permit(peer.get().ip(), request.now.secs) {
                return Err(INSUFFICIENT_CAPACITY);
            }
        }
        Ok(self.answer_done(request))
    }

    /// RFC 8656 §12.2.
    fn channel_bind(&mut self, request: &Request<'_>) -> Result<Outcome, Refusal> {
        let key = self.own(request)?;
        let now = request.now.secs;
        let channel = match request.message.get(AttributeType::CHANNEL_NUMBER) {
            Some(&[high, low, _, _]) => ChannelNumber::new(u16::from_be_bytes([high, low])),
            _ => None,
        }
        .ok_or(BAD_REQUEST)?;
        let peer = request
            .message
            .xor_address(AttributeType::XOR_PEER_ADDRESS)
            .map(PeerAddr::new)
            .ok_or(BAD_REQUEST)?;
        let allocation = &self.allocations[key.index as usize];
        let is_other_peer = allocation.peer(channel, now).is_some_and(|bound| bound != peer);
        let is_other_channel = allocation.channel(peer, now).is_some_and(|bound| bound != channel);
        if is_other_peer || is_other_channel {
            return Err(BAD_REQUEST);
        }
        if !allocation.has(peer.family(), now) {
            return Err(FAMILY_MISMATCH);
        }
        if !self.can_permit(peer.get().ip()) || !self.can_reach(peer) {
            return Err(FORBIDDEN);
        }
        let allocation = &mut self.allocations[key.index as usize];
        if !allocation.permit(peer.get().ip(), now) || !allocation.bind(channel, peer, now) {
            return Err(INSUFFICIENT_CAPACITY);
        }
        Ok(self.answer_done(request))
    }

    fn answer_done(&mut self, request: &Request<'_>) -> Outcome {
        let protect = Some((&request.who.key, request.who.integrity));
        self.answer(request.client, request.message, Class::Success, protect, |_| {})
    }

    /// The allocation of the request's 5-tuple, if it was made by the same user (RFC 8656 §5).
    fn own(&mut self, request: &Request<'_>) -> Result<AllocationKey, Refusal> {
        let key = self.find(request.client, request.now).ok_or(ALLOCATION_MISMATCH)?;
        let allocation = &self.allocations[key.index as usize];
        if allocation.username != request.who.username {
            return Err(WRONG_CREDENTIALS);
        }
        match allocation.stage {
            Stage::Live => Ok(key),
            Stage::Opening => Err(ALLOCATION_MISMATCH),
        }
    }
}

/// LIFETIME in seconds, 0 if it is not there.
fn lifetime(message: &Message<'_>) -> Result<u32, Refusal> {
    match message.get(AttributeType::LIFETIME) {
        None => Ok(0),
        Some(value) => Ok(u32::from_be_bytes(value.try_into().map_err(|_| BAD_REQUEST)?)),
    }
}

/// The value of REQUESTED-ADDRESS-FAMILY or ADDITIONAL-ADDRESS-FAMILY; `None` for a family that does not exist.
fn family(value: &[u8]) -> Result<Option<Family>, Refusal> {
    match *value {
        [number, _, _, _] => Ok(Family::from_number(number)),
        _ => Err(BAD_REQUEST),
    }
}
