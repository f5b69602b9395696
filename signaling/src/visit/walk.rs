//! A seeded random walk over everything that can happen to a visit, in virtual time. What must always hold is checked by the
//! harness after every step. `HOUSECALL_SEED=n` walks one seed alone.

use std::time::Duration;

use housecall_sfu::{Event, Kind, Layer, Mid, NegotiateError, ParticipantId, RoomId, Target, TrackChange};

use super::harness::{World, identity};
use super::http::HttpKind;
use super::{Bounds, SocketId};
use crate::message::{ClientMessage, EndReason, RoleName, TargetName};
use crate::portal::Interruption;

const STEPS: usize = 400;
const SEEDS: u64 = 150;
const BOUNDS: Bounds = Bounds { people: 6, viewers: 5 };

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() {
            None
        } else {
            Some(&from[self.roll(from.len())])
        }
    }
}

#[test]
fn whatever_happens_the_invariants_hold() {
    let seeds = match std::env::var("HOUSECALL_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("a number");
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    };
    let mut reached = Reached::default();
    for seed in seeds.clone() {
        let walked = std::panic::catch_unwind(|| walk(seed));
        match walked {
            Ok(seen) => reached.add(&seen),
            Err(cause) => {
                #[expect(clippy::print_stderr, reason = "the seed is what one needs to walk there again")]
                {
                    eprintln!("failed with HOUSECALL_SEED={seed}");
                }
                std::panic::resume_unwind(cause);
            }
        }
    }
    if seeds.count() > 1 {
        reached.check();
    }
}

/// Whether the walks came by all that they are meant to test.
#[derive(Default)]
struct Reached {
    events: std::collections::BTreeSet<&'static str>,
    shown: usize,
    resumed: usize,
}

impl Reached {
    fn add(&mut self, other: &Self) {
        self.events.extend(&other.events);
        self.shown += other.shown;
        self.resumed += other.resumed;
    }

    fn check(&self) {
        let missing = crate::portal::VisitEvent::NAMES
            .iter()
            .find(|name| !self.events.contains(*name));
        assert_eq!(missing, None, "no walk came by this event");
        assert!(
            self.shown > 100 && self.resumed > 100,
            "shown {} resumed {}",
            self.shown,
            self.resumed
        );
    }
}

fn walk(seed: u64) -> Reached {
    let mut dice = Dice(seed);
    let mut world = World::new(BOUNDS);
    let mut track = 0;
    let mut reached = Reached::default();
    for _ in 0..STEPS {
        step(&mut dice, &mut world, &mut track);
        reached.shown += (1..=track).filter(|t| !world.viewers_of(*t).is_empty()).count();
        if world.visit.is_over() {
            break;
        }
    }
    finish(&mut world);
    reached.events.extend(world.event_names());
    reached.resumed = world.sockets.values().filter(|inbox| inbox.welcome().2).count();
    reached
}

/// Everybody goes; after the longest of all times nothing is left.
fn finish(world: &mut World) {
    let sockets: Vec<_> = world.visit.by_socket.keys().copied().collect();
    for socket in sockets {
        world.drop_socket(socket);
    }
    while !world.offers.is_empty() {
        world.refuse_offer(NegotiateError::Busy);
    }
    let transports: Vec<_> = world.transports.keys().copied().collect();
    for participant in transports {
        world.media(&Event::Disconnected {
            room: RoomId(7),
            participant,
        });
    }
    world.pass(Duration::from_secs(3_600));
    assert!(world.visit.is_empty(), "a stay is left behind");
    assert!(world.transports.is_empty(), "a transport is left behind");
    assert_eq!(world.visit.poll_timeout(), None);
}

fn step(dice: &mut Dice, world: &mut World, track: &mut u64) {
    let mut sockets: Vec<SocketId> = world.visit.by_socket.keys().copied().collect();
    sockets.sort_unstable();
    let mut transports: Vec<ParticipantId> = world.transports.keys().copied().collect();
    transports.sort_unstable();
    let socket = dice.pick(&sockets).copied();
    let transport = dice.pick(&transports).copied();
    match (dice.roll(30), socket, transport) {
        (0..=4, ..) => come(dice, world),
        (5, Some(socket), _) => world.drop_socket(socket),
        (6, ..) => {
            let time = Duration::from_secs([1, 20, 61, 700][dice.roll(4)]);
            world.pass(time);
        }
        (7..=9, ..) if !world.offers.is_empty() => answer(dice, world, track),
        (10, _, Some(participant)) => {
            *track += 1;
            world.track(participant, *track, kind(dice), TrackChange::Started);
        }
        (11, _, Some(participant)) => {
            let tracks = &world.transports[&participant].tracks;
            if let Some(ending) = dice.pick(tracks).copied() {
                world.track(participant, ending.track.0, ending.kind, TrackChange::Ended);
            }
        }
        (12, _, Some(participant)) => transport_event(dice, world, participant),
        (13, ..) => http(dice, world),
        (14, ..) if dice.roll(60) == 0 => end(dice, world),
        (15..=18, Some(socket), _) => {
            if let Some(message) = wanted_subscription(dice, world, socket) {
                world.say(socket, message);
            }
        }
        (_, Some(socket), _) => {
            let message = message(dice, world, *track);
            world.say(socket, message);
        }
        _ => {}
    }
}

fn kind(dice: &mut Dice) -> Kind {
    [Kind::Audio, Kind::Video][dice.roll(2)]
}

fn come(dice: &mut Dice, world: &mut World) {
    let person = ["ana", "ben", "cem", "dia", "eva", "fay", "gil"][dice.roll(7)];
    let role = match person {
        "ana" => RoleName::Clinician,
        "ben" => RoleName::Guest,
        _ => RoleName::Patient,
    };
    let mut who = identity(person, role);
    who.admitted = dice.roll(8) == 0;
    let mut tokens: Vec<String> = world
        .sockets
        .values()
        .map(|inbox| inbox.welcome().1.to_owned())
        .collect();
    tokens.sort_unstable();
    let resume = if dice.roll(2) == 0 {
        // Mostly one's own last token, sometimes a stranger's.
        let own = world
            .visit
            .by_person
            .get(&(who.person.clone(), role))
            .and_then(|id| world.visit.stays.get(id));
        match (own.map(|stay| &stay.link), dice.roll(4)) {
            (Some(super::stay::Link::Socket { resume, .. }), 1..) => Some(resume.reveal().to_owned()),
            _ => dice.pick(&tokens).cloned(),
        }
    } else {
        None
    };
    match dice.roll(6) {
        0 => drop(world.http(who, HttpKind::Whip)),
        1 => {
            let mut all: Vec<String> = world.told.keys().cloned().collect();
            all.push("nobody".to_owned());
            let from = if dice.roll(3) == 0 {
                dice.pick(&all).cloned()
            } else {
                None
            };
            drop(world.http(who, HttpKind::Whep { from }));
        }
        _ => drop(world.hello(who, resume.as_deref())),
    }
}

fn answer(dice: &mut Dice, world: &mut World, track: &mut u64) {
    if dice.roll(6) == 0 {
        return world.refuse_offer(NegotiateError::Unsupported("no".to_owned()));
    }
    let lines = [
        ("0", Kind::Audio),
        ("1", Kind::Video),
        ("2", Kind::Audio),
        ("3", Kind::Video),
    ];
    let lines = &lines[..dice.roll(5)];
    let mut tracks = Vec::new();
    for _ in 0..dice.roll(3) {
        *track += 1;
        tracks.push((*track, kind(dice)));
    }
    world.answer(lines, &tracks);
}

fn transport_event(dice: &mut Dice, world: &mut World, participant: ParticipantId) {
    let room = RoomId(7);
    match dice.roll(5) {
        0 => world.media(&Event::Closed {
            room,
            participant,
            reason: "test",
        }),
        1 => world.media(&Event::Disconnected { room, participant }),
        2 => world.media(&Event::Reconnected { room, participant }),
        _ => {
            let layer = [None, Some(Layer::P480), Some(Layer::P720)][dice.roll(3)];
            let (mid, target) = (Mid::new("1").expect("valid"), Target::Video(Layer::P720));
            world.media(&Event::Sending {
                room,
                participant,
                mid,
                target,
                layer,
            });
        }
    }
}

fn http(dice: &mut Dice, world: &mut World) {
    let mut sessions: Vec<_> = world
        .visit
        .stays
        .values()
        .filter(|s| s.via() != crate::portal::Via::Socket)
        .collect();
    sessions.sort_by_key(|stay| stay.id);
    let Some(stay) = dice.pick(&sessions) else { return };
    let (person, name) = (stay.person.clone(), stay.id.to_string());
    let ready = !stay.is_joining();
    assert_eq!(world.visit.handle_http_leave(&person, &name).is_ok(), ready);
    world.settle();
}

fn end(dice: &mut Dice, world: &mut World) {
    match dice.roll(3) {
        0 => world.visit.handle_end(EndReason::Cancelled, None),
        1 => world.visit.handle_interruption(Interruption::ServerStopping),
        _ => world
            .visit
            .handle_media_event(&Event::RoomFailed { room: RoomId(7) }, world.now),
    }
    world.settle();
}

/// One of the socket's own lines, and any track of that kind.
fn wanted_subscription(dice: &mut Dice, world: &World, socket: SocketId) -> Option<ClientMessage> {
    let stay = &world.visit.stays[&world.visit.by_socket[&socket]];
    let slots: Vec<_> = stay.connection.as_ref()?.slots.iter().collect();
    let (mid, slot) = dice.pick(&slots)?;
    let all = world.transports.values().flat_map(|transport| &transport.tracks);
    let mut tracks: Vec<u64> = all
        .filter(|track| track.kind == slot.kind)
        .map(|track| track.track.0)
        .collect();
    tracks.sort_unstable();
    let track = Some(format!("t{}", dice.pick(&tracks)?));
    Some(ClientMessage::Subscribe {
        mid: mid.to_string(),
        track,
    })
}

fn message(dice: &mut Dice, world: &World, tracks: u64) -> ClientMessage {
    let mut names: Vec<String> = world.told.keys().cloned().collect();
    names.push("0000000000000000".to_owned());
    names.push("nobody".to_owned());
    let participant = dice.pick(&names).cloned().unwrap_or_default();
    let mid = ["0", "1", "2", "3", "9", ""][dice.roll(6)].to_owned();
    match dice.roll(17) {
        0..=2 => ClientMessage::Offer {
            id: 1,
            sdp: "offer".to_owned(),
            fresh: dice.roll(3) == 0,
        },
        3..=6 => {
            let any = format!("t{}", 1 + dice.roll(tracks as usize + 1));
            let track = (dice.roll(6) > 0).then_some(any);
            ClientMessage::Subscribe { mid, track }
        }
        7 => ClientMessage::Target {
            mid,
            target: [TargetName::AudioOnly, TargetName::P480][dice.roll(2)],
        },
        8 => ClientMessage::Muted {
            microphone: dice.roll(2) == 0,
            camera: dice.roll(2) == 0,
        },
        9..=11 => ClientMessage::Admit { participant },
        12 => ClientMessage::Decline {
            participant,
            reason: "x".repeat(dice.roll(300)),
        },
        13 => ClientMessage::Leave {
            keep_place: dice.roll(2) == 0,
        },
        14 if dice.roll(60) == 0 => ClientMessage::EndVisit {},
        15 => ClientMessage::Hello {
            session: String::new(),
            resume: None,
        },
        _ => ClientMessage::Ping { id: 3 },
    }
}
