//! Bad networks and bad peers.

use proptest::prelude::*;

use super::*;

/// A small generator, so that a seed names a network.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn handshakes_survive_loss_duplication_and_reordering() {
    let mut slowest = Duration::ZERO;
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let mut pair = Pair::new();
        pair.check(path(1));
        pair.transmits();
        let start = pair.now;
        pair.run_dtls(path(1), Duration::from_secs(25), || {
            let copies = match dice.roll(100) {
                0..20 => 0,
                20..30 => 2,
                _ => 1,
            };
            (0..copies).map(|_| Duration::from_millis(5 + dice.roll(60))).collect()
        });
        assert!(pair.client.is_connected() && pair.server.is_connected(), "seed {seed}");
        slowest = slowest.max(pair.now - start);
    }
    assert!(slowest < Duration::from_secs(20), "slowest handshake {slowest:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever a stranger or the peer sends, at any stage: no panic, no unbounded queue, no time in the past.
    #[test]
    fn hostile_datagrams_do_no_harm(
        connect: bool,
        packets in prop::collection::vec(
            (0_u8..7, prop::collection::vec(any::<u8>(), 0..200), any::<prop::sample::Index>(), 0_u64..3_000), 1..60),
    ) {
        let mut pair = Pair::new();
        if connect {
            pair.connect();
        } else {
            pair.check(path(1));
        }
        let mut hello = pair.client.poll_dtls(pair.now);
        for (kind, mut bytes, index, wait) in packets {
            match kind {
                0 => { let _ = pair.server.handle_stun(path(1), &bytes, pair.now); }
                1 => { let _ = pair.server.handle_dtls(path(1), &bytes, pair.now); }
                // A changed byte in a good check.
                2 => {
                    let mut check = pair.client.check(&Check::default());
                    // Behind the integrity lies FINGERPRINT, which is not needed.
                    let at = index.index(check.len() - 8);
                    check[at] ^= 1 + bytes.len() as u8;
                    prop_assert!(pair.server.handle_stun(path(3), &check, pair.now).is_err());
                }
                // A handshake record with a random body.
                3 => {
                    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, index.index(256) as u8, 0, bytes.len() as u8];
                    record.append(&mut bytes);
                    let _ = pair.server.handle_dtls(path(1), &record, pair.now);
                }
                // A changed byte in a good hello.
                4 => if let Some(mut datagram) = hello.pop() {
                    let at = index.index(datagram.len());
                    datagram[at] ^= 1 + bytes.len() as u8;
                    let _ = pair.server.handle_dtls(path(1), &datagram, pair.now);
                },
                5 => {
                    let mut packet = [&[0x80, 96][..], &bytes].concat();
                    prop_assert!(pair.server.open_rtp(&mut packet, 12).is_err());
                    prop_assert!(pair.server.open_rtcp(&mut packet).is_err());
                }
                _ => pair.wait(Duration::from_millis(wait)),
            }
            if let Some((at, _)) = pair.server.poll_timeout() {
                pair.server.handle_timeout(at.min(pair.now));
                if at <= pair.now {
                    prop_assert!(pair.server.poll_timeout().is_none_or(|(at, _)| at > pair.now), "busy loop");
                }
            }
            pair.collect();
            prop_assert!(pair.transmits().len() <= MAX_PENDING_TRANSMITS);
        }
        let closed = pair.events.iter().filter(|event| matches!(event, TransportEvent::Closed(_))).count();
        prop_assert!(closed <= 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn programs_of_inputs_keep_every_rule(ops in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..60)), 0..60)) {
        let program: Vec<u8> = ops.iter().flat_map(|(kind, argument)| [&[*kind, argument.len() as u8][..], argument].concat()).collect();
        crate::fuzzing::transport(&program);
    }
}
