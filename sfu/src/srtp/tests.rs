//! Both directions together: round trips, hostile packets, and that no nonce repeats.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

fn pair(profile: Profile) -> (Sealer, Opener) {
    let material: Vec<u8> = (0..2 * (profile.key_len() + profile.salt_len()))
        .map(|i| i as u8)
        .collect();
    let (_, sealer) = from_dtls(profile, &material, DtlsRole::Server).unwrap();
    let (opener, _) = from_dtls(profile, &material, DtlsRole::Client).unwrap();
    (sealer, opener)
}

fn rtp(ssrc: u32, seq: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(seq.to_be_bytes());
    packet.extend([1, 2, 3, 4]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

fn rtcp(ssrc: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend(body);
    packet
}

fn seal(sealer: &mut Sealer, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + MAX_RTP_OVERHEAD, 0xee);
    let len = sealer.seal_rtp(&mut buffer, plain.len(), 12)?;
    assert_eq!(len, plain.len() + sealer.profile().rtp_overhead());
    buffer.truncate(len);
    Ok(buffer)
}

fn seal_rtcp(sealer: &mut Sealer, plain: &[u8]) -> Vec<u8> {
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + MAX_RTCP_OVERHEAD, 0xee);
    let len = sealer.seal_rtcp(&mut buffer, plain.len()).unwrap();
    assert_eq!(len, plain.len() + sealer.profile().rtcp_overhead());
    buffer.truncate(len);
    buffer
}

fn open(opener: &mut Opener, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut packet = sealed.to_vec();
    let len = opener.open_rtp(&mut packet, 12)?;
    packet.truncate(len);
    Ok(packet)
}

fn open_rtcp(opener: &mut Opener, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut packet = sealed.to_vec();
    let len = opener.open_rtcp(&mut packet)?;
    packet.truncate(len);
    Ok(packet)
}

#[test]
fn keys_must_have_their_length() {
    for profile in Profile::ALL {
        let right = 2 * (profile.key_len() + profile.salt_len());
        for len in [0, right - 1, right + 1] {
            assert!(from_dtls(profile, &vec![0; len], DtlsRole::Server).is_err());
        }
        assert!(from_dtls(profile, &vec![0; right], DtlsRole::Server).is_ok());
        assert!(profile.rtp_overhead() <= MAX_RTP_OVERHEAD && profile.rtcp_overhead() <= MAX_RTCP_OVERHEAD);
    }
}

#[test]
fn the_two_directions_have_different_keys() {
    for profile in Profile::ALL {
        let (mut sealer, _) = pair(profile);
        let material: Vec<u8> = (0..2 * (profile.key_len() + profile.salt_len()))
            .map(|i| i as u8)
            .collect();
        let (mut opener, _) = from_dtls(profile, &material, DtlsRole::Server).unwrap();
        let sealed = seal(&mut sealer, &rtp(1, 1, b"reflected")).unwrap();
        assert_eq!(open(&mut opener, &sealed), Err(OpenError::Authentication));
    }
}

#[test]
fn any_changed_bit_is_refused_and_costs_the_stream_nothing() {
    for profile in Profile::ALL {
        let (mut sealer, mut opener) = pair(profile);
        let plain = rtp(7, 500, b"a quiet word");
        let sealed = seal(&mut sealer, &plain).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                open(&mut opener, &bad),
                Err(OpenError::Authentication),
                "{profile:?} {bit}"
            );
        }
        assert_eq!(open(&mut opener, &sealed), Ok(plain));
        assert_eq!(open(&mut opener, &sealed), Err(OpenError::Replayed));

        let plain = rtcp(7, b"a report");
        let sealed = seal_rtcp(&mut sealer, &plain);
        let word_at = match profile {
            Profile::Aes128CmSha1_80 => plain.len(),
            _ => sealed.len() - 4,
        };
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit == word_at * 8 + 7 {
                OpenError::NotEncrypted
            } else {
                OpenError::Authentication
            };
            assert_eq!(open_rtcp(&mut opener, &bad), Err(expected), "{profile:?} {bit}");
        }
        assert_eq!(open_rtcp(&mut opener, &sealed), Ok(plain));
        assert_eq!(open_rtcp(&mut opener, &sealed), Err(OpenError::Replayed));
    }
}

#[test]
fn truncated_and_mismeasured_packets_are_refused() {
    for profile in Profile::ALL {
        let (mut sealer, mut opener) = pair(profile);
        let sealed = seal(&mut sealer, &rtp(7, 500, b"payload")).unwrap();
        for len in 0..sealed.len() {
            assert!(open(&mut opener, &sealed[..len]).is_err(), "{profile:?} {len}");
        }
        for header_len in [
            0,
            11,
            sealed.len() - profile.rtp_overhead() + 1,
            sealed.len(),
            usize::MAX,
        ] {
            let refused = opener.open_rtp(&mut sealed.clone(), header_len);
            assert_eq!(refused, Err(OpenError::TooShort), "{profile:?} {header_len}");
        }
        let sealed = seal_rtcp(&mut sealer, &rtcp(7, b"payload"));
        for len in 0..sealed.len() {
            assert!(open_rtcp(&mut opener, &sealed[..len]).is_err(), "{profile:?} {len}");
        }

        let plain = rtp(7, 501, b"payload");
        let room = plain.len() + profile.rtp_overhead();
        let mut buffer = plain.clone();
        buffer.resize(room, 0);
        for (len, plain_len, header_len) in [
            (room - 1, plain.len(), 12),
            (room, plain.len() + 1, 12),
            (room, plain.len(), 11),
            (room, plain.len(), plain.len() + 1),
            (room, usize::MAX, 12),
            (0, 0, 0),
        ] {
            let refused = sealer.seal_rtp(&mut buffer[..len], plain_len, header_len);
            assert_eq!(
                refused,
                Err(SealError::BufferTooSmall),
                "{profile:?} {len} {plain_len} {header_len}"
            );
        }
        let mut short = [0; 8 + MAX_RTCP_OVERHEAD];
        let room_rtcp = 8 + profile.rtcp_overhead();
        assert_eq!(
            sealer.seal_rtcp(&mut short[..room_rtcp - 1], 8),
            Err(SealError::BufferTooSmall)
        );
        assert_eq!(sealer.seal_rtcp(&mut short, 7), Err(SealError::BufferTooSmall));
        assert_eq!(sealer.seal_rtcp(&mut short, usize::MAX), Err(SealError::BufferTooSmall));
        // The refusals spent nothing.
        assert_eq!(sealer.seal_rtp(&mut buffer, plain.len(), 12), Ok(room));
    }
}

#[test]
fn empty_payloads_pass() {
    for profile in Profile::ALL {
        let (mut sealer, mut opener) = pair(profile);
        let plain = rtp(7, 1, b"");
        let sealed = seal(&mut sealer, &plain).unwrap();
        assert_eq!(open(&mut opener, &sealed), Ok(plain));
        let plain = rtcp(7, b"");
        let sealed = seal_rtcp(&mut sealer, &plain);
        assert_eq!(open_rtcp(&mut opener, &sealed), Ok(plain));
    }
}

#[test]
fn a_sequence_number_is_sealed_once() {
    let (mut sealer, _) = pair(Profile::AeadAes128Gcm);
    let mut try_seal = |ssrc, seq: i32| seal(&mut sealer, &rtp(ssrc, seq as u16, b"x")).map(|_| ());
    assert_eq!(try_seal(1, 1_000), Ok(()));
    assert_eq!(try_seal(1, 1_000), Err(SealError::Repeated), "again");
    assert_eq!(try_seal(1, 1_004), Ok(()), "a gap");
    assert_eq!(try_seal(1, 1_002), Ok(()), "a repaired packet, late");
    assert_eq!(try_seal(1, 1_002), Err(SealError::Repeated), "again");
    assert_eq!(try_seal(1, 1_003), Ok(()), "another late one");
    assert_eq!(try_seal(1, 1_004), Err(SealError::Repeated), "the highest again");
    assert_eq!(try_seal(2, 1_000), Ok(()), "another SSRC");
    assert_eq!(try_seal(1, 1_600), Ok(()));
    assert_eq!(try_seal(1, 1_600 - 511), Ok(()), "as late as can be");
    assert_eq!(try_seal(1, 1_600 - 512), Err(SealError::Repeated), "too late to know");
    assert_eq!(try_seal(1, 1_600 + 0x7fff), Ok(()), "the longest step");
    assert_eq!(try_seal(1, 10), Ok(()), "rolled over");
    assert_eq!(try_seal(1, 65_535), Ok(()), "from before the roll-over, unused");
    assert_eq!(try_seal(1, 65_535), Err(SealError::Repeated), "and now used");
    assert_eq!(try_seal(1, 1_004), Ok(()), "the same number a round later");
}

#[test]
fn both_ends_count_roll_overs() {
    for profile in Profile::ALL {
        let (mut sealer, mut opener) = pair(profile);
        let mut late = None;
        for number in (100_u32..400_000).step_by(97) {
            let plain = rtp(9, number as u16, &number.to_be_bytes());
            let sealed = seal(&mut sealer, &plain).unwrap();
            // Every tenth packet is overtaken by the next, over roll-overs too.
            if number / 97 % 10 == 0 {
                late = Some((sealed, plain));
                continue;
            }
            assert_eq!(open(&mut opener, &sealed), Ok(plain), "{number}");
            if let Some((sealed, plain)) = late.take() {
                assert_eq!(open(&mut opener, &sealed), Ok(plain), "late before {number}");
            }
        }
    }
}

#[test]
fn keys_run_out_before_a_nonce_repeats() {
    let (mut sealer, _) = pair(Profile::AeadAes128Gcm);
    seal(&mut sealer, &rtp(1, 0, b"x")).unwrap();
    *sealer.rtp.get_mut(1).unwrap() = Window::starting_at(MAX_RTP_INDEX - 1);
    assert!(seal(&mut sealer, &rtp(1, 0xffff, b"x")).is_ok());
    assert_eq!(seal(&mut sealer, &rtp(1, 0, b"x")), Err(SealError::KeyExhausted));
    assert_eq!(seal(&mut sealer, &rtp(1, 5, b"x")), Err(SealError::KeyExhausted));

    sealer.rtcp_index = RTCP_INDEX_MASK;
    let mut buffer = [0; 64];
    assert!(sealer.seal_rtcp(&mut buffer, 8).is_ok());
    assert_eq!(sealer.seal_rtcp(&mut buffer, 8), Err(SealError::KeyExhausted));
    assert_eq!(sealer.seal_rtcp(&mut buffer, 8), Err(SealError::KeyExhausted));
}

#[test]
fn ssrcs_are_bounded_and_forgeries_take_no_place() {
    let max = crate::limits::MAX_SSRCS as u32;
    let (mut sealer, mut opener) = pair(Profile::AeadAes128Gcm);
    for ssrc in 0..2 * max {
        let forged = [rtp(ssrc, 1, b"forged"), vec![0; 16]].concat();
        assert_eq!(open(&mut opener, &forged), Err(OpenError::Authentication));
    }
    for ssrc in 0..max {
        let sealed = seal(&mut sealer, &rtp(ssrc, 1, b"x")).unwrap();
        assert!(open(&mut opener, &sealed).is_ok());
    }
    assert_eq!(seal(&mut sealer, &rtp(max, 1, b"x")), Err(SealError::TooManySsrcs));
    assert!(seal(&mut sealer, &rtp(0, 2, b"x")).is_ok(), "the known ones go on");

    let (mut other, _) = pair(Profile::AeadAes128Gcm);
    let sealed = seal(&mut other, &rtp(max, 1, b"x")).unwrap();
    assert_eq!(open(&mut opener, &sealed), Err(OpenError::TooManySsrcs));
}

proptest! {
    #[test]
    fn what_is_sealed_opens_in_any_order(
        profile in prop::sample::select(Profile::ALL.to_vec()),
        start: u16,
        steps in prop::collection::vec((0_u32..4, 1_u16..8, prop::collection::vec(any::<u8>(), 0..64)), 1..60),
        order: Vec<prop::sample::Index>,
    ) {
        let (mut sealer, mut opener) = pair(profile);
        let mut last = HashMap::new();
        let mut packets = Vec::new();
        for (ssrc, step, payload) in steps {
            // Below 2^15 at first, so that the opener's guess of the roll-over counter holds.
            let seq = last.entry(ssrc).or_insert(start & 0x7fff);
            *seq = seq.wrapping_add(step);
            let plain = rtp(ssrc, *seq, &payload);
            packets.push((seal(&mut sealer, &plain).unwrap(), plain));
        }
        for (at, swap) in order.iter().enumerate().take(packets.len()) {
            let other = swap.index(packets.len());
            packets.swap(at, other);
        }
        for (sealed, plain) in packets {
            let opened = open(&mut opener, &sealed);
            match opened {
                Ok(opened) => prop_assert_eq!(opened, plain),
                // 60 steps of at most 7: shuffled so far that the window has passed.
                Err(error) => prop_assert_eq!(error, OpenError::TooOld),
            }
        }
    }

    /// The heart of it. Whatever is asked for, in whatever order, with however many roll-overs: no (SSRC, index) of RTP and no
    /// (SSRC, index) of RTCP is used twice, so with keys that differ by kind and direction no (key, nonce) repeats. The
    /// indices are those the ciphertext proves: a packet opens only under the nonce it was sealed with.
    #[test]
    fn no_nonce_repeats(
        profile in prop::sample::select(vec![Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80]),
        requests in prop::collection::vec((0_u32..6, any::<u16>(), any::<bool>()), 1..400),
    ) {
        let (mut sealer, _) = pair(profile);
        let mut used = HashSet::new();
        let mut used_rtcp = HashSet::new();
        let mut highest: HashMap<u32, u64> = HashMap::new();
        for (ssrc, seq, is_rtcp) in requests {
            if is_rtcp {
                let sealed = seal_rtcp(&mut sealer, &rtcp(ssrc, b"report"));
                let word_at = match profile {
                    Profile::Aes128CmSha1_80 => sealed.len() - cm_sha1::TAG_LEN - 4,
                    _ => sealed.len() - 4,
                };
                let word = u32::from_be_bytes(sealed[word_at..word_at + 4].try_into().unwrap());
                prop_assert!(used_rtcp.insert((ssrc, word)), "RTCP nonce repeated");
                continue;
            }
            // Half of the requests come near the highest number, so that they meet.
            let seq = match highest.get(&ssrc) {
                Some(highest) if seq % 2 == 0 => (*highest as u16).wrapping_add(seq / 2 % 1_200).wrapping_sub(600),
                _ => seq,
            };
            // The index nearest to the highest one, found without asking the sealer.
            let index = match highest.get(&ssrc) {
                None => Some(u64::from(seq)),
                Some(highest) => {
                    let ahead = i64::from(seq.wrapping_sub(*highest as u16) as i16);
                    // Half-way round, appendix A of RFC 3711 goes up from the lower half.
                    let ahead = if ahead == -0x8000 && *highest & 0x8000 == 0 { 0x8000 } else { ahead };
                    highest.checked_add_signed(ahead)
                }
            };
            let plain = rtp(ssrc, seq, b"payload");
            match seal(&mut sealer, &plain) {
                Ok(mut sealed) => {
                    let index = index.unwrap();
                    let opened = match &sealer.cipher {
                        Cipher::Gcm { rtp, .. } => rtp.open_rtp(&mut sealed, 12, ssrc, index),
                        Cipher::CmSha1(pair) => pair.rtp.open_rtp(&mut sealed, 12, ssrc, index),
                    };
                    prop_assert_eq!(opened, Ok(plain.len()), "sealed under another index than {}", index);
                    prop_assert!(used.insert((ssrc, index)), "RTP nonce repeated");
                    let highest = highest.entry(ssrc).or_insert(index);
                    *highest = index.max(*highest);
                }
                Err(error) => {
                    prop_assert_eq!(error, SealError::Repeated);
                    let needless = index.is_some_and(|index| !used.contains(&(ssrc, index)) && index + 512 > highest[&ssrc]);
                    prop_assert!(!needless, "refused without need");
                }
            }
        }
    }

    #[test]
    fn arbitrary_packets_do_no_harm(
        profile in prop::sample::select(Profile::ALL.to_vec()),
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        header_len in 0_usize..100,
    ) {
        let (mut sealer, mut opener) = pair(profile);
        prop_assert!(opener.open_rtp(&mut bytes.clone(), header_len).is_err());
        prop_assert!(opener.open_rtcp(&mut bytes.clone()).is_err());
        let mut buffer = bytes.clone();
        let fits = header_len >= 12 && bytes.len() >= header_len + profile.rtp_overhead();
        prop_assert_eq!(sealer.seal_rtp(&mut buffer, header_len, header_len).is_ok(), fits);
    }
}
